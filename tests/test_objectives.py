"""Objectives on hand-made output, and their invariances."""

from functools import partial

import pytest
import torch
from conftest import built

from sklearn_vae.likelihoods import LIKELIHOODS
from sklearn_vae.module import VAE, VAEOutput
from sklearn_vae.networks import MLP
from sklearn_vae.objectives import ELBO, importance_weighted, reconstruction
from sklearn_vae.posteriors import POSTERIORS

N, D, d = 6, 5, 3
everything = [
    pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS.keys()),
    pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS.keys()),
]


def in_all_families(test):
    for mark in everything:
        test = mark(test)
    return test


def make_vae(posterior, likelihood):
    module = VAE(D, d, posterior, partial(built, likelihood, D), encoder=MLP, decoder=MLP).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(
            parameter.shape, generator=generator, dtype=torch.float64
        )
    x = torch.rand(N, D, generator=generator, dtype=torch.float64).round()
    return module, x


def deviates(n_draws, n=N, seed=1):
    return torch.randn(
        n_draws, n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


@in_all_families
def test_stacking_a_batch_on_itself_changes_nothing(posterior, likelihood):
    module, x = make_vae(posterior, likelihood)
    eps = deviates(2)
    for objective in (ELBO(), ELBO(beta=3.0), importance_weighted):
        once = objective(module(x, eps), x)
        twice = objective(module(x.repeat(2, 1), eps.repeat(1, 2, 1)), x.repeat(2, 1))
        torch.testing.assert_close(twice, once.repeat(2))
        torch.testing.assert_close(twice.mean(), once.mean())


@in_all_families
def test_beta_multiplies_exactly_the_kl(posterior, likelihood):
    module, x = make_vae(posterior, likelihood)
    output = module(x, deviates(1))
    for beta in (0.0, 0.5, 4.0):
        torch.testing.assert_close(
            ELBO(beta)(output, x), reconstruction(output, x) - beta * output.q.kl()
        )


@in_all_families
def test_draws_are_averaged(posterior, likelihood):
    module, x = make_vae(posterior, likelihood)
    eps = deviates(4)
    single = torch.stack([ELBO()(module(x, eps[k : k + 1]), x) for k in range(4)])
    torch.testing.assert_close(ELBO()(module(x, eps), x), single.mean(0))


@in_all_families
def test_importance_weighting_is_a_bound_above_the_elbo_in_mean(posterior, likelihood):
    """At K = 1 it equals the ELBO in mean (5 standard errors of 4,000 draws); it grows with K."""
    module, x = make_vae(posterior, likelihood)
    x = x.repeat(4000, 1)  # each copy has deviates of its own
    with torch.no_grad():
        output, ten = module(x, deviates(1, len(x))), module(x, deviates(10, len(x), seed=2))
        elbo = ELBO()(output, x).reshape(4000, N)
        difference = importance_weighted(output, x).reshape(4000, N) - elbo
        assert (difference.mean(0).abs() < 5 * difference.std(0) / 4000**0.5 + 1e-12).all()
        assert importance_weighted(ten, x).mean() > elbo.mean()


def test_the_output_is_a_named_tuple():
    assert VAEOutput._fields == ("q", "z", "p", "prior")
