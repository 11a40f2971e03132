"""Every family against the dense multivariate normal that it stands for."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from sklearn_vae.posteriors import NARROWEST, POSTERIORS, WIDEST, log_variance_from, number_for

DIMENSIONS = (1, 2, 5, 7, 33, 64)
families = pytest.mark.parametrize("family", POSTERIORS.values(), ids=POSTERIORS.keys())
dimensions = pytest.mark.parametrize("d", DIMENSIONS)


def random_numbers(family, d, n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(n, family.n_numbers(d), generator=generator, dtype=torch.float64)
    numbers[:, family.log_variances(d).stop :] *= 0.5  # tame what is off the diagonal
    return numbers


def random_posterior(family, d, n=3, seed=0):
    return family(random_numbers(family, d, n, seed), d)


def dense(q):
    """The same distribution, from the definition of its covariance."""
    n, d = q.mean.shape
    if hasattr(q, "factor"):
        return MultivariateNormal(q.mean, scale_tril=q.factor)
    variance = q.variance.expand(n, d)
    correlation = torch.eye(d, dtype=torch.float64).expand(n, d, d)
    if hasattr(q, "rho"):
        distance = (torch.arange(d)[:, None] - torch.arange(d)).abs()
        correlation = q.rho[:, :, None] ** distance
    scale = variance.sqrt()
    return MultivariateNormal(q.mean, scale[:, :, None] * correlation * scale[:, None, :])


@families
@dimensions
def test_kl_is_that_of_the_dense_normal(family, d):
    q = random_posterior(family, d)
    prior = MultivariateNormal(
        torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    )
    torch.testing.assert_close(q.kl(), kl_divergence(dense(q), prior), rtol=1e-9, atol=0)
    single = family(random_numbers(family, d).float(), d)
    torch.testing.assert_close(single.kl().double(), q.kl(), rtol=1e-5, atol=0)


@families
@dimensions
def test_kl_per_component_is_the_chain_rule(family, d):
    """KL_j = E KL(q(z_j | z_<j) || p(z_j)), from the dense factor."""
    q = random_posterior(family, d)
    factor = torch.linalg.cholesky(dense(q).covariance_matrix)
    conditional_mean_squared = q.mean**2 + (factor.tril(-1) ** 2).sum(-1)
    conditional_variance = factor.diagonal(dim1=-2, dim2=-1) ** 2
    expected = 0.5 * (
        conditional_mean_squared + conditional_variance - 1 - conditional_variance.log()
    )
    torch.testing.assert_close(q.kl_per_component(), expected)
    assert (q.kl_per_component() >= 0).all()


@families
@dimensions
def test_log_density_entropy_and_covariance_are_those_of_the_dense_normal(family, d):
    q, reference = random_posterior(family, d), dense(random_posterior(family, d))
    z = torch.randn(4, 3, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(z), reference.log_prob(z), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(q.entropy(), reference.entropy())
    torch.testing.assert_close(q.covariance(), reference.covariance_matrix)


@families
@dimensions
def test_whiten_inverts_color(family, d):
    q = random_posterior(family, d)
    eps = torch.randn(4, 3, d, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(q.whiten(q.color(eps)), eps)


@families
@dimensions
def test_covariance_of_draws(family, d):
    """200,000 draws: each entry of the sample covariance within 5 of its own standard errors."""
    n_draws = 200_000
    q = random_posterior(family, d, n=1)
    eps = torch.randn(
        n_draws, 1, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    z = q.rsample(eps)[:, 0].numpy()
    expected = dense(q).covariance_matrix[0].numpy()
    variance = np.diag(expected)
    standard_error = np.sqrt((np.outer(variance, variance) + expected**2) / n_draws)
    assert np.all(np.abs(np.cov(z.T).reshape(d, d) - expected) < 5 * standard_error)
    assert np.all(np.abs(z.mean(0) - q.mean[0].numpy()) < 5 * np.sqrt(variance / n_draws))


@families
@dimensions
@pytest.mark.parametrize("extreme", [-20.0, -1.0, 0.0, 1.0, 20.0])
def test_gradients_reach_every_number_and_are_finite(family, d, extreme):
    """Of a function of draws and KL, where every number that shapes L is `extreme`."""
    numbers = torch.full((2, family.n_numbers(d)), extreme)
    numbers[:, :d] = 0.5
    numbers.requires_grad_()
    q = family(numbers, d)
    eps = torch.randn(5, 2, d, generator=torch.Generator().manual_seed(4))
    loss = (q.rsample(eps) - 0.3).square().mean(0).sum(-1) + q.kl()
    assert torch.isfinite(loss).all()
    (gradient,) = torch.autograd.grad(loss.sum(), numbers)
    assert torch.isfinite(gradient).all()
    idle = "AR1" in family.__name__ and d == 1  # rho plays no part in one dimension
    reached = gradient[:, :-1] if idle else gradient
    if abs(extreme) == 1.0:
        assert (reached != 0).all()


def test_ar1_log_is_finite_where_one_minus_rho_squared_is_not():
    r = torch.tensor([-20.0, 20.0], dtype=torch.float64)
    numbers = torch.stack(
        [torch.zeros(2, dtype=torch.float64)] * 2 + [torch.zeros(2, dtype=torch.float64), r], 1
    )
    q = POSTERIORS["ar1"](numbers, 2)
    exact = 2 * math.log(2) - 2 * 20  # log(1 - tanh^2 20) to within exp(-40)
    torch.testing.assert_close(
        2 * q.log_innovation[:, 0], torch.full((2,), exact, dtype=torch.float64)
    )


@families
@dimensions
def test_closest_to_matches_the_spectrum(family, d):
    """The numbers it gives have the covariance it speaks of: exactly, where the family can."""
    eigenvalues = np.linspace(0.1, 0.9, d)[np.random.RandomState(0).permutation(d)]
    basis, numbers = family.closest_to(eigenvalues)
    np.testing.assert_allclose(basis @ basis.T, np.eye(d), atol=1e-10)
    q = family(torch.from_numpy(np.append(np.zeros(d), numbers))[None], d)
    target = basis @ np.diag(eigenvalues) @ basis.T
    exact = {"Spherical": d == 1, "AR1": d <= 2}.get(family.__name__, True)
    if exact:
        np.testing.assert_allclose(q.covariance()[0].numpy(), target, atol=1e-4)
    gap = kl_divergence(dense(q), MultivariateNormal(q.mean, torch.from_numpy(target)))
    same = MultivariateNormal(
        q.mean, torch.eye(d, dtype=torch.float64) * d / np.sum(1 / eigenvalues)
    )
    assert gap <= kl_divergence(same, MultivariateNormal(q.mean, torch.from_numpy(target))) + 1e-9


@families
@dimensions
def test_own_form_is_the_covariance(family, d):
    """What `own_form` says, put together by its definition, is L L^T."""
    q = random_posterior(family, d)
    own = q.own_form()
    if "factor" in own:
        covariance = own["factor"] @ own["factor"].mT
    else:
        scale = own["variance"].expand(3, d).sqrt()
        distance = (torch.arange(d)[:, None] - torch.arange(d)).abs()
        rho = own.get("rho", torch.zeros(3, 1, dtype=torch.float64))
        covariance = scale[:, :, None] * rho[:, :, None] ** distance * scale[:, None, :]
    torch.testing.assert_close(covariance, q.covariance())


def test_nested_families_agree():
    """scaled_ar1 holds diag at rho = 0 and ar1 at equal variances.

    And diag holds spherical; full holds diag.
    """
    d, n = 6, 4
    mu, v = torch.randn(2, n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    r, zero = v[:, :1], torch.zeros(n, 1, dtype=torch.float64)
    same = v[:, :1].expand(n, d)
    pairs = [
        (("scaled_ar1", [mu, v, zero]), ("diag", [mu, v])),
        (("scaled_ar1", [mu, same, r]), ("ar1", [mu, v[:, :1], r])),
        (("diag", [mu, same]), ("spherical", [mu, v[:, :1]])),
        (
            ("full", [mu, v, torch.zeros(n, d * (d - 1) // 2, dtype=torch.float64)]),
            ("diag", [mu, v]),
        ),
    ]
    for (wide, its), (narrow, theirs) in pairs:
        a, b = POSTERIORS[wide](torch.cat(its, 1), d), POSTERIORS[narrow](torch.cat(theirs, 1), d)
        torch.testing.assert_close(a.covariance(), b.covariance())
        torch.testing.assert_close(a.kl(), b.kl())


def test_bounds_of_log_variances():
    x = torch.tensor([-1e9, -7.0, 0.0, 3.0, 8.0, 1e9], dtype=torch.float64)
    assert log_variance_from(x).min() == NARROWEST
    assert log_variance_from(x).max() == WIDEST
    torch.testing.assert_close(log_variance_from(x[1:3]), x[1:3])
    torch.testing.assert_close(
        log_variance_from(x[3:5]), WIDEST * (1 - torch.exp(-x[3:5] / WIDEST))
    )
    torch.testing.assert_close(number_for(log_variance_from(x[1:5])), x[1:5])
