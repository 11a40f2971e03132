"""Every family with every other, and the density that they make against known answers."""

import warnings
from functools import cache, partial

import numpy as np
import pytest
import torch
from helpers import ESTIMATOR_OF
from scipy import stats
from scipy.linalg import subspace_angles
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, LRScheduler

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.likelihoods import LIKELIHOODS, Gaussian
from sklearn_vae.objectives import ELBO, IWAE, InfoVAE, fixed_deviates, importance_weighted
from sklearn_vae.posteriors import POSTERIORS

posteriors = pytest.mark.parametrize("posterior", POSTERIORS)
DIGITS = load_digits().data
COUNTS = np.random.RandomState(0).poisson(
    np.exp(np.random.RandomState(1).standard_normal((120, 2)) @ np.ones((2, 5)))
)
SCORES = np.random.RandomState(2).standard_normal((120, 2)) @ np.random.RandomState(
    3
).standard_normal((2, 5))
DATA = {
    "gaussian": SCORES + 0.3 * np.random.RandomState(4).standard_normal((120, 5)),
    "bernoulli": (SCORES > 0).astype(float),
    "continuous_bernoulli": 1 / (1 + np.exp(-2 * SCORES)),
    "poisson": COUNTS.astype(float),
    "negative_binomial": COUNTS.astype(float),
}
SETTINGS = [
    *(Gaussian(noise) for noise in ("per_feature", 0.1)),
    *LIKELIHOODS,
]
OBJECTIVES = [
    ELBO(n_draws=2),
    ELBO(n_draws=2, free_bits=0.1),
    ELBO(n_draws=2, kl_warmup=3),
    IWAE(n_draws=2),
    InfoVAE(n_draws=2),
]


def make(posterior, d=3, **params):
    quick = {
        "hidden_layer_sizes": (16,),
        "random_state": 0,
        "init": "random",
        "early_stopping": False,
    }
    return ESTIMATOR_OF[posterior](d, covariance_type=posterior, **{**quick, **params})


def test_every_posterior_has_an_estimator():
    assert set(ESTIMATOR_OF) == set(POSTERIORS)


class Gradients(Callback):
    """Sees whether every parameter gets a finite gradient, at every step."""

    reached = None

    def on_grad_computed(self, net, named_parameters, **kwargs):
        for name, parameter in named_parameters:
            assert torch.isfinite(parameter.grad).all(), name
            if (parameter.grad != 0).any():
                Gradients.reached.add(name)


