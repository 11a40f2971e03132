"""Missing values: the linear models, the fit, every method, and imputation."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import built
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.preprocessing import StandardScaler

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae._base import data, fitting
from sklearn_vae.batch import Batch
from sklearn_vae.likelihoods import LIKELIHOODS, Gaussian
from sklearn_vae.objectives import log_prob_of_rows
from sklearn_vae.posteriors import POSTERIORS
from sklearn_vae.selection.missing import Filling, _em_step, incomplete_model

TABLES = {
    "wine": load_wine().data,
    "breast cancer": load_breast_cancer().data[:300, :12],
    "diabetes": load_diabetes().data,
}


def with_holes(X, share=0.3, seed=0):
    """X with NaN, completely at random."""
    return np.where(np.random.RandomState(seed).random_sample(X.shape) < share, np.nan, X)


def quick(Estimator, **params):
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return Estimator(2, **{**defaults, **params})


def log_likelihood(x, W, b, psi):
    """Of the observed entries of each row, by the dense covariance."""
    covariance, out = W @ W.T + np.diag(psi), []
    for row in x:
        o = ~np.isnan(row)
        if not o.any():
            out.append(0.0)
            continue
        density = multivariate_normal(b[o], covariance[np.ix_(o, o)], allow_singular=True)
        out.append(density.logpdf(row[o]))
    return np.array(out)


def maximum_likelihood(x, d, shared):
    """The linear model of greatest likelihood, found by gradients of the dense densities."""
    D = x.shape[1]
    o = torch.from_numpy(~np.isnan(x)).double()
    known = torch.from_numpy(np.nan_to_num(x))
    sizes = D * d, D, 1 if shared else D

    def loss(numbers):
        numbers = torch.tensor(numbers, requires_grad=True)
        W, b, log_psi = numbers.split(sizes)
        W = W.reshape(D, d)
        covariance = W @ W.T + torch.diag(log_psi.exp().expand(D))
        # A missing feature stands apart from the others, at its mean and with a variance of 1.
        each = covariance * o[:, :, None] * o[:, None, :] + torch.diag_embed(1 - o)
        away = (known - b) * o
        squares = (away[:, None] @ torch.linalg.solve(each, away[:, :, None])).squeeze()
        nats = 0.5 * (squares + torch.logdet(each) + o.sum(1) * np.log(2 * np.pi))
        nats.mean().backward()
        return nats.mean().item(), numbers.grad.numpy()

    axes = PCA(d).fit(np.nan_to_num(x)).components_.T
    first = np.concatenate([axes.ravel(), np.zeros(D + sizes[2])])
    how = {"maxiter": 5000, "maxfun": 10_000, "maxcor": 50, "ftol": 1e-11, "gtol": 1e-8}
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options=how)
    W, b, log_psi = np.split(found.x, np.cumsum(sizes)[:2])
    return W.reshape(D, d), b, np.exp(log_psi) * np.ones(D)


# --- linear models --------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize(
    ("name", "reference"),
    [("probabilistic_pca", PCA), ("factor_analysis", FactorAnalysis)],
)
def test_with_nothing_missing_they_are_those_of_scikit_learn(name, reference, d):
    x = StandardScaler().fit_transform(TABLES["wine"])
    exact = {"tol": 1e-6, "max_iter": 3000} if reference is FactorAnalysis else {}
    model = incomplete_model(name, x, d, exact=True)
    expected = reference(d, **exact).fit(x).score(x)
    # scikit-learn's noise is that of n - 1 degrees of freedom.
    assert log_likelihood(x, *model[:3]).mean() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("name", ["probabilistic_pca", "factor_analysis", "known_noise"])
def test_the_likelihood_never_falls(name):
    x = with_holes(StandardScaler().fit_transform(TABLES["wine"]), 0.5)
    o = ~np.isnan(x)
    model = incomplete_model(name, x, 3, np.full(13, 0.4), tol=np.inf)
    before = -np.inf
    for _ in range(20):
        by_hand = log_likelihood(x, *model[:3]).mean()
        model, now = _em_step(model, np.where(o, x, 0), o.astype(float), name)
        assert now == pytest.approx(by_hand, abs=1e-8)
        assert now >= before - 1e-9
        before = now


@pytest.mark.parametrize("name", ["probabilistic_pca", "factor_analysis", "known_noise"])
def test_at_the_greatest_likelihood_nothing_is_left_to_gain(name):
    x = with_holes(StandardScaler().fit_transform(TABLES["wine"]), 0.2)
    o, noise = ~np.isnan(x), np.full(13, 0.4)
    near = incomplete_model(name, x, 3, noise)
    model = incomplete_model(name, x, 3, noise, exact=True)
    _, reached = _em_step(near, np.where(o, x, 0), o.astype(float), name)
    after, greatest = _em_step(model, np.where(o, x, 0), o.astype(float), name)
    assert greatest >= reached
    _, now = _em_step(after, np.where(o, x, 0), o.astype(float), name)
    assert now == pytest.approx(greatest, abs=1e-8)
    if name == "known_noise":
        np.testing.assert_array_equal(model.noise_variance, noise)


def conditional(model, x):
    """Means and variances of the entries of rows given what was observed, by the dense matrix."""
    W, b, psi = model[:3]
    covariance = W @ W.T + np.diag(psi)
    mean, variance = np.zeros_like(x), np.zeros_like(x)
    for i, row in enumerate(x):
        o = ~np.isnan(row)
        weights = np.linalg.solve(covariance[np.ix_(o, o)], covariance[o])
        mean[i] = b + (row[o] - b[o]) @ weights
        variance[i] = np.diag(covariance) - (covariance[o] * weights).sum(axis=0)
    return mean, variance


@pytest.mark.parametrize("name", ["probabilistic_pca", "factor_analysis"])
def test_with_a_prior_few_rows_do_not_mislead(name):
    """Errors are smaller than by maximum likelihood, and as large as the model expects."""
    errors, expected = np.zeros((2, 6)), np.zeros((2, 6))
    for seed in range(6):
        rng = np.random.RandomState(seed)
        x = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 12))
        x = x / x.std(axis=0) + 0.5 * rng.standard_normal(x.shape)
        holes = with_holes(x, 0.1, seed)
        missing = np.isnan(holes)
        for has_prior in (False, True):
            model = incomplete_model(name, holes, 11, has_prior=has_prior)
            mean, variance = conditional(model, holes)
            errors[int(has_prior), seed] = np.square(mean - x)[missing].mean()
            expected[int(has_prior), seed] = variance[missing].mean()
    assert np.median(errors[1] / errors[0]) < 0.95
    by_likelihood, by_prior = np.median(expected / errors, axis=1)
    assert by_likelihood < 0.75
    assert by_prior == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("name", ["probabilistic_pca", "factor_analysis", "known_noise"])
def test_the_prior_tells_less_the_more_rows_there_are(name):
    rng = np.random.RandomState(0)
    x = rng.standard_normal((2000, 2)) @ rng.standard_normal((2, 6))
    holes, lost = with_holes(x + rng.standard_normal(x.shape)), []
    for rows in (holes[:40], holes[:300], holes):
        of_each = [
            incomplete_model(name, rows, 2, np.ones(6), tol=1e-7, has_prior=has_prior)
            for has_prior in (False, True)
        ]
        likelihood, prior = (log_likelihood(rows, *model[:3]).mean() for model in of_each)
        assert prior <= likelihood + 1e-6
        lost.append(likelihood - prior)
    assert lost[0] > 5 * lost[1] > 25 * lost[2]


def test_filling_is_the_conditional_mean():
    x = with_holes(StandardScaler().fit_transform(TABLES["wine"]))
    fill, o = Filling.of(Gaussian("per_feature"), x, 3), ~np.isnan(x)
    filled = fill(x)
    np.testing.assert_array_equal(filled[o], x[o])
    np.testing.assert_allclose(filled[~o], conditional(fill, x)[0][~o], atol=1e-9)


@pytest.mark.parametrize("noise", ["shared", "per_feature"])
@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("table", TABLES)
def test_a_linear_model_is_exact(table, d, noise):
    X = with_holes(TABLES[table])
    mean, scale = np.nanmean(X, axis=0), np.nanstd(X, axis=0)
    x = (X - mean) / scale
    reference = maximum_likelihood(x, d, noise == "shared")
    expected = log_likelihood(x, *reference) - ~np.isnan(X) @ np.log(scale)
    how = {"hidden_layer_sizes": (), "likelihood": Gaussian(noise), "standardize": True}
    for Estimator in (VAETransformer, RhoVAETransformer):
        found = Estimator(d, **how, random_state=0).fit(X).score_samples(X)
        assert found.mean() >= expected.mean() - 1e-4
        np.testing.assert_allclose(found, expected, atol=0.05)


# --- every method ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_missing_entries_do_not_count(family):
    """Whatever stands in their place."""
    rng = np.random.RandomState(0)
    x = torch.tensor(rng.randint(2, size=(6, 3)), dtype=torch.float64)
    likelihood = built(family, 3).double()
    p = likelihood(torch.tensor(rng.standard_normal((6, likelihood.n_numbers))), torch.zeros(6, 2))
    observed = torch.tensor(rng.randint(2, size=(6, 3)), dtype=torch.float64)
    whole = (p.log_prob(x) * observed).sum(-1)
    other = torch.where(observed > 0, x, 1 - x)
    torch.testing.assert_close(log_prob_of_rows(p, Batch(other, observed)), whole)
    everything = log_prob_of_rows(p, Batch(x, torch.ones_like(x)))
    torch.testing.assert_close(everything, log_prob_of_rows(p, x))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_takes_them(Estimator, likelihood):
    X = np.random.RandomState(0).randint(2, size=(60, 5)).astype(float)
    holes = with_holes(X)
    model = quick(Estimator, likelihood=likelihood).fit(holes)
    for rows in (holes, X):
        assert np.isfinite(model.transform(rows)).all()
        assert np.isfinite(model.elbo(rows)).all()
        assert np.isfinite(model.score_samples(rows)).all()
        assert np.isfinite(model.impute(rows)).all()


@pytest.mark.parametrize("covariance_type", POSTERIORS)
@pytest.mark.parametrize("seen", [True, False])
def test_a_row_of_which_nothing_is_known_tells_nothing(covariance_type, seen):
    is_autoregressive = covariance_type in ("ar1", "scaled_ar1")
    Estimator = RhoVAETransformer if is_autoregressive else VAETransformer
    X = TABLES["wine"]
    model = quick(Estimator, covariance_type=covariance_type).fit(with_holes(X) if seen else X)
    nothing = np.full((2, 13), np.nan)
    np.testing.assert_array_equal(model.transform(nothing), 0)
    np.testing.assert_allclose(model.posterior(nothing)[1], [np.eye(2)] * 2, atol=1e-12)
    np.testing.assert_allclose(model.elbo(nothing), 0, atol=1e-12)
    np.testing.assert_allclose(model.score_samples(nothing), 0, atol=1e-9)
    drawn = model.sample(20_000, random_state=0, noise=False).mean(axis=0)
    spread = X.std(axis=0)
    np.testing.assert_allclose(model.impute(nothing)[0] / spread, drawn / spread, atol=0.15)


@pytest.mark.parametrize("seen", [True, False])
def test_a_row_depends_on_itself_alone(Estimator, seen):
    X = TABLES["wine"]
    holes = with_holes(X)
    model = quick(Estimator).fit(holes if seen else X)
    for method in ("transform", "elbo", "score_samples", "impute"):
        function = getattr(model, method)
        np.testing.assert_allclose(function(holes)[:3], function(holes[:3]), rtol=1e-8, atol=1e-8)


def test_without_missing_values_nothing_changes(Estimator):
    X = TABLES["wine"]
    model = quick(Estimator).fit(X)
    assert not model.net_.module_.sees_missing
    np.testing.assert_array_equal(model.impute(X), X)


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_it_is_asked_once_whether_values_are_missing(Estimator, holes, given, monkeypatch):
    """Of each table: on disk every question is a pass over the file."""
    asked, has_missing = [], data.has_missing
    for module in (data, fitting):
        monkeypatch.setattr(
            module, "has_missing", lambda X: (asked.append(len(X)), has_missing(X))[1]
        )
    X = with_holes(TABLES["wine"]) if holes else TABLES["wine"]
    quick(Estimator).fit(X, X_val=X[:50] if given else None)
    assert asked == ([178, 50] if given and not holes else [178])
    asked.clear()
    quick(Estimator).partial_fit(X)
    assert asked == [178]


def test_holes_in_held_out_rows_alone(Estimator):
    """What an estimator held before its fit does not matter."""
    X, X_val = TABLES["wine"][40:], with_holes(TABLES["wine"][:40])
    fresh = quick(Estimator).fit(X, X_val=X_val)
    again = quick(Estimator).fit(TABLES["wine"]).fit(X, X_val=X_val)
    np.testing.assert_array_equal(fresh.transform(X_val), again.transform(X_val))
    assert np.isfinite(fresh.validation_loss_curve_).all()


def test_a_linear_model_of_complete_rows_completes_others():
    """In a linear model that saw no missing values the posterior mean is exact all the same."""
    X = StandardScaler().fit_transform(TABLES["wine"])
    model = VAETransformer(
        2, hidden_layer_sizes=(), init="auto", max_iter=1, standardize=False, random_state=0
    ).fit(X)
    W = model.net_.module_.decoder.linear.weight.detach().double().numpy()
    b = model.net_.module_.decoder.linear.bias.detach().double().numpy()
    psi, holes = model.noise_variance_, with_holes(X)
    expected = []
    for row in holes:
        o = ~np.isnan(row)
        V = W[o] / psi[o, None]
        expected.append(np.linalg.solve(np.eye(2) + W[o].T @ V, V.T @ (row[o] - b[o])))
    # One epoch may have taken the encoder a little away from the exact posterior.
    np.testing.assert_allclose(model.transform(holes), expected, atol=0.1)


def test_kinds_of_missing_values(Estimator):
    X = load_iris().data
    holes = with_holes(X)
    model = quick(Estimator).fit(holes)
    nullable = pd.DataFrame(holes).astype("Float64")
    nones = np.where(np.isnan(holes), None, holes)
    for rows in (nullable, nones):
        np.testing.assert_allclose(model.transform(rows), model.transform(holes))
        again = quick(Estimator).fit(rows)
        np.testing.assert_allclose(again.transform(holes), model.transform(holes))


def test_infinity_is_refused_all_the_same(Estimator):
    X = load_iris().data.copy()
    X[3, 2] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        quick(Estimator).fit(X)


@pytest.mark.parametrize("seen", [True, False])
def test_pickle_clone_warm_start_and_streams(Estimator, seen):
    X, holes = load_iris().data, with_holes(load_iris().data)
    model = quick(Estimator, warm_start=True).fit(holes if seen else X)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.transform(holes), model.transform(holes))
    assert np.isfinite(model.fit(holes).transform(holes)).all()
    stream = clone(model).partial_fit((holes if seen else X)[:75])
    stream.partial_fit(holes[75:])
    assert np.isfinite(stream.score_samples(holes)).all()


def test_a_column_without_values_is_left_out(Estimator):
    X = with_holes(load_iris().data)
    X[:, 1] = np.nan
    model = quick(Estimator).fit(X)
    assert model.scale_[1] == 0
    filled = model.impute(X)
    assert np.isnan(filled[:, 1]).all()
    assert np.isfinite(np.delete(filled, 1, axis=1)).all()
    assert np.isfinite(model.score_samples(X)).all()


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_rows_without_any_value_are_refused(Estimator, method):
    X = np.full((20, 3), np.nan)
    with pytest.raises(ValueError, match="all 20 x 3 values of X are missing"):
        getattr(quick(Estimator), method)(X)


@pytest.mark.parametrize("noise", ["shared", "per_feature"])
@pytest.mark.parametrize("multiple", [None, 2])
def test_a_constant_column_is_imputed_by_its_constant(Estimator, noise, multiple):
    """The rows that the networks see are complete then."""
    X = load_iris().data.copy()
    X[:, 1] = 5.0
    likelihood = Gaussian(noise, noise_growth=0.0)
    model = quick(Estimator, likelihood=likelihood).fit(X)
    holes = X[:4].copy()
    holes[:, 1] = np.nan
    filled = model.impute(holes, multiple=multiple, random_state=0)
    np.testing.assert_array_equal(filled, np.broadcast_to(X[:4], filled.shape))


@pytest.mark.parametrize("value", [np.nan, 5.0])
def test_a_stream_tells_of_columns_that_it_was_begun_without(Estimator, value):
    X = pd.DataFrame(load_iris().data, columns=list("abcd"))
    first, rest = X[:75].copy(), X[75:]
    first.iloc[:, 1] = value
    first.iloc[0, 0] = np.nan  # so that no moments are kept, and it cannot begin anew
    model = quick(Estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(first).partial_fit(first)
    with pytest.warns(UserWarning, match=r"without the column\(s\) b,.*Begin anew"):
        model.partial_fit(rest)
    with pytest.warns(UserWarning, match=r"without the column\(s\) b,"):
        quick(Estimator, warm_start=True).fit(first).fit(X)


# --- imputation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_observed_values_stay_to_the_bit(Estimator, dtype):
    holes = with_holes(TABLES["wine"]).astype(dtype)
    model = quick(Estimator).fit(holes)
    known = ~np.isnan(holes)
    for filled in (model.impute(holes), *model.impute(holes, multiple=3, random_state=0)):
        assert filled.dtype == dtype
        assert np.isfinite(filled).all()
        np.testing.assert_array_equal(filled[known], holes[known])


def test_draws_scatter_about_the_mean():
    X = with_holes(TABLES["wine"])
    model = VAETransformer(2, hidden_layer_sizes=(), standardize=True, random_state=0).fit(X)
    draws = model.impute(X, multiple=400, random_state=0)
    assert draws.shape == (400, *X.shape)
    np.testing.assert_array_equal(draws, model.impute(X, multiple=400, random_state=0))
    missing = np.isnan(X)
    scale = model.scale_ * np.ones_like(X)
    away = ((draws.mean(axis=0) - model.impute(X)) / scale)[missing]
    assert np.abs(away).mean() < 0.05
    # In a linear model their variance is that of x_m given x_o.
    W = model.net_.module_.decoder.linear.weight.detach().double().numpy()
    psi = model.noise_variance_ / model.scale_**2
    for row, spread in zip(X[:20], (draws / scale).std(axis=0)[:20], strict=True):
        o = ~np.isnan(row)
        S = np.linalg.inv(np.eye(2) + W[o].T @ (W[o] / psi[o, None]))
        expected = np.sqrt(np.diag(W[~o] @ S @ W[~o].T) + psi[~o])
        np.testing.assert_allclose(spread[~o], expected, rtol=0.2)


@pytest.mark.parametrize("multiple", [0, 1.5, "two"])
def test_how_many_draws(multiple):
    model = quick(VAETransformer).fit(load_iris().data)
    with pytest.raises(ValueError, match="multiple"):
        model.impute(load_iris().data, multiple=multiple)


@pytest.mark.parametrize("table", ["wine", "diabetes"])
def test_imputation_is_as_good_as_the_linear_one(table):
    X = StandardScaler().fit_transform(TABLES[table])
    holes = with_holes(X)
    model = VAETransformer(
        5, likelihood=Gaussian("per_feature"), standardize=True, random_state=0
    ).fit(holes)
    ridge = IterativeImputer(random_state=0).fit_transform(holes)
    errors = [
        np.square(filled - X)[np.isnan(holes)].mean() for filled in (model.impute(holes), ridge)
    ]
    assert errors[0] < 1.02 * errors[1]


@pytest.mark.parametrize("noise", ["shared", "per_feature"])
def test_columns_that_follow_from_others(Estimator, noise):
    """No noise is left for EM to find, and no covariance may be less than nothing."""
    rng = np.random.RandomState(0)
    a = rng.standard_normal((150, 3))
    X = np.hstack([a, a @ rng.standard_normal((3, 4)), np.full((150, 1), 5.0)])
    holes = with_holes(X, 0.2)
    model = Estimator(5, likelihood=Gaussian(noise), random_state=0).fit(holes)
    assert np.isfinite(model.score_samples(holes)).all()
    missing = np.isnan(holes)
    errors = np.square(model.impute(holes) - X)[missing].mean() / np.square(X[missing]).mean()
    assert errors < 0.1
