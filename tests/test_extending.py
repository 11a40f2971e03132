"""Parts that a user writes: they take every way that the package's own take.

A likelihood, a network, a posterior and an objective, defined here and known to nobody else.
"""

import pickle

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from test_networks import Residual

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.datasets import make_sine_sum
from sklearn_vae.likelihoods import Gaussian, Likelihood, LocationScale
from sklearn_vae.objectives import ELBO, Objective, reconstruction
from sklearn_vae.posteriors import Diagonal, Posterior


class StudentT(LocationScale):
    """Heavy tails, of `df` degrees of freedom."""

    def __init__(self, df=5.0, noise_variance="shared", noise_growth="auto"):
        super().__init__(noise_variance, noise_growth)
        self.df = df

    def forward(self, numbers, z=None):
        variance = torch.exp(self.noise.log_variance_at(z))
        scale = torch.sqrt(variance * (self.df - 2) / self.df)
        return torch.distributions.StudentT(self.df, numbers, scale, validate_args=False)


class Laplace(LocationScale):
    def forward(self, numbers, z=None):
        scale = torch.exp(0.5 * self.noise.log_variance_at(z)) / 2**0.5
        return torch.distributions.Laplace(numbers, scale, validate_args=False)


class Exponential(Likelihood):
    """Of positive numbers, without noise of its own; training starts at the mean."""

    support = "the positive numbers"
    remedy = "add a constant"
    linear_model = "mean"

    def start(self, model):
        return torch.from_numpy(model.loadings), torch.log(torch.from_numpy(model.mean))

    def encode(self, x):
        return torch.log(x)

    def supports(self, X):
        return X > 0

    def forward(self, numbers, z=None):
        return torch.distributions.Exponential(torch.exp(-numbers), validate_args=False)


class OneForAll(Posterior):
    """L = s I with one s for all components, as an encoder may tell it by one number."""

    @staticmethod
    def n_variances(n_components):
        return 1

    def color(self, eps):
        return self.scale * eps

    def whiten(self, v):
        return v / self.scale


class Capacity(Objective):
    """The KL is drawn to a capacity C (Burgess et al. 2018)."""

    def __init__(self, capacity=5.0, gamma=1.0):
        super().__init__()
        self.capacity = capacity
        self.gamma = gamma

    def forward(self, output, x):
        away = (output.q.kl().mean() - self.capacity).abs()
        return reconstruction(output, x) - self.gamma * away


OWN = {
    "student": {"likelihood": StudentT(df=4.0)},
    "student per feature": {"likelihood": StudentT(noise_variance="per_feature")},
    "student fixed": {"likelihood": StudentT(noise_variance=0.3)},
    "laplace": {"likelihood": Laplace()},
    "network": {"encoder": Residual, "decoder": Residual},
    "posterior": {"covariance_type": OneForAll},
    "objective": {"objective": Capacity()},
    "all": {
        "likelihood": StudentT(),
        "encoder": Residual,
        "decoder": Residual,
        "covariance_type": OneForAll,
        "objective": Capacity(),
    },
}
own = pytest.mark.parametrize("params", OWN.values(), ids=OWN)
X_WINE = StandardScaler().fit_transform(load_wine().data)


def quick(Estimator=VAETransformer, d=2, **params):
    return Estimator(d, **{"max_iter": 3, "random_state": 0, "hidden_layer_sizes": (16,), **params})


# --- the laws of a likelihood ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("likelihood", "reference"),
    [
        (StudentT(4.0), stats.t(4, 1.0, np.sqrt(0.3 * 2 / 4))),
        (Laplace(), stats.laplace(1.0, np.sqrt(0.3 / 2))),
    ],
)
def test_log_probability_mean_and_variance(likelihood, reference):
    likelihood = clone(likelihood).build(np.ones(1)).double()
    likelihood.noise.set(torch.tensor([0.3]))
    x = np.linspace(-30, 30, 13)[:, None]
    with torch.no_grad():
        p = likelihood(torch.ones(1, 1, dtype=torch.float64))
        log_prob = p.log_prob(torch.from_numpy(x))
    np.testing.assert_allclose(log_prob, reference.logpdf(x), rtol=1e-6)
    np.testing.assert_allclose(p.variance.item(), 0.3, rtol=1e-6)


