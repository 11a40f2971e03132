"""Objectives on hand-made output, and their invariances."""

from functools import partial

import numpy as np
import pytest
import torch
from helpers import built

from sklearn_vae.batch import Batch
from sklearn_vae.importance import log_likelihood
from sklearn_vae.likelihoods import LIKELIHOODS, Gaussian
from sklearn_vae.module import VAE, VAEOutput
from sklearn_vae.networks import MLP
from sklearn_vae.objectives import ELBO, importance_weighted, reconstruction
from sklearn_vae.posteriors import POSTERIORS
from sklearn_vae.selection.order import put_in_order

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


def test_what_is_given_with_each_row_goes_through_every_part():
    """A linear model of x given c: x = W z + B c + noise of variance 1, so N(B c, W W^T + I)."""
    module = VAE(D, d, POSTERIORS["diag"], partial(built, Gaussian, D), MLP, MLP, n_conditions=2)
    module = module.double()
    generator = torch.Generator().manual_seed(3)
    W, B, c = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((D, d), (D, 2), (N, 2))
    )
    with torch.no_grad():
        module.encoder.linear.weight.normal_(generator=generator)
        module.decoder.start_linear(torch.cat([W, B], 1), torch.zeros(D).double())
        module.likelihood.noise.set(torch.tensor(1.0))
    x = torch.randn(N, D, generator=generator, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(c @ B.T, W @ W.T + torch.eye(D).double())
    rows = Batch(x, condition=c)
    for _ in range(2):
        found = log_likelihood(module, rows, torch.randn(64, 1, d, generator=generator).double())
        torch.testing.assert_close(found.log_prob, exact.log_prob(x))
        seen = module.encode(rows).mean - module.encode(Batch(x, condition=0 * c)).mean
        assert seen.abs().min() > 0
        output = module(rows, deviates(1)[0])
        torch.testing.assert_close(output.p.mean, module.decode(output.z, c).mean)
        # In another order, the components still say the same of x given c.
        put_in_order(module, np.arange(d), -np.eye(d))
