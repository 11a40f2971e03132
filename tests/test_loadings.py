"""Loadings, shares of variance and covariances: against PCA, factor analysis and plain sums."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.metrics import r2_score

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.datasets import make_sine_sum
from sklearn_vae.likelihoods import Gaussian

pandas = pytest.importorskip("pandas")

CURVED = make_sine_sum(300, noise=0.05, random_state=0, surface=True)
WINE = load_wine().data
DIGITS = load_digits().data[:500]


def linear_rows(n=3000, n_features=6, noise=(0.5,)):
    """Rows of a factor model of two components whose strengths differ."""
    rng = np.random.RandomState(0)
    loadings = rng.standard_normal((2, n_features)) * [[2.0], [1.0]]
    deviates = rng.standard_normal((n, n_features)) * np.resize(np.sqrt(noise), n_features)
    return rng.standard_normal((n, 2)) @ loadings + deviates + 10


def quick(Estimator=VAETransformer, n_components=2, **params):
    how = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}
    return Estimator(n_components, **(how | params))


def r2(model, X, **how):
    return r2_score(X, model.inverse_transform(model.transform(X)), **how)


def relative(A, B):
    return np.linalg.norm(A - B) / np.linalg.norm(B)


# --- linear models --------------------------------------------------------------------------------


def test_probabilistic_pca(Estimator):
    X = linear_rows()
    model = quick(Estimator, hidden_layer_sizes=()).fit(X)
    pca = PCA(2).fit(X)
    variance = pca.explained_variance_ * (len(X) - 1) / len(X)
    shrunk = 1 - (pca.noise_variance_ / variance) ** 2
    expected = pca.explained_variance_ratio_ * shrunk
    assert model.explained_variance_ratio_.sum() == pytest.approx(expected.sum(), abs=1e-3)
    if Estimator is VAETransformer:  # the basis of AR(1) components is another one
        np.testing.assert_allclose(model.explained_variance_ratio_, expected, atol=1e-3)
        length = np.linalg.norm(model.components_, axis=1, keepdims=True)
        cosines = (model.components_ / length * pca.components_).sum(axis=1)
        np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-3)
    assert relative(model.get_covariance(), pca.get_covariance()) < 0.01
    assert relative(model.get_precision(), pca.get_precision()) < 0.02


def test_factor_analysis(Estimator):
    X = linear_rows(noise=(0.2, 0.5, 1.0))
    model = quick(Estimator, hidden_layer_sizes=(), likelihood=Gaussian("per_feature")).fit(X)
    exact = FactorAnalysis(2, tol=1e-8).fit(X)
    B, W = model.components_, exact.components_
    assert relative(B.T @ B, W.T @ W) < 0.02
    assert relative(model.get_covariance(), exact.get_covariance()) < 0.02
    assert relative(model.get_precision(), exact.get_precision()) < 0.05


@pytest.mark.parametrize("hidden_layer_sizes", [(), (8,)])
def test_precision_is_the_inverse_of_the_covariance(Estimator, hidden_layer_sizes):
    X = np.hstack([WINE, np.full((len(WINE), 1), 3.0)])
    model = quick(Estimator, hidden_layer_sizes=hidden_layer_sizes).fit(X)
    covariance, scale = model.get_covariance(), np.append(WINE.std(axis=0), 1)
    product = covariance @ model.get_precision() / scale[:, None] * scale
    np.testing.assert_allclose(product, np.diag([1.0] * 13 + [0.0]), atol=1e-6)
    np.testing.assert_array_equal(model.components_[:, -1], 0)
    if not hidden_layer_sizes:
        B = model.components_
        np.testing.assert_allclose(covariance, B.T @ B + np.diag(model.noise_variance_), rtol=1e-6)


# --- curved models --------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["gaussian", "poisson", "bernoulli"])
def test_loadings_are_the_mean_jacobian(Estimator, likelihood):
    X = {"gaussian": CURVED, "poisson": np.round(np.exp(CURVED)), "bernoulli": CURVED > 0}
    X = X[likelihood].astype(float)
    model = quick(Estimator, likelihood=likelihood).fit(X)
    module, z = model.net_.module_in(torch.float64), torch.from_numpy(model.transform(X))
    J = [
        torch.autograd.functional.jacobian(lambda z: module.decode(z[None]).mean[0], row)
        for row in z
    ]
    expected = torch.stack(J).mean(0).T.numpy() * model.scale_
    np.testing.assert_allclose(model.components_, expected, rtol=1e-5, atol=1e-8)


def settings():
    """Models and rows, and in which way each column counts."""
    holes = np.where(np.random.RandomState(0).rand(*WINE.shape) < 0.1, np.nan, WINE)
    yield "surface", quick(), CURVED, "variance_weighted"
    yield "autoregressive", quick(RhoVAETransformer, 3), CURVED, "variance_weighted"
    yield "own scales", quick(n_components=3, standardize=True), WINE, "uniform_average"
    yield "one component", quick(n_components=1, standardize=True), WINE, "uniform_average"
    yield "more than columns", quick(n_components=5), CURVED, "variance_weighted"
    yield "counts", quick(likelihood="poisson"), np.round(np.exp(CURVED)), "variance_weighted"
    yield "missing", quick(standardize=True), holes, None


@pytest.mark.parametrize(
    ("model", "X", "columns"), [s[1:] for s in settings()], ids=[s[0] for s in settings()]
)
def test_shares_add_up_to_the_r2_of_the_reconstruction(model, X, columns):
    model.fit(X)
    if columns is None:
        away = (X - np.nanmean(X, axis=0)) / model.scale_
        error = (X - model.inverse_transform(model.transform(X))) / model.scale_
        expected = 1 - np.nansum(error**2) / np.nansum(away**2)
    else:
        expected = r2(model, X, multioutput=columns)
    assert model.explained_variance_ratio_.shape == (model.n_components_,)
    assert model.explained_variance_ratio_.sum() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("covariance_type", ["diag", "spherical", "ar1", "scaled_ar1"])
@pytest.mark.parametrize("X", [DIGITS, WINE, CURVED], ids=["digits", "wine", "surface"])
def test_shares_decrease(X, covariance_type):
    """An autoregression takes an order or its reverse: any of two components."""
    is_ar1 = covariance_type.endswith("ar1")
    Estimator, d = (RhoVAETransformer, 2) if is_ar1 else (VAETransformer, min(6, X.shape[1]))
    model = quick(Estimator, d, covariance_type=covariance_type, max_iter=20).fit(X)
    shares = model.explained_variance_ratio_
    assert (np.diff(shares) <= 0).all()
    Z = model.transform(X)
    model.set_params(warm_start=True, max_iter=1).fit(X)  # components stay where they are
    overlap = np.corrcoef(model.transform(X).T, Z.T)[:d, d:]
    assert np.argmax(overlap, axis=1).tolist() == list(range(d))


def test_shares_are_the_shapley_value_of_two_components():
    """By all pairs of rows, in place of two other rows for each."""
    X = CURVED[:100]
    model = quick(max_iter=60).fit(X)
    z = model.transform(X)
    pairs = np.stack(np.meshgrid(z[:, 0], z[:, 1], indexing="ij"), -1)
    f = model.inverse_transform(pairs.reshape(-1, 2)).reshape(100, 100, 3)
    total = ((X - X.mean(axis=0)) ** 2).sum()
    alone = [1 - ((X - f.mean(axis=axis)) ** 2).sum() / total for axis in (1, 0)]
    both = r2(model, X, multioutput="variance_weighted")
    expected = [(alone[0] + both - alone[1]) / 2, (alone[1] + both - alone[0]) / 2]
    np.testing.assert_allclose(model.explained_variance_ratio_, expected, atol=0.05)


@pytest.mark.parametrize("likelihood", ["gaussian", "poisson", "bernoulli"])
def test_the_covariance_is_that_of_samples(likelihood):
    X = {"gaussian": CURVED, "poisson": np.round(np.exp(CURVED / 2)), "bernoulli": CURVED > 0}
    model = quick(likelihood=likelihood).fit(X[likelihood].astype(float))
    drawn = np.cov(model.sample(40_000, random_state=1), rowvar=False)
    assert relative(model.get_covariance(), drawn) < 0.06


# --- tables, weights, streams ---------------------------------------------------------------------


def mixed_table(n=200):
    rng = np.random.RandomState(0)
    size = rng.standard_normal(n)
    return pandas.DataFrame(
        {
            "size": 1000 * size,
            "colour": pandas.Categorical(
                np.where(size > 0, "red", rng.choice(["blue", "grey"], n))
            ),
            "sold": size + rng.standard_normal(n) > 0,
            "constant": 1.0,
        }
    )


def test_a_category_has_a_column_for_each_level(Estimator):
    frame = mixed_table()
    model = quick(Estimator, max_iter=20).fit(frame)
    names = ["size", "colour_blue", "colour_grey", "colour_red", "sold", "constant"]
    assert model.column_names_.tolist() == names
    assert model.components_.shape == (2, 6)
    np.testing.assert_allclose(model.components_[:, 1:4].sum(axis=1), 0, atol=1e-9)
    np.testing.assert_array_equal(model.components_[:, 5], 0)
    rows = pandas.DataFrame(model.sample(20_000, random_state=0))
    drawn = np.cov(pandas.get_dummies(rows)[names].to_numpy(dtype=float), rowvar=False)
    own, scale = model.get_covariance(), np.array([1000, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(
        own / np.outer(scale, scale), drawn / np.outer(scale, scale), atol=0.05
    )
    assert 0 < model.explained_variance_ratio_.sum() < 1


def test_weights_are_repetitions(Estimator):
    weight = np.random.RandomState(0).randint(1, 3, len(CURVED))
    by_weight = quick(Estimator, max_iter=2).fit(CURVED, sample_weight=weight)
    repeated = quick(Estimator, max_iter=2).fit(np.repeat(CURVED, weight, axis=0))
    for name in ("components_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(by_weight, name), getattr(repeated, name), rtol=1e-6)


def test_a_stream_counts_its_rows(Estimator):
    model = quick(Estimator)
    for block in np.split(CURVED, 3):
        model.partial_fit(block)
    assert model.n_samples_seen_ == 300
    expected = r2(model, block, multioutput="variance_weighted")
    assert model.explained_variance_ratio_.sum() == pytest.approx(expected, abs=1e-6)
    assert model.fit(CURVED).n_samples_seen_ == 300


def test_they_are_kept_and_older_models_do_without(Estimator):
    model = quick(Estimator).fit(CURVED)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.components_, model.components_)
    np.testing.assert_array_equal(again.get_covariance(), model.get_covariance())
    state = model.__getstate__()
    for name in ("components_", "explained_variance_ratio_", "n_samples_seen_"):
        del state[name]
    older = Estimator.__new__(Estimator)
    older.__setstate__(state)
    np.testing.assert_array_equal(older.transform(CURVED), model.transform(CURVED))
    np.testing.assert_array_equal(older.get_precision(), model.get_precision())
    assert older.n_components_ == 2
    assert older.partial_fit(CURVED).components_.shape == (2, 3)
