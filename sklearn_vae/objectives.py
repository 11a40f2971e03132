r"""Objectives: what is to be maximised, one number per sample, in nats.

An objective is called with what came out of the module, (q, z, p), and the data x, and returns a
tensor of shape (n,): summed over features, summed over components, averaged over draws. The mean
over samples is taken once, at the very end, by whoever trains. Hence stacking a batch on itself
changes nothing.

    ELBO(x) = E_q[log p(x | z)] - beta KL(q(z | x) || p(z)) <= log p(x)     for beta = 1

with the expectation over the K draws z_1, ..., z_K in ``z`` and the KL in closed form. `beta` is
that of the beta-VAE (Higgins et al. 2017).

`importance_weighted` is the bound of Burda et al. (2016),

    log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x) <= log p(x),

the ELBO in mean at K = 1 and log p(x) as K grows.
"""

import math

import torch
from torch import Tensor, nn

from .module import VAEOutput


def reconstruction(output: VAEOutput, x: Tensor) -> Tensor:
    """E_q[log p(x | z)] over the draws, of shape (n,)."""
    return output.p.log_prob(x).sum(-1).mean(0)


def importance_weighted(output: VAEOutput, x: Tensor) -> Tensor:
    """The importance-weighted bound on log p(x) over the draws, of shape (n,)."""
    q, z, p = output
    d = z.shape[-1]
    log_prior = -0.5 * (z.square().sum(-1) + d * math.log(2 * math.pi))
    log_weights = p.log_prob(x).sum(-1) + log_prior - q.log_prob(z)
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


class ELBO(nn.Module):
    """The evidence lower bound, its KL multiplied by `beta`."""

    def __init__(self, beta: float = 1.0):
        super().__init__()
        self.beta = beta

    def forward(self, output: VAEOutput, x: Tensor) -> Tensor:
        """Nats per sample, of shape (n,)."""
        return reconstruction(output, x) - self.beta * output.q.kl()