@cache
def score_before_training(posterior, likelihood):
    before = make(posterior, likelihood=likelihood, max_iter=1, learning_rate_init=1e-12)
    X = DATA.get(likelihood, DATA["gaussian"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some are collapsed at their random start
        return before.fit(X).score(X)


@posteriors
@pytest.mark.parametrize("likelihood", SETTINGS, ids=str)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_every_family_trains(posterior, likelihood, objective):
    """A finite loss, a finite gradient for every parameter, and improvement over 10 epochs."""
    Gradients.reached = set()
    params = {"likelihood": likelihood, "objective": objective, "batch_size": 20}
    model = make(posterior, max_iter=10, **params)
    model.set_params(net_params={"callbacks": [Gradients()]})
    X = DATA.get(likelihood, DATA["gaussian"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(X)
    assert np.isfinite(model.loss_curve_).all()
    assert Gradients.reached == {name for name, _ in model.net_.module_.named_parameters()}
    assert model.score(X) > score_before_training(posterior, likelihood)


# --- the bound against closed forms ---------------------------------------------------------------


def exact_log_density(model, X):
    """Of a linear model, by SciPy."""
    linear = model.net_.module_.decoder.linear
    W, b = (t.detach().double().numpy() for t in (linear.weight, linear.bias))
    psi = model.noise_variance_ / model.scale_**2
    density = stats.multivariate_normal(b, W @ W.T + np.diag(psi))
    return density.logpdf((X - model.mean_) / model.scale_) - np.log(model.scale_).sum()


@posteriors
@pytest.mark.parametrize("noise", ["shared", "per_feature"])
def test_score_samples_converges_to_the_exact_log_density(posterior, noise):
    """A linear-Gaussian model of known parameters, under a posterior made wrong on purpose."""
    X, d = load_wine().data, 4
    model = make(
        posterior,
        d,
        hidden_layer_sizes=(),
        init="auto",
        likelihood=Gaussian(noise),
        max_iter=1,
        learning_rate_init=1e-9,
    )
    model.fit(X)
    module = model.net_.module_
    with torch.no_grad():
        module.encoder.linear.bias[:d] += 0.1
        module.encoder.linear.bias[module.posterior.log_variances(d)] += 0.3
    exact = exact_log_density(model, X)
    for k in (1, 64):
        estimate = model.score_samples(X, n_draws=k, diagnostics=True)
        np.testing.assert_allclose(estimate.log_prob, exact, atol=1e-5)
        np.testing.assert_allclose(estimate.effective_draws, k, rtol=1e-6)
    x = torch.from_numpy((X - model.mean_) / model.scale_)
    with torch.no_grad():
        bounds = {
            k: importance_weighted(module.double()(x, fixed_deviates(k, d)), x)
            for k in (16, 256, 4096)
        }
    errors = {
        k: np.abs(bound.numpy() - model.net_.log_scale - exact).mean()
        for k, bound in bounds.items()
    }
    assert errors[4096] < 0.03
    assert errors[4096] < errors[256] < errors[16]
    module.float()
    assert model.elbo(X, n_draws=4096).mean() < exact.mean() - 0.05


@posteriors
@pytest.mark.parametrize("noise", ["shared", "per_feature"])
@pytest.mark.parametrize("d", [2, 5, 10])
def test_score_is_exact_on_linear_models(posterior, noise, d):
    """After training, whatever the posterior has become.

    On vehicles' stand-in of strongly correlated columns.
    """
    X = StandardScaler().fit_transform(load_breast_cancer().data[:, :12])
    model = make(
        posterior, d, hidden_layer_sizes=(), init="auto", likelihood=Gaussian(noise), max_iter=15
    ).fit(X)
    exact = exact_log_density(model, X)
    np.testing.assert_allclose(model.score_samples(X), exact, atol=1e-3)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("posterior", ["spherical", "diag", "ar1"])
def test_score_of_nonlinear_models_is_near_that_of_many_draws(posterior, likelihood):
    """And nearer than the same number of draws of the encoder's posterior."""
    X = DATA.get(likelihood, DATA["gaussian"])
    model = make(posterior, 2, init="auto", max_iter=40, likelihood=likelihood).fit(X)
    X = X[:50]
    many = model.score_samples(X, n_draws=4096)
    estimate = model.score_samples(X, diagnostics=True)
    assert abs((estimate.log_prob - many).mean()) < 0.05
    assert np.abs(estimate.log_prob - many).max() < 0.5
    assert ((estimate.effective_draws > 1) & (estimate.effective_draws <= 12 * 64 + 1e-6)).all()
    x = torch.from_numpy((X - model.mean_) / model.scale_)
    with torch.no_grad():
        of_q = importance_weighted(model.net_.module_.double()(x, fixed_deviates(64, 2)), x).numpy()
    of_q = of_q - model.net_.log_scale
    assert np.abs(estimate.log_prob - many).mean() < np.abs(of_q - many).mean() + 0.01


class Radial(torch.nn.Module):
    """torch has no second derivatives of distances that it finds one by one."""

    def __init__(self, n_in, n_out, how):
        super().__init__()
        self.centres = torch.nn.Parameter(torch.randn(8, n_in))
        self.layer, self.how = torch.nn.Linear(8, n_out), how

    def forward(self, x):
        return self.layer(torch.exp(-torch.cdist(x, self.centres, compute_mode=self.how)))


@pytest.mark.parametrize(
    "how",
    ["donot_use_mm_for_euclid_dist", "use_mm_for_euclid_dist_if_necessary"],
    ids=["for no row", "for many rows alone"],
)
def test_networks_without_second_derivatives_are_scored_by_the_encoders_posterior(how):
    X, radial = DATA["gaussian"], partial(Radial, how=how)
    model = make("diag", 2, encoder=radial, decoder=radial, max_iter=2).fit(X)
    x = torch.from_numpy((X - model.mean_) / model.scale_)
    with torch.no_grad():
        expected = importance_weighted(
            model.net_.module_in(torch.float64)(x, fixed_deviates(64, 2)), x
        ).numpy()
    np.testing.assert_allclose(model.score_samples(X), expected - model.net_.log_scale)


def test_a_score_that_is_not_to_be_trusted_says_so():
    """Noise so small that a curve of two components is a thread, and a few draws miss it."""
    rng = np.random.RandomState(0)
    t = rng.uniform(-3, 3, 200)
    X = np.column_stack(
        [np.sin(3 * t), np.cos(5 * t), t**3, np.abs(t)]
    ) + 1e-3 * rng.standard_normal((200, 4))
    model = make("diag", 2, likelihood=Gaussian(1e-7), max_iter=100, learning_rate_init=1e-2).fit(X)
    with pytest.warns(UserWarning, match="rests on fewer than 5 effective draws"):
        estimate = model.score_samples(10 * X, diagnostics=True)
    assert (estimate.effective_draws < 5).any()
    assert set(estimate) == {"log_prob", "effective_draws"}


def trained_at_random(posterior, d, noise, X):
    """A linear autoencoder from random weights to convergence.

    Training finds the answer, not the start.
    """
    schedule = LRScheduler(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=1500)
    params = {
        "hidden_layer_sizes": (),
        "learning_rate_init": 0.04,
        "batch_size": 1000,
        "objective": ELBO(n_draws=4),
        "max_iter": 1500,
    }
    model = make(posterior, d, likelihood=Gaussian(noise), n_iter_no_change=1500, **params)
    return model.set_params(net_params={"callbacks": [schedule]}).fit(X)


@pytest.mark.parametrize("posterior", ["diag", "full", "scaled_ar1"])
@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
def test_linear_vae_is_probabilistic_pca(posterior, load):
    X = StandardScaler().fit_transform(load().data)
    model, pca = trained_at_random(posterior, 2, "shared", X), PCA(2).fit(X)
    assert model.score(X) == pytest.approx(pca.score(X), abs=0.05)
    loadings = model.net_.module_.decoder.linear.weight.detach().numpy()
    assert np.degrees(subspace_angles(loadings, pca.components_.T)[0]) < 2


@pytest.mark.parametrize("posterior", ["diag", "full"])
def test_linear_vae_with_noise_per_feature_is_factor_analysis(posterior):
    X = StandardScaler().fit_transform(load_wine().data)
    reference = FactorAnalysis(2, tol=1e-8, max_iter=20_000, svd_method="lapack").fit(X)
    assert trained_at_random(posterior, 2, "per_feature", X).score(X) == pytest.approx(
        reference.score(X), abs=0.05
    )


# --- identities -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["diag", "ar1"])
def digits(request):
    return make(request.param, 8, init="auto", hidden_layer_sizes=(64,), max_iter=30).fit(
        DIGITS[:1200]
    )


def outputs(model, n_draws, n_repeats, X):
    varies = model.scale_ > 0
    x = torch.from_numpy((X - model.mean_)[:, varies] / model.scale_[varies])
    module = model.net_.module_.double()
    generator = torch.Generator().manual_seed(0)
    d = model.n_components
    with torch.no_grad():
        for _ in range(n_repeats):
            yield (
                module(
                    x, torch.randn(n_draws, len(x), d, generator=generator, dtype=torch.float64)
                ),
                x,
            )


def test_more_draws_tighten_the_bound_on_held_out_digits(digits):
    held_out = DIGITS[1200:]
    elbo = digits.elbo(held_out, n_draws=512).mean()
    iwae = [
        np.mean([IWAE()(*o).mean().item() for o in outputs(digits, k, 20, held_out)])
        for k in (1, 5, 50)
    ]
    single = [IWAE()(*o).mean().item() for o in outputs(digits, 1, 200, held_out)]
    exact = digits.elbo(held_out, n_draws=4096).mean() + digits.net_.log_scale
    assert np.mean(single) == pytest.approx(exact, abs=5 * np.std(single) / 200**0.5 + 0.01)
    assert elbo + digits.net_.log_scale <= iwae[1] <= iwae[2]


def test_infovae_and_free_bits_have_the_elbo_as_a_limit(digits):
    elbo = ELBO()
    for output, x in outputs(digits, 2, 1, DIGITS[:50]):
        expected = elbo(output, x)
        torch.testing.assert_close(
            InfoVAE(alpha=0.0, lambda_=1.0)(output, x), expected, rtol=0, atol=0
        )
        torch.testing.assert_close(ELBO(free_bits=0.0)(output, x), expected, rtol=0, atol=0)
        torch.testing.assert_close(ELBO(free_bits=1e-12)(output, x), expected)
        wide = ELBO(free_bits=3.0)
        floor = torch.clamp(output.q.kl_per_component().mean(0), min=3.0).sum()
        assert wide.kl(output).mean().item() == pytest.approx(floor.item())


def test_mmd_is_that_of_its_definition_and_vanishes_for_the_prior():
    d, z = (
        3,
        torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        + 0.5,
    )
    prior, flat = fixed_deviates(InfoVAE.N_PRIOR, d)[:, 0], z.reshape(-1, d)

    def mean_kernel(a, b):
        return (2 * d / (2 * d + torch.cdist(a, b).square())).mean()

    expected = mean_kernel(flat, flat) - 2 * mean_kernel(flat, prior) + mean_kernel(prior, prior)
    share = InfoVAE().mmd(z)
    assert share.mean().item() == pytest.approx(expected.item())
    assert InfoVAE().mmd(z.repeat(1, 2, 1)).mean().item() == pytest.approx(expected.item())
    assert abs(InfoVAE().mmd(prior[None]).mean().item()) < 1e-12
    assert share.mean() > 0.01


def test_warm_up_weighs_the_kl_in_training_alone():
    objective = ELBO(beta=2.0)
    objective.warmup = 0.25
    assert objective.train().kl_weight == 0.5
    assert objective.eval().kl_weight == 2.0


def test_warm_up_grows_linearly_and_early_stopping_waits_for_it():
    class Record(Callback):
        weights = []

        def on_epoch_begin(self, net, **kwargs):
            self.weights.append(net.criterion_.warmup)

    model = make(
        "diag",
        objective=ELBO(kl_warmup=4),
        max_iter=50,
        n_iter_no_change=1,
        tol=1e9,
        net_params={"callbacks": [Record]},
    )
    model.fit(DATA["gaussian"])
    assert Record.weights == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert model.n_iter_ == 5


# --- density, in the face -------------------------------------------------------------------------


@posteriors
def test_split_of_the_bound(posterior):
    model = make(posterior, max_iter=5).fit(DATA["gaussian"])
    terms = model.elbo(DATA["gaussian"], split=True)
    np.testing.assert_allclose(terms.reconstruction - terms.kl, terms.bound)
    np.testing.assert_allclose(terms.kl_per_component.sum(1), terms.kl)
    np.testing.assert_array_equal(terms.bound, model.elbo(DATA["gaussian"]))
    assert terms.kl_per_component.shape == (120, 3)


@posteriors
def test_the_posterior_in_its_own_form(posterior):
    model = make(posterior, max_iter=5).fit(DATA["gaussian"])
    mean, dense = model.posterior(DATA["gaussian"])
    same, own = model.posterior(DATA["gaussian"], form="own")
    np.testing.assert_array_equal(mean, same)
    if "factor" in own:
        np.testing.assert_allclose(own["factor"] @ own["factor"].transpose(0, 2, 1), dense)
    else:
        np.testing.assert_allclose(
            np.broadcast_to(own["variance"], (120, 3)), np.einsum("nii->ni", dense)
        )
    with pytest.raises(ValueError, match="'dense' or 'own'"):
        model.posterior(DATA["gaussian"], form="sparse")


@pytest.mark.parametrize("Estimator", [VAETransformer, RhoVAETransformer])
def test_dtypes_agree(Estimator):
    model = Estimator(3, hidden_layer_sizes=(16,), max_iter=5, random_state=0).fit(DATA["gaussian"])
    single = model.score(DATA["gaussian"].astype(np.float32))
    assert single == pytest.approx(
        model.score(DATA["gaussian"].astype(np.float32).astype(float)), abs=1e-4
    )


def test_counts_beyond_the_poisson():
    """Negative-binomial counts of known means and dispersions.

    The score is near the truth, and above the Poisson.
    """
    rng = np.random.RandomState(0)
    Z = rng.standard_normal((2000, 2))
    mean = np.exp(1.5 + 0.5 * Z @ rng.standard_normal((2, 8)))
    alpha = np.linspace(0.2, 1.0, 8)
    X = rng.poisson(rng.gamma(1 / alpha, alpha * mean)).astype(float)
    train, test = slice(0, 1000), slice(1000, None)
    scores = {
        name: VAETransformer(2, likelihood=name, random_state=0, max_iter=80)
        .fit(X[train])
        .score(X[test])
        for name in ("poisson", "negative_binomial")
    }
    deviates = fixed_deviates(4096, 2)[:, 0].numpy()
    rng = np.random.RandomState(0)
    rng.standard_normal((2000, 2))
    means = np.exp(
        1.5 + 0.5 * deviates @ rng.standard_normal((2, 8))
    )  # the integral over z, by the same points
    log_prob = stats.nbinom.logpmf(X[test, None], 1 / alpha, 1 / (1 + alpha * means)).sum(-1)
    truth = (np.logaddexp.reduce(log_prob, axis=1) - np.log(4096)).mean()
    assert scores["negative_binomial"] > scores["poisson"]
    assert scores["negative_binomial"] > truth - 0.05 * abs(truth)
    assert scores["negative_binomial"] < truth + 0.05 * abs(truth)


# --- collapse -------------------------------------------------------------------------------------


@pytest.mark.parametrize("posterior", ["diag", "ar1"])
def test_collapse_is_told_and_health_is_not(posterior):
    X, d = DIGITS[:600], 4
    with pytest.warns(
        UserWarning, match="Only 0 of 4 components .* an objective with a lower beta"
    ):
        collapsed = make(
            posterior,
            d,
            objective=ELBO(beta=50.0),
            max_iter=150,
            learning_rate_init=1e-2,
            init="auto",
        ).fit(X)
    assert collapsed.n_active_components_ == 0
    assert collapsed.kl_per_component_.max() < 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        healthy = make(posterior, d, init="auto", max_iter=50).fit(X)
    assert healthy.n_active_components_ == d
    assert sorted(healthy.active_components_) == list(range(d))
    kl = healthy.kl_per_component_
    assert (np.diff(kl[healthy.active_components_]) <= 0).all()
    np.testing.assert_allclose(kl, healthy.elbo(X, split=True).kl_per_component.mean(0))


def test_a_plain_autoencoder():
    """beta = 0 with a fixed noise: the code becomes all but deterministic."""
    model = VAETransformer(
        2, objective=ELBO(beta=0.0), likelihood=Gaussian(0.5), max_iter=200, random_state=0
    ).fit(DATA["gaussian"])
    healthy = VAETransformer(2, likelihood=Gaussian(0.5), max_iter=200, random_state=0).fit(
        DATA["gaussian"]
    )
    _, plain = model.posterior(DATA["gaussian"], form="own")
    _, usual = healthy.posterior(DATA["gaussian"], form="own")
    assert np.median(plain["variance"]) < 0.3 * np.median(usual["variance"])