@pytest.mark.parametrize("likelihood", [StudentT(5.0), Laplace()])
def test_draws_of_a_fitted_model_have_its_noise(likelihood):
    """By the default draw, the same for the same seed, and without moving torch's own stream."""
    model = quick(likelihood=likelihood).fit(X_WINE)
    before = torch.random.get_rng_state()
    X = model.sample(100_000, random_state=0)
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(X[:, 0], model.sample(100_000, random_state=0)[:, 0])
    noise = X - model.sample(100_000, random_state=0, noise=False)
    Z = np.random.RandomState(0)  # the variance of the noise, averaged over draws of z
    r = (1 + (Z.standard_normal((100_000, 2)) ** 2).mean(axis=1)) / 2
    expected = model.noise_variance_ * (r**model.noise_growth_).mean()
    np.testing.assert_allclose(noise.var(axis=0), expected, rtol=0.15)


@pytest.mark.parametrize("likelihood", [StudentT(4.0), Laplace(), Gaussian()])
def test_it_starts_at_the_linear_model(likelihood):
    """The score before training, by quadrature over z: that of W z + b with this noise."""
    model = quick(
        d=1, likelihood=likelihood, learning_rate_init=1e-12, max_iter=1, early_stopping=False
    ).fit(X_WINE)
    pca = PCA(1).fit(X_WINE)
    W = pca.components_[0] * np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    sigma = np.sqrt(pca.noise_variance_)
    noise = {
        "StudentT": stats.t(4, 0, sigma * np.sqrt(2 / 4)),
        "Laplace": stats.laplace(0, sigma / np.sqrt(2)),
        "Gaussian": stats.norm(0, sigma),
    }[type(likelihood).__name__]

    def exact(x):
        z = np.linspace(-9, 9, 4001)
        log_joint = noise.logpdf(x - z[:, None] * W - pca.mean_).sum(axis=1) + stats.norm.logpdf(z)
        top = log_joint.max()
        return top + np.log(integrate.simpson(np.exp(log_joint - top), x=z))

    expected = np.array([exact(x) for x in X_WINE])
    assert model.score(X_WINE) == pytest.approx(expected.mean(), abs=0.1)
    np.testing.assert_allclose(model.score_samples(X_WINE, n_draws=1024), expected, atol=0.5)


def test_heavy_tails_are_found_by_a_grid_search():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((600, 2)) @ rng.standard_normal((2, 6))
    X = X + 0.3 * rng.standard_t(3, size=X.shape)
    grid = {"likelihood": [StudentT(3.0), StudentT(100.0)]}
    search = GridSearchCV(quick(max_iter=20), grid, cv=2).fit(X)
    assert search.best_params_["likelihood"].df == 3
    nested = {"likelihood__df": [3.0, 100.0], "likelihood__noise_growth": [0.0]}
    search = GridSearchCV(quick(max_iter=20, likelihood=StudentT()), nested, cv=2).fit(X)
    assert search.best_params_ == {"likelihood__df": 3.0, "likelihood__noise_growth": 0.0}
    assert search.best_estimator_.likelihood.df == 3.0
    assert search.estimator.likelihood.df == 5.0


def test_its_noise_is_calibrated_and_public():
    """With rows held out the noise is raised, as it is for the Gaussian."""
    X = load_diabetes().data
    held_out = quick(likelihood=StudentT(), max_iter=30).fit(X)
    assert held_out.noise_variance_.shape == (X.shape[1],)
    assert held_out.noise_growth_ >= 0
    assert np.isfinite(held_out.noise_reach_)
    fixed = quick(likelihood=StudentT(noise_growth=0.0), max_iter=30).fit(X)
    assert (fixed.noise_growth_, fixed.noise_reach_) == (0, np.inf)


def test_it_gets_the_second_start():
    X = make_sine_sum(600, random_state=0)
    X = StandardScaler().fit_transform(X if isinstance(X, np.ndarray) else X[0])
    model = VAETransformer(2, likelihood=StudentT(30.0), random_state=0).fit(X)
    assert r2_score(X, model.inverse_transform(model.transform(X))) > 0.9


