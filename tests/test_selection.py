"""From the starts to the net that is kept.

What is held out, who wins, and what the held-out rows say of the noise.
"""

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer
from sklearn_vae._base.splitting import split
from sklearn_vae.batch import Batch
from sklearn_vae.datasets import make_sine_sum
from sklearn_vae.likelihoods import Gaussian, Noise
from sklearn_vae.objectives import fixed_deviates
from sklearn_vae.selection import Evidence, Trainer, multistart
from sklearn_vae.selection.multistart import _takes_over
from sklearn_vae.training import Snapshot

X_DIABETES = load_diabetes().data


@pytest.mark.parametrize(
    ("n", "held_out"),
    [(5, 0), (19, 0), (20, 5), (39, 9), (119, 29), (120, 30), (300, 30), (1000, 100)],
)
def test_rows_held_out(n, held_out):
    train, valid = split(n, "auto", 0.1, seed=0)
    assert (0 if valid is None else len(valid)) == held_out
    np.testing.assert_array_equal(
        np.sort(np.concatenate([train, [] if valid is None else valid])), np.arange(n)
    )


@pytest.mark.parametrize(
    ("gain", "explained", "explained_before", "takes_over"),
    [
        (0.025, 0.5, 0.48, True),  # better by more than two standard errors
        (0.015, 0.5, 0.48, False),
        (0.015, 0.9, 0.48, False),
        (0.0, 0.9, 0.48, False),
        (0.0, 0.99, 0.48, True),  # as good, and the first has collapsed
        (-0.015, 0.99, 0.48, True),
        (-0.025, 0.99, 0.48, False),
        (0.015, 0.22, 0.03, False),  # neither explains much
        (0.015, 0.52, 0.03, True),
    ],
)
def test_when_a_second_start_takes_over(gain, explained, explained_before, takes_over):
    """Of 100 differences with standard deviation 0.1 the mean has a standard error of 0.01."""
    noise = torch.from_numpy(np.random.RandomState(0).standard_normal(100))
    noise = (noise - noise.mean()) / noise.std()
    assert _takes_over(gain + 0.1 * noise, explained, explained_before) is takes_over


@pytest.mark.filterwarnings("error")
def test_one_row_decides_nothing():
    assert not _takes_over(torch.tensor([100.0]), 0.6, 0.5)


def clusters_on_a_sphere(n, seed):
    """Six of them, whitened: linear directions say nothing."""
    rng = np.random.RandomState(seed)
    X = np.vstack([np.eye(3), -np.eye(3)])[rng.randint(6, size=n)] + 0.4 * rng.standard_normal(
        (n, 3)
    )
    X = X / np.linalg.norm(X, axis=1, keepdims=True) + 0.02 * rng.standard_normal(X.shape)
    return PCA(whiten=True).fit_transform(X)


def test_a_surface_without_noise_is_not_given_the_noise_of_the_start(Estimator):
    """Held-out rows happen to be nearer to the start's plane than rows trained on."""
    X = make_sine_sum(2000, noise=0.0, random_state=2, surface=True)
    model = Estimator(2, random_state=2).fit(X)
    assert r2_score(X, model.inverse_transform(model.transform(X))) > 0.99


def test_a_collapsed_linear_start_gives_way(Estimator):
    """Where the two bounds are about as good."""
    X = clusters_on_a_sphere(600, seed=3)
    estimator = Estimator(2, random_state=3).fit(X)
    assert r2_score(X, estimator.inverse_transform(estimator.transform(X))) > 0.9


def test_where_no_epoch_helps_the_result_is_the_linear_model_of_all_rows(Estimator):
    X = StandardScaler().fit_transform(X_DIABETES)
    estimator = Estimator(2, learning_rate_init=1e-12, random_state=0).fit(X)
    pca = PCA(2).fit(X)
    shrink = 1 - pca.noise_variance_ / pca.explained_variance_
    np.testing.assert_allclose(
        estimator.inverse_transform(estimator.transform(X)),
        pca.inverse_transform(shrink * pca.transform(X)),
        atol=1e-4,
    )
    raised = estimator.noise_variance_ / pca.noise_variance_
    np.testing.assert_allclose(raised, raised[0])
    assert 1 < raised[0] < 1.2


