"""From the starts to the net that is kept: what is held out, who wins, and what the held-out rows say of the noise."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer
from sklearn_vae._base.data import split
from sklearn_vae._base.race import _doubt_of_noise, _takes_over

X_DIABETES = load_diabetes().data


@pytest.mark.parametrize(("n", "held_out"), [(5, 0), (19, 0), (20, 5), (39, 9), (40, 10), (100, 10), (1000, 100)])
def test_rows_held_out(n, held_out):
    train, valid = split(n, "auto", 0.1, seed=0)
    assert (0 if valid is None else len(valid)) == held_out
    np.testing.assert_array_equal(np.sort(np.concatenate([train, [] if valid is None else valid])), np.arange(n))


@pytest.mark.parametrize(
    ("gain", "explained", "takes_over"),
    [
        (0.025, 0.5, True),  # better by more than two standard errors
        (0.015, 0.5, False),
        (0.015, 0.9, False),
        (0.0, 0.9, False),
        (0.0, 0.99, True),  # as good, and the first has collapsed
        (-0.015, 0.99, True),
        (-0.025, 0.99, False),
    ],
)
def test_when_a_second_start_takes_over(gain, explained, takes_over):
    """Of 100 differences with standard deviation 0.1 the mean has a standard error of 0.01."""
    noise = torch.from_numpy(np.random.RandomState(0).standard_normal(100))
    noise = (noise - noise.mean()) / noise.std()
    assert _takes_over(gain + 0.1 * noise, explained, explained_before=0.48) is takes_over


def test_a_collapsed_linear_start_gives_way(Estimator):
    """Six clusters on a sphere, whitened: linear directions say nothing, and the two bounds are about as good."""
    rng = np.random.RandomState(3)
    X = np.vstack([np.eye(3), -np.eye(3)])[rng.randint(6, size=1000)] + 0.4 * rng.standard_normal((1000, 3))
    X = X / np.linalg.norm(X, axis=1, keepdims=True) + 0.02 * rng.standard_normal(X.shape)
    X = PCA(whiten=True).fit_transform(X)
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


def test_curves_are_those_of_the_training_with_rows_held_out(Estimator):
    estimator = Estimator(2, max_iter=20, random_state=0).fit(X_DIABETES)
    assert len(estimator.validation_loss_curve_) == estimator.n_iter_ == len(estimator.loss_curve_)
    before = estimator.loss_curve_
    estimator.set_params(max_iter=3, warm_start=True).fit(X_DIABETES)
    assert estimator.loss_curve_[: len(before)] == before
    assert len(before) < estimator.n_iter_ <= len(before) + 3


@pytest.mark.parametrize("max_iter", [1, 30, 60])
def test_cooling_stays_within_the_epochs_allowed(Estimator, max_iter):
    estimator = Estimator(2, max_iter=max_iter, n_iter_no_change=5, random_state=0).fit(X_DIABETES)
    assert estimator.n_iter_ <= max_iter
    assert estimator.best_loss_ <= min(estimator.validation_loss_curve_)


@pytest.mark.parametrize("far_out", [0, 30.0])
@pytest.mark.parametrize("noise", ["shared", "per_feature", "heteroscedastic", 0.5])
def test_doubt_of_the_noise(noise, far_out):
    """A standard error of the error over 1000 rows; or what the start's error exceeds there that on held-out rows."""
    X = StandardScaler().fit_transform(X_DIABETES)
    model = VAETransformer(2, noise_variance=noise, standardize=False, max_iter=3, random_state=0).fit(X)
    trained_on = X + far_out * (np.arange(len(X)) == 7)[:, None] * np.cos(np.arange(X.shape[1]))

    def errors(X):
        error = (X - model.inverse_transform(model.transform(X))) ** 2 / model.noise_variance_
        return error.mean(axis=1, keepdims=True) if noise == "shared" else error

    module = model.net_.module_
    doubt = _doubt_of_noise(module, module, *(torch.from_numpy(rows).float() for rows in (trained_on, X)), n=1000)
    if noise not in ("shared", "per_feature"):
        assert doubt == 0
        return
    standard_error = errors(X).std(axis=0, ddof=1) / 1000**0.5
    expected = np.sort(np.maximum(standard_error, (errors(trained_on) - errors(X)).mean(axis=0)))
    assert doubt == pytest.approx(expected[(len(expected) - 1) // 2], rel=1e-3)
    assert bool(far_out) == (doubt > np.median(standard_error) * 1.01)


def test_raw_units_make_no_difference(Estimator):
    """Columns of scales from 1e-6 to 1e6: the score is that on data standardised outside, after the Jacobian."""
    X = load_breast_cancer().data[:, :9]
    scaler = StandardScaler().fit(X)
    raw = 10.0 ** np.array([-6, -4, -3, -1, 0, 1, 3, 4, 6]) * scaler.transform(X)
    params = {"n_components": 2, "hidden_layer_sizes": (32,), "max_iter": 40, "random_state": 0}
    inside, outside = Estimator(**params).fit(raw), Estimator(**params).fit(scaler.transform(X))
    jacobian = np.log(raw.std(axis=0)).sum()
    assert inside.score(raw) + jacobian == pytest.approx(outside.score(scaler.transform(X)), abs=0.05)


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli", "poisson", "negative_binomial"])
def test_other_likelihoods_start_at_the_mean(likelihood):
    rng = np.random.RandomState(0)
    X = (
        rng.binomial(1, [0.1, 0.5, 0.8], (200, 3))
        if "bernoulli" in likelihood
        else rng.poisson([1, 30, 1000], (200, 3))
    )
    params = {"likelihood": likelihood, "learning_rate_init": 1e-12, "max_iter": 1, "hidden_layer_sizes": ()}
    module = VAETransformer(2, random_state=0, **params).fit(X).net_.module_
    start = module.decode(torch.zeros(1, 2)).mean[0].detach()
    if likelihood == "continuous_bernoulli":  # whose mean is nearer to a half than the logit says
        assert ((start - 0.5) * (torch.from_numpy(X.mean(0)) - 0.5) >= 0).all()
    else:
        np.testing.assert_allclose(start, X.mean(0), rtol=1e-3)
