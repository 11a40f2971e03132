"""Every likelihood: its log-probability against SciPy, its mean and draws against each other."""

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_vae.likelihoods import LIKELIHOODS, NOISE_SHAPES, Bernoulli, Gaussian

likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS.keys())


@pytest.mark.parametrize("variance", [1e-6, 0.3, 1e4])
@pytest.mark.parametrize("noise", [*NOISE_SHAPES, "fixed"])
def test_gaussian_log_prob(noise, variance):
    fixed = torch.full((3,), variance)
    likelihood = Gaussian(3, fixed if noise == "fixed" else noise)
    likelihood.start_noise(fixed)
    mean, x = torch.linspace(-1, 1, 15).reshape(5, 3), torch.linspace(2, -3, 15).reshape(5, 3)
    expected = stats.norm.logpdf(x, mean, np.sqrt(variance))
    np.testing.assert_allclose(likelihood(mean).log_prob(x).detach(), expected, rtol=1e-4)


@pytest.mark.parametrize("noise", [*NOISE_SHAPES, "fixed"])
def test_only_fixed_noise_is_not_learned(noise):
    likelihood = Gaussian(3, torch.tensor([1.0, 2.0, 3.0]) if noise == "fixed" else noise)
    assert bool(list(likelihood.parameters())) == (noise != "fixed")
    if noise == "fixed":
        torch.testing.assert_close(likelihood.noise_variance, torch.tensor([1.0, 2.0, 3.0]))


def test_bernoulli_log_prob():
    logit = torch.tensor([-30.0, -2.0, 0.0, 2.0, 30.0], dtype=torch.float64)
    p = Bernoulli(5)(logit)
    for x in (0.0, 1.0):
        expected = stats.logistic.logcdf(logit.numpy() if x else -logit.numpy())
        np.testing.assert_allclose(
            p.log_prob(torch.full((5,), x, dtype=torch.float64)), expected, rtol=1e-9, atol=1e-12
        )
    probability = stats.logistic.cdf(logit.numpy())
    cross_entropy = 0.3 * np.log(probability) + 0.7 * stats.logistic.logcdf(-logit.numpy())
    np.testing.assert_allclose(p.log_prob(torch.full((5,), 0.3, dtype=torch.float64)), cross_entropy)


@likelihoods
def test_draws_have_the_mean_and_variance_they_should(likelihood):
    """100,000 draws, within 5 standard errors."""
    n_draws, n_features = 100_000, 4
    numbers = torch.linspace(-1.5, 1.5, n_features, dtype=torch.float64).expand(n_draws, -1)
    family = likelihood(n_features).double()
    with torch.no_grad():
        p = family(numbers)
        draws = family.draw(p, np.random.RandomState(0))
        mean, variance = p.mean[0].numpy(), p.variance.expand(n_draws, -1)[0].numpy()
    assert draws.shape == (n_draws, n_features)
    assert np.all(family.supports(draws))
    assert np.all(np.abs(draws.mean(0) - mean) < 5 * np.sqrt(variance / n_draws))
    fourth = ((draws - mean) ** 4).mean(0)
    assert np.all(
        np.abs(((draws - mean) ** 2).mean(0) - variance) <= 5 * np.sqrt((fourth - variance**2).clip(0) / n_draws) + 1e-3
    )


def test_bernoulli_support():
    X = np.array([[0.0, 0.5, 1.0], [-0.1, 1.1, 2.0]])
    np.testing.assert_array_equal(Bernoulli.supports(X), [[True] * 3, [False] * 3])
