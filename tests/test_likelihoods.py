"""Every likelihood: its log-probability against SciPy, its mean and draws against each other."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from helpers import built
from scipy import stats

from sklearn_vae.likelihoods import (
    LIKELIHOODS,
    LOG_LIMIT,
    Bernoulli,
    ContinuousBernoulli,
    Gaussian,
    HeteroscedasticGaussian,
    NegativeBinomial,
    Poisson,
)
from sklearn_vae.objectives import log_prob_of_rows

likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS.keys())


def gaussian(n_features, variance, noise, growth=0.0):
    """With a variance (n_features,) that is learned or fixed."""
    if noise == "fixed":
        return Gaussian(1.0, growth).build(1 / np.sqrt(variance.numpy()))
    likelihood = built(partial(Gaussian, noise, growth), n_features)
    likelihood.noise.set(variance)
    return likelihood


@pytest.mark.parametrize("variance", [1e-6, 0.3, 1e4])
@pytest.mark.parametrize("noise", ["shared", "per_feature", "fixed"])
def test_gaussian_log_prob(noise, variance):
    fixed = torch.full((3,), variance)
    likelihood = gaussian(3, fixed, noise)
    mean, x = torch.linspace(-1, 1, 15).reshape(5, 3), torch.linspace(2, -3, 15).reshape(5, 3)
    expected = stats.norm.logpdf(x, mean, np.sqrt(variance)).sum(-1)
    np.testing.assert_allclose(log_prob_of_rows(likelihood(mean), x).detach(), expected, rtol=1e-4)


@pytest.mark.parametrize("growth", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("noise", ["shared", "per_feature", "fixed"])
@pytest.mark.parametrize("n_features", [1, 3])
def test_noise_that_grows_with_the_distance(noise, growth, n_features):
    """sigma^2 ((1 + |z|^2 / d) / 2)^g, in the log-probability, the variance and the draws."""
    variance = torch.tensor([0.3, 1e-2, 20.0], dtype=torch.float64)[:n_features]
    likelihood = gaussian(n_features, variance, noise, growth).double()
    rng = np.random.RandomState(0)
    z, mean, x = (
        torch.from_numpy(rng.standard_normal(shape))
        for shape in ((2, 5, 4), (2, 5, n_features), (5, 1))
    )
    z *= torch.logspace(-1, 3, 5)[:, None]
    with torch.no_grad():
        p, sigma2 = likelihood(mean, z), likelihood.noise.variance
    expected = sigma2.detach() * ((1 + z.square().sum(-1, keepdim=True) / 4) / 2) ** growth
    torch.testing.assert_close(p.variance, expected.expand_as(mean))
    np.testing.assert_allclose(
        log_prob_of_rows(p, x), stats.norm.logpdf(x, mean, expected.sqrt()).sum(-1), rtol=1e-9
    )
    deviates = (
        likelihood.draw(p, np.random.RandomState(1)) - mean.numpy()
    ) / expected.sqrt().numpy()
    np.testing.assert_allclose(deviates, np.random.RandomState(1).standard_normal(mean.shape))


@pytest.mark.parametrize("noise", ["shared", "per_feature", "fixed"])
def test_only_fixed_noise_is_not_learned(noise):
    likelihood = gaussian(3, torch.tensor([1.0, 2.0, 3.0]), noise)
    assert bool(list(likelihood.parameters())) == (noise != "fixed")
    if noise == "fixed":
        torch.testing.assert_close(likelihood.noise.variance, torch.tensor([1.0, 2.0, 3.0]))


def test_bernoulli_log_prob():
    logit = torch.tensor([-30.0, -2.0, 0.0, 2.0, 30.0], dtype=torch.float64)
    p = built(Bernoulli, 1)(logit[:, None])
    for x in (0.0, 1.0):
        expected = stats.logistic.logcdf(logit.numpy() if x else -logit.numpy())
        np.testing.assert_allclose(
            log_prob_of_rows(p, torch.full((5, 1), x, dtype=torch.float64)),
            expected,
            rtol=1e-9,
            atol=1e-12,
        )
    probability = stats.logistic.cdf(logit.numpy())
    cross_entropy = 0.3 * np.log(probability) + 0.7 * stats.logistic.logcdf(-logit.numpy())
    np.testing.assert_allclose(
        log_prob_of_rows(p, torch.full((5, 1), 0.3, dtype=torch.float64)), cross_entropy
    )


def test_heteroscedastic_log_prob():
    likelihood = built(HeteroscedasticGaussian, 2).double()
    mean, log_variance = torch.tensor([[0.5, -1.0]]).double(), torch.tensor([[-3.0, 2.0]]).double()
    x = torch.tensor([[0.0, 4.0]]).double()
    p = likelihood(torch.cat([mean, log_variance], -1))
    variance = 1e-3 + np.exp(LOG_LIMIT * np.tanh(log_variance.numpy() / LOG_LIMIT))
    expected = stats.norm.logpdf(x, mean, np.sqrt(variance))
    np.testing.assert_allclose(p.log_prob(x), expected)
    np.testing.assert_allclose(log_prob_of_rows(p, x), expected.sum(-1))
    lowest = likelihood(torch.full((1, 4), -1e9, dtype=torch.float64))
    np.testing.assert_allclose(lowest.variance, 1e-3, rtol=1e-4)


LAMBDAS = [1e-6, 1e-3, 0.2, 0.45, 0.499, 0.5, 0.5001, 0.53, 0.9, 1 - 1e-6]


def exponential_on_the_unit_interval(eta):
    """The same density by SciPy: a truncated exponential, mirrored where the logit is positive."""
    return stats.truncexpon(b=abs(eta), scale=1 / abs(eta))


@pytest.mark.parametrize("probability", LAMBDAS)
def test_continuous_bernoulli_log_prob_and_mean(probability):
    eta = float(np.log(probability) - np.log1p(-probability))
    x = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    p = built(ContinuousBernoulli, 1)(torch.full((11, 1), eta, dtype=torch.float64))
    if probability == 0.5:
        expected, mean, variance = np.zeros(11), 0.5, 1 / 12
    else:
        reference = exponential_on_the_unit_interval(eta)
        expected = reference.logpdf(x.numpy() if eta < 0 else 1 - x.numpy())[:, 0]
        mean = reference.mean() if eta < 0 else 1 - reference.mean()
        variance = reference.var()
    np.testing.assert_allclose(log_prob_of_rows(p, x), expected, rtol=1e-9, atol=1e-9)
    if abs(eta) > 0.1 or probability == 0.5:  # nearer to 1/2 SciPy's own moments cancel
        np.testing.assert_allclose(p.mean, mean, rtol=1e-6)
        np.testing.assert_allclose(p.variance, variance, rtol=1e-5)
    single = built(ContinuousBernoulli, 1)(torch.full((11, 1), eta))
    np.testing.assert_allclose(log_prob_of_rows(single, x.float()), expected, rtol=1e-5, atol=1e-5)


def test_continuous_bernoulli_is_smooth_where_its_series_ends():
    """Across the seam the function continues, and so do its gradient and mean.

    No gradient is ever NaN.
    """
    eta = torch.linspace(-0.4, 0.4, 2001, dtype=torch.float64, requires_grad=True)
    p = built(ContinuousBernoulli, 1)(eta[:, None])
    for values in (
        p.log_prob(torch.tensor([0.3], dtype=torch.float64))[:, 0],
        p.mean[:, 0],
        p.variance[:, 0],
    ):
        assert values.diff().diff().abs().max() < 1e-6
        (gradient,) = torch.autograd.grad(values.sum(), eta, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert gradient.diff().abs().max() < 1e-3
    far = torch.tensor([-500.0, 0.0, 500.0], requires_grad=True)
    built(ContinuousBernoulli, 1)(far[:, None]).log_prob(torch.tensor([0.5])).sum().backward()
    assert torch.isfinite(far.grad).all()


@pytest.mark.parametrize("rate", [1e-6, 0.5, 3.0, 1e3, 1e6])
def test_poisson_log_prob(rate):
    log_rate = LOG_LIMIT * np.arctanh(np.log(rate) / LOG_LIMIT)
    x = np.unique(stats.poisson.ppf([1e-9, 0.1, 0.5, 0.9, 1 - 1e-9], rate))
    p = built(Poisson, 1)(torch.full((len(x), 1), log_rate, dtype=torch.float64))
    np.testing.assert_allclose(
        log_prob_of_rows(p, torch.from_numpy(x)[:, None]),
        stats.poisson.logpmf(x, rate),
        rtol=1e-7,
        atol=1e-9,
    )


@pytest.mark.parametrize("dispersion", [1e-4, 1e-2, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("mean", [1e-3, 1.0, 50.0, 1e4])
def test_negative_binomial_log_prob(mean, dispersion):
    likelihood = built(NegativeBinomial, 1).double()
    with torch.no_grad():
        likelihood.log_dispersion.fill_(LOG_LIMIT * np.arctanh(np.log(dispersion) / LOG_LIMIT))
    reference = stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))
    x = np.array([0.0, 1.0, 7.0, 100.0, 12345.0])
    p = likelihood(
        torch.full(
            (len(x), 1), LOG_LIMIT * np.arctanh(np.log(mean) / LOG_LIMIT), dtype=torch.float64
        )
    )
    np.testing.assert_allclose(
        log_prob_of_rows(p, torch.from_numpy(x)[:, None]).detach(),
        reference.logpmf(x),
        rtol=1e-6,
        atol=1e-7,
    )
    np.testing.assert_allclose(p.mean.detach(), mean)
    np.testing.assert_allclose(p.variance.detach(), mean + dispersion * mean**2)


@likelihoods
def test_draws_have_the_mean_and_variance_they_should(likelihood):
    """100,000 draws, within 5 standard errors."""
    n_draws, n_features = 100_000, 4
    family = built(likelihood, n_features).double()
    numbers = torch.linspace(-1.5, 1.5, family.n_numbers, dtype=torch.float64).expand(n_draws, -1)
    with torch.no_grad():
        p = family(numbers)
        draws = family.draw(p, np.random.RandomState(0))
        mean, variance = p.mean[0].numpy(), p.variance.expand(n_draws, -1)[0].numpy()
    assert draws.shape == (n_draws, n_features)
    assert np.all(family.supports(draws))
    assert np.all(np.abs(draws.mean(0) - mean) < 5 * np.sqrt(variance / n_draws))
    fourth = ((draws - mean) ** 4).mean(0)
    error = np.abs(((draws - mean) ** 2).mean(0) - variance)
    assert np.all(error <= 5 * np.sqrt((fourth - variance**2).clip(0) / n_draws) + 1e-3 * variance)


@likelihoods
def test_rows_are_sums_over_entries(likelihood):
    family = built(likelihood, 4).double()
    rng = torch.Generator().manual_seed(0)
    numbers = torch.randn(3, 5, family.n_numbers, generator=rng, dtype=torch.float64)
    x = torch.randint(2, (5, 4), generator=rng).double()
    with torch.no_grad():
        p = family(numbers, torch.zeros(3, 5, 2, dtype=torch.float64))
        assert p.log_prob(x).shape == (3, 5, 4)
        torch.testing.assert_close(log_prob_of_rows(p, x), p.log_prob(x).sum(-1))


@likelihoods
def test_second_derivatives_give_no_warning(likelihood):
    """torch warns of outputs that it resizes; the curvature of no row should make it do so."""
    family = built(likelihood, 3).double()
    number = torch.zeros(7).double().requires_grad_()
    x = torch.tensor([[0.0, 1.0, 1.0]]).double().expand(7, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        p = family(number[:, None].expand(-1, family.n_numbers), torch.zeros(7, 2).double())
        (slope,) = torch.autograd.grad(log_prob_of_rows(p, x).sum(), number, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), number)
    assert torch.isfinite(curvature).all()


@likelihoods
def test_supports_say_which_values_have_a_probability(likelihood):
    """Where `supports` says yes the log-probability is finite.

    Everyday values outside are refused.
    """
    X = np.array([0.0, 0.5, 1.0, 3.0, -1.0, 2.5])[:, None]
    expected = {
        "Bernoulli": [1, 1, 1, 0, 0, 0],
        "ContinuousBernoulli": [1, 1, 1, 0, 0, 0],
        "Poisson": [1, 0, 1, 1, 0, 0],
        "NegativeBinomial": [1, 0, 1, 1, 0, 0],
    }.get(likelihood.__name__, [1] * 6)
    family = built(likelihood, 1).double()
    np.testing.assert_array_equal(family.supports(X)[:, 0], np.array(expected, dtype=bool))
    p = family(torch.zeros(6, family.n_numbers, dtype=torch.float64))
    log_prob = p.log_prob(torch.from_numpy(X)).detach()[:, 0]
    assert torch.isfinite(log_prob)[family.supports(X)[:, 0]].all()
    if not family.supports(X).all():
        assert likelihood.remedy
        assert likelihood.support


def test_the_encoder_sees_the_logarithm_of_counts():
    x = torch.tensor([[0.0, 1.0, 1e6]])
    for family in (Poisson, NegativeBinomial):
        torch.testing.assert_close(built(family, 3).encode(x), torch.log1p(x))