def test_what_may_be_chance_gives_way_to_the_linear_model_of_all_rows(Estimator, monkeypatch):
    X = StandardScaler().fit_transform(X_DIABETES)

    def rebuilt(learning_rate):
        """By a net that is all but the linear model of the rows that its start is found by."""
        params = {"likelihood": Gaussian(0.5, noise_growth=0.0), "max_iter": 1, "random_state": 0}
        model = Estimator(2, learning_rate_init=learning_rate, **params).fit(X)
        return model.inverse_transform(model.transform(X))

    of_all = rebuilt(1e-12)
    monkeypatch.setattr(multistart, "verdict", lambda gain: 1)
    assert np.abs(rebuilt(1e-5) - of_all).max() > 0.01
    monkeypatch.setattr(multistart, "verdict", lambda gain: 0)
    np.testing.assert_allclose(rebuilt(1e-5), of_all, atol=1e-5)


def test_a_second_training_that_went_wrong_is_not_kept(Estimator, monkeypatch):
    gone_wrong = []

    def refit(trainer, run):
        trainer.drawn.put_back()
        gone_wrong.append(run)

    monkeypatch.setattr(Trainer, "refit", refit)
    estimator = Estimator(2, max_iter=5, random_state=0).fit(X_DIABETES)
    assert gone_wrong
    assert estimator.score(X_DIABETES) > PCA(2).fit(X_DIABETES).score(X_DIABETES) - 0.1


def test_curves_are_those_of_the_training_with_rows_held_out(Estimator):
    estimator = Estimator(2, max_iter=20, random_state=0).fit(X_DIABETES)
    assert len(estimator.validation_loss_curve_) == estimator.n_iter_ == len(estimator.loss_curve_)
    before = estimator.loss_curve_
    estimator.set_params(max_iter=3, warm_start=True).fit(X_DIABETES)
    assert estimator.loss_curve_[: len(before)] == before
    assert len(before) < estimator.n_iter_ <= len(before) + 3


@pytest.mark.parametrize("max_iter", [1, 30, 60])
def test_a_fit_stays_within_the_epochs_allowed(Estimator, max_iter):
    estimator = Estimator(2, max_iter=max_iter, n_iter_no_change=5, random_state=0).fit(X_DIABETES)
    assert estimator.n_iter_ <= max_iter
    best = estimator.net_.keep_best_.best_epoch_
    assert best == 0 or estimator.best_loss_ == estimator.validation_loss_curve_[best - 1]


def heavy_tails(n, seed):
    """Rows of a linear model, each multiplied by a factor of its own.

    They are a multivariate t with 2 degrees of freedom.
    """
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, 2)) @ rng.standard_normal((2, 8)) + 0.3 * rng.standard_normal(
        (n, 8)
    )
    return X / np.sqrt(rng.chisquare(2, (n, 1)) / 2)


def noise_at(model, Z):
    """The noise variance at Z (..., d), by the public attributes, in the units of X."""
    r, g = (1 + (Z**2).mean(axis=-1, keepdims=True)) / 2, model.noise_growth_
    return model.noise_variance_ * r**g * np.maximum(1, r / model.noise_reach_) ** max(0, 1 - g)


def squared_errors(model, X):
    """As shares of the noise."""
    Z = model.transform(X)
    return (X - model.inverse_transform(Z)) ** 2 / noise_at(model, Z)