def test_a_likelihood_of_positive_numbers():
    X = np.random.RandomState(0).exponential([1.0, 5.0, 20.0], (200, 3))
    model = quick(likelihood=Exponential(), max_iter=60, learning_rate_init=1e-2).fit(X)
    independent = stats.expon(0, X.mean(axis=0)).logpdf(X).sum(axis=1).mean()
    assert model.score(X) > independent - 0.2
    assert (model.sample(20, random_state=0) > 0).all()
    with pytest.raises(ValueError, match=r"Exponential\(\).*positive numbers.*add a constant"):
        model.transform(-X)


# --- every part, in every situation ---------------------------------------------------------------


@own
@pytest.mark.parametrize("Estimator", [VAETransformer, RhoVAETransformer])
def test_fit_clone_pickle_stream(Estimator, params):
    model = quick(Estimator, **params).fit(X_WINE)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(X_WINE), model.score_samples(X_WINE))
    copy = clone(model).fit(X_WINE)
    np.testing.assert_array_equal(copy.transform(X_WINE), model.transform(X_WINE))
    stream = quick(Estimator, **params)
    for rows in np.array_split(X_WINE, 4):
        stream.partial_fit(rows)
    assert np.isfinite(stream.score(X_WINE))
    assert np.isfinite(model.sample(5, random_state=0)).all()


@own
def test_a_fit_takes_no_part_from_the_user(params):
    """The part given stays as it was made, and two models share nothing."""
    one, other = (quick(**params).fit(X_WINE) for _ in range(2))
    assert not set(one.net_.module_.parameters()) & set(other.net_.module_.parameters())
    part = params.get("likelihood")
    if part is not None:
        assert not list(part.parameters())


@pytest.mark.parametrize("name", ["posterior", "network"])
def test_it_starts_at_pca(name):
    params = {"learning_rate_init": 1e-12, "max_iter": 1, "early_stopping": False}
    model = quick(**OWN[name], **params).fit(X_WINE)
    assert model.score(X_WINE) == pytest.approx(PCA(2).fit(X_WINE).score(X_WINE), abs=0.1)


def test_an_objective_does_what_it_says():
    """The KL comes to the capacity."""
    params = {"max_iter": 150, "early_stopping": False}
    for capacity in (2.0, 4.0):
        model = quick(objective=Capacity(capacity, gamma=20.0), **params).fit(X_WINE)
        assert model.elbo(X_WINE, split=True).kl.mean() == pytest.approx(capacity, abs=0.3)


# --- words ----------------------------------------------------------------------------------------


def test_a_part_is_printed_as_it_was_made():
    assert repr(StudentT(4.0)) == "StudentT(df=4.0)"
    assert repr(ELBO()) == "ELBO()"
    assert "likelihood=StudentT(df=4.0)" in repr(VAETransformer(likelihood=StudentT(4.0)))


def test_an_unknown_parameter_is_told_what_is_known():
    with pytest.raises(ValueError, match=r"StudentT has no parameter 'nu'\. It has: df, noise_var"):
        VAETransformer(likelihood=StudentT()).set_params(likelihood__nu=3)


def test_parameters_of_a_part_that_was_named():
    """The object of that name takes its place."""
    model = VAETransformer().set_params(objective__beta=4.0, likelihood__noise_variance=0.5)
    assert repr(model.objective) == "ELBO(beta=4.0)"
    assert repr(model.likelihood) == "Gaussian(noise_variance=0.5)"
    model.set_params(likelihood="poisson")
    with pytest.raises(ValueError, match="Poisson has no parameter 'noise_variance'"):
        model.set_params(likelihood__noise_variance=1.0)


def test_another_part_cannot_go_on_training():
    model = quick(likelihood=StudentT(4.0), warm_start=True).fit(X_WINE)
    model.set_params(likelihood=StudentT(4.0)).fit(X_WINE)
    model.set_params(likelihood__df=9.0)
    with pytest.raises(ValueError, match="another likelihood"):
        model.fit(X_WINE)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"covariance_type": dict}, "subclass of sklearn_vae.posteriors.Posterior"),
        ({"covariance_type": Diagonal, "likelihood": StudentT}, "likelihood"),
        ({"objective": reconstruction}, "objective"),
    ],
)
def test_what_is_no_part_is_refused(params, words):
    with pytest.raises(ValueError, match=words):
        quick(**params).fit(X_WINE)