@pytest.mark.parametrize("far_out", [0, 30.0])
@pytest.mark.parametrize("noise", ["shared", "per_feature"])
def test_how_far_the_noise_is_raised(noise, far_out):
    """By what the start's error exceeds that on held-out rows, and by one row more.

    That row nothing but the start knows.
    """
    X = StandardScaler().fit_transform(X_DIABETES)
    model = VAETransformer(
        2, likelihood=Gaussian(noise), standardize=False, max_iter=3, random_state=0
    ).fit(X)
    # As it is at this stage of a fit.
    model.noise_reach_ = model.net_.module_.likelihood.noise.farthest = np.inf
    trained_on = X + far_out * (np.arange(len(X)) == 7)[:, None] * np.cos(np.arange(X.shape[1]))
    over = 0 if noise == "per_feature" else None
    missed = np.sort((squared_errors(model, trained_on) - squared_errors(model, X)).mean(axis=0))
    missed = missed.mean() if noise == "shared" else missed[(len(missed) - 1) // 2]
    module = copy.deepcopy(model.net_.module_)
    rows = (Batch(torch.from_numpy(X).float()) for X in (trained_on, X))
    net = copy.copy(model.net_)
    net.module_, noise_of_model = module, module.likelihood.noise
    with torch.no_grad():
        evidence = Evidence(net, None, Snapshot(module), *rows, n=10)
        noise_of_model.add_margin(evidence, (evidence.trained(), evidence.held_out()))
    unknown = (trained_on - model.inverse_transform(model.transform(trained_on))) ** 2
    known = model.noise_variance_ * (1 + max(0, missed))
    expected = (10 * known + np.maximum(unknown.mean(axis=over), known)) / 11
    np.testing.assert_allclose(noise_of_model.variance.detach().expand(10), expected, rtol=2e-3)
    assert (missed > 0.1) == bool(far_out)


@pytest.mark.parametrize("noise", ["shared", "per_feature"])
def test_noise_grows_as_the_errors_do(Estimator, noise):
    """By the slope of the logarithms, under a prior N(0, 1).

    Its mean over the rows trained on stays.
    """
    X = heavy_tails(400, seed=0)
    model = Estimator(
        2, likelihood=Gaussian(noise, 0.3), standardize=False, max_iter=5, random_state=0
    ).fit(X)
    far = np.log((1 + (model.transform(X) ** 2).mean(axis=1)) / 2)
    error = np.log((squared_errors(model, X)).mean(axis=1)) + 0.3 * far
    ridge = Ridge(alpha=error.var()).fit(far[:, None], error)
    net, x = model.net_, Batch(torch.from_numpy(X).float())
    evidence = Evidence(net, *[Snapshot(net.module_)] * 2, x, x, len(x))
    noise_of_model = net.module_.likelihood.noise
    with torch.no_grad():
        assert noise_of_model.growth_over(evidence.held_out()) == pytest.approx(
            ridge.coef_[0], rel=1e-4
        )
        before = noise_of_model.errors(evidence.trained()).mean().item()
        noise_of_model.grow(evidence, evidence.trained())
        after = noise_of_model.errors(evidence.trained()).mean().item()
    assert noise_of_model.growth == pytest.approx(ridge.coef_[0], rel=1e-4)
    assert after == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("noise", ["shared", "per_feature"])
def test_how_far_the_noise_is_lowered(noise):
    """To the larger mean squared error over draws, that of the held-out rows two errors higher."""
    X = StandardScaler().fit_transform(X_DIABETES)
    model = VAETransformer(
        2, likelihood=Gaussian(noise, 0.5), standardize=False, max_iter=3, random_state=0
    ).fit(X)
    net, noise_of_model = model.net_, model.net_.module_.likelihood.noise
    noise_of_model.farthest = np.inf
    held_out = Batch(torch.from_numpy(X[::4]).float())
    x = Batch(torch.from_numpy(np.delete(X, np.s_[::4], 0)).float())

    def lowered(factor, far_out=0.0):
        """The factor on the noise, where it was a multiple of what it is."""
        noise_of_model.rescale(factor)
        before = noise_of_model.variance.detach()
        rows = Batch(held_out.x + far_out * (torch.arange(len(held_out)) == 0)[:, None])
        evidence = Evidence(net, *[Snapshot(net.module_)] * 2, x, rows, len(X))
        with torch.no_grad():
            noise_of_model.lower(evidence)
        after = noise_of_model.variance.detach()
        noise_of_model.rescale(1 / factor)
        noise_of_model.rescale((before / after).mean())
        np.testing.assert_allclose(after / before, (after / before).mean(), rtol=1e-4)
        return (after / before).mean().item()

    def errors(rows, n_draws=100):
        """The mean over draws, by the public attributes."""
        q = net.module_.encode(rows)
        Z = q.rsample(torch.randn(n_draws, len(rows), 2)).detach().numpy()
        noise = torch.from_numpy(noise_at(model, Z))
        away = rows.x - net.module_.decode(torch.from_numpy(Z)).mean
        return (away.detach().square() / noise).mean((0, 2)).numpy()

    of_held_out = errors(held_out)
    doubt = 2 * of_held_out.std(ddof=1) / len(of_held_out) ** 0.5
    most = max(errors(x).mean(), of_held_out.mean() + doubt)
    assert 0.5 < most < 2
    assert lowered(4.0) == pytest.approx(most / 4, rel=0.05)
    assert lowered(10.0) == pytest.approx(most / 10, rel=0.05)
    assert lowered(0.25) == pytest.approx(1, rel=1e-5)
    assert lowered(4.0, far_out=300.0) == pytest.approx(1, rel=1e-5)


def test_growth_that_loses_on_held_out_rows_is_dropped(monkeypatch):
    monkeypatch.setattr(Noise, "growth_over", lambda *args: 20.0)
    growing = VAETransformer(2, max_iter=5, random_state=0).fit(X_DIABETES)
    constant = VAETransformer(
        2, max_iter=5, random_state=0, likelihood=Gaussian(noise_growth=0.0)
    ).fit(X_DIABETES)
    assert growing.noise_growth_ == 0
    growing.net_.module_.likelihood.noise.farthest = np.inf
    np.testing.assert_array_equal(
        growing.score_samples(X_DIABETES), constant.score_samples(X_DIABETES)
    )


def test_noise_does_not_shrink_with_the_distance():
    """Rows on a plane, farther out the closer to it."""
    rng = np.random.RandomState(0)
    Z = rng.standard_normal((400, 2)) * np.exp(rng.standard_normal((400, 1)))
    off = rng.standard_normal((400, 6)) / (1 + np.linalg.norm(Z, axis=1, keepdims=True)) ** 2
    X = np.hstack([Z, np.zeros((400, 4))]) + 0.1 * off
    assert (
        VAETransformer(2, max_iter=5, standardize=False, random_state=0).fit(X).noise_growth_ == 0
    )


@pytest.mark.parametrize("noise", ["shared", "per_feature"])
def test_heavy_tails_are_no_loss(Estimator, noise):
    """Held-out rows of a t distribution.

    The score is above PCA and factor analysis, and above the same noise everywhere.
    """
    X, X_test = np.split(heavy_tails(5000, seed=3), [800])
    params = {"n_components": 2, "max_iter": 30, "random_state": 0}
    growing, constant = (
        Estimator(likelihood=Gaussian(noise, growth), **params).fit(X) for growth in ("auto", 0.0)
    )
    linear = (PCA if noise == "shared" else FactorAnalysis)(2).fit(X)
    assert growing.noise_growth_ > 0.3
    assert growing.score(X_test) > max(linear.score(X_test), constant.score(X_test))
    np.testing.assert_array_equal(growing.transform(X_test), constant.transform(X_test))


def test_a_row_far_outside_costs_no_more_than_its_distance(Estimator):
    """A code for missing values, such as 999999, must not take the posterior's variance with it."""
    X = StandardScaler().fit_transform(X_DIABETES)
    model = Estimator(2, max_iter=20, random_state=0).fit(X)
    terms = model.elbo(1e6 * X[:20], split=True)
    distance = (model.transform(1e6 * X[:20]) ** 2).sum(axis=1)
    assert np.isfinite(terms.bound).all()
    assert (terms.kl <= 0.5001 * distance + 2 * 75).all()


def test_a_linear_model_keeps_one_noise(Estimator):
    linear = Estimator(2, hidden_layer_sizes=(), max_iter=5).fit(heavy_tails(100, seed=0))
    assert (linear.noise_growth_, linear.noise_reach_) == (0, np.inf)


@pytest.mark.parametrize("growth", ["auto", 0.7])
def test_the_public_attributes_tell_the_noise(Estimator, growth):
    """Through a pickle, in the units of X, and far beyond what was seen."""
    X = heavy_tails(100, seed=0) * np.logspace(-3, 3, 8)
    model = Estimator(2, likelihood=Gaussian(noise_growth=growth), max_iter=5, random_state=0).fit(
        X
    )
    X = np.vstack([X, 30 * X])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    mean, covariance = model.posterior(X)
    draws = mean + np.einsum(
        "nij,knj->kni", np.linalg.cholesky(covariance), fixed_deviates(4, 2).numpy()
    )
    rebuilt = np.stack([model.inverse_transform(Z) for Z in draws])
    by_hand = (
        stats.norm.logpdf(X, rebuilt, np.sqrt(noise_at(again, draws))).sum(axis=-1).mean(axis=0)
    )
    np.testing.assert_allclose(
        model.elbo(X, n_draws=4, split=True).reconstruction, by_hand, rtol=1e-6
    )


def test_noise_growth_given_is_kept(Estimator):
    model = Estimator(2, likelihood=Gaussian(noise_growth=0.7), max_iter=5, random_state=0).fit(
        X_DIABETES
    )
    for each in model, pickle.loads(pickle.dumps(model)):
        assert each.noise_growth_ == each.net_.module_.likelihood.noise.growth == 0.7
        assert each.noise_reach_ == each.net_.module_.likelihood.noise.farthest == np.inf


@pytest.mark.parametrize("heavy", [False, True])
def test_how_far_the_noise_reaches(Estimator, heavy):
    """To the farthest row in training, or as far as so many draws from the prior."""
    X = heavy_tails(300, seed=0) if heavy else np.random.RandomState(0).standard_normal((300, 8))
    model = Estimator(2, max_iter=5, random_state=0).fit(X)
    of_rows = (model.transform(X) ** 2).mean(axis=1).max()
    of_prior = stats.chi2(2).ppf(1 - 1 / 300) / 2
    assert model.noise_reach_ == pytest.approx((1 + max(of_rows, of_prior)) / 2, rel=1e-5)
    assert (of_rows > of_prior) == heavy


def test_rows_farther_out_than_any_seen_cost_less(Estimator):
    X, X_test = np.split(StandardScaler().fit_transform(X_DIABETES), [221])
    params = {"n_components": 2, "max_iter": 20, "random_state": 0}
    model, constant = (
        Estimator(likelihood=Gaussian(noise_growth=growth), **params).fit(X)
        for growth in ("auto", 0.0)
    )
    for far, gain in (1, 0), (10, 10), (100, 1000):
        assert model.score(far * X_test) > constant.score(far * X_test) + gain - 0.01


def test_noise_goes_on_growing_when_training_goes_on(Estimator):
    X = heavy_tails(400, seed=0)
    model = Estimator(2, max_iter=10, warm_start=True, random_state=0).fit(X)
    assert model.noise_growth_ > 0.3
    growth = model.fit(X).noise_growth_  # measured anew
    assert growth > 0.3
    assert model.partial_fit(X).noise_growth_ == growth


def test_raw_units_make_no_difference(Estimator):
    """Columns of scales from 1e-6 to 1e6.

    The score is that on data standardised outside, after the Jacobian.
    """
    X = load_breast_cancer().data[:, :9]
    scaler = StandardScaler().fit(X)
    raw = 10.0 ** np.array([-6, -4, -3, -1, 0, 1, 3, 4, 6]) * scaler.transform(X)
    params = {"n_components": 2, "hidden_layer_sizes": (32,), "max_iter": 40, "random_state": 0}
    inside, outside = Estimator(**params).fit(raw), Estimator(**params).fit(scaler.transform(X))
    jacobian = np.log(raw.std(axis=0)).sum()
    assert inside.score(raw) + jacobian == pytest.approx(
        outside.score(scaler.transform(X)), abs=0.05
    )


@pytest.mark.parametrize(
    "likelihood", ["bernoulli", "continuous_bernoulli", "poisson", "negative_binomial"]
)
def test_other_likelihoods_start_at_the_mean(likelihood):
    rng = np.random.RandomState(0)
    X = (
        rng.binomial(1, [0.1, 0.5, 0.8], (200, 3))
        if "bernoulli" in likelihood
        else rng.poisson([1, 30, 1000], (200, 3))
    )
    params = {
        "likelihood": likelihood,
        "learning_rate_init": 1e-12,
        "max_iter": 1,
        "hidden_layer_sizes": (),
    }
    module = VAETransformer(2, random_state=0, **params).fit(X).net_.module_
    start = module.decode(torch.zeros(1, 2)).mean[0].detach()
    if likelihood == "continuous_bernoulli":  # whose mean is nearer to a half than the logit says
        assert ((start - 0.5) * (torch.from_numpy(X.mean(0)) - 0.5) >= 0).all()
    else:
        np.testing.assert_allclose(start, X.mean(0), rtol=1e-3)


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
def test_counts_of_very_many_columns_start_at_their_means(likelihood):
    X = np.random.RandomState(0).poisson(np.linspace(0.1, 3, 1010), (60, 1010)).astype(float)
    model = VAETransformer(
        2, likelihood=likelihood, hidden_layer_sizes=(), max_iter=1, random_state=0
    ).fit(X)
    means = model.sample(200, random_state=0, noise=False).mean(axis=0)
    assert np.corrcoef(means, X.mean(axis=0))[0, 1] > 0.9


def test_noise_per_feature_where_columns_outnumber_rows():
    """The held-out rows tell how large the noise is; the start tells how it differs by column."""
    rng = np.random.RandomState(0)
    W, scale = rng.randn(2, 120), np.exp(rng.uniform(-3, 0, 120))
    X = rng.randn(140, 2) @ W + scale * rng.randn(140, 120)
    X, X_test = X[:40], X[40:]
    vae = VAETransformer(2, likelihood=Gaussian("per_feature"), max_iter=1, random_state=0)
    reference = FactorAnalysis(2, random_state=0).fit(X).score(X_test)
    assert vae.fit(X).score(X_test) > reference - 1
    assert np.corrcoef(np.log(vae.noise_variance_), np.log(scale))[0, 1] > 0.9
