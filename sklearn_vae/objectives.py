r"""Objectives: what is to be maximised, one number per sample, in nats.

An objective is called with what came out of the module, (q, z, p), and the data x, and returns a
tensor of shape (n,): summed over features, summed over components, averaged over draws. The mean
over samples is taken once, at the very end, by whoever trains. Hence stacking a batch on itself
changes nothing.

    ELBO(x) = E_q[log p(x | z)] - beta KL(q(z | x) || p(z)) <= log p(x)     for beta = 1

with the expectation over the K draws z_1, ..., z_K in ``z`` and the KL in closed form. `beta` is
that of the beta-VAE (Higgins et al. 2017); beta = 0 is a plain autoencoder. Free bits (Kingma et
al. 2016) put sum_j max(lambda, mean of KL_j over the batch) in the place of the KL, with the exact
KL_j of the chain rule over components.

    IWAE(x) = log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x) <= log p(x)

(Burda et al. 2016) is the ELBO in mean at K = 1 and log p(x) as K grows.

    InfoVAE(x) = E_q[log p(x | z)] - (1 - alpha) beta KL(q(z | x) || p(z))
                 - (alpha + lambda - 1) MMD^2(q(z), p(z))

(Zhao et al. 2017) adds the maximum mean discrepancy between the z of the batch and the prior, with
the inverse multiquadratic kernel k(a, b) = C / (C + ||a - b||^2), C = 2 d, the prior represented by
one fixed set of deviates.
"""

import math

import torch
from torch import Tensor, nn

from .module import VAEOutput


def fixed_deviates(n_draws: int, n_components: int) -> Tensor:
    """Standard normal deviates of shape (n_draws, 1, n_components).

    A scrambled Sobol sequence, always the same.
    """
    uniform = torch.quasirandom.SobolEngine(n_components, scramble=True, seed=0).draw(
        n_draws, dtype=torch.float64
    )
    tiny = torch.finfo(torch.float64).eps
    return torch.special.ndtri(uniform.clamp(tiny, 1 - tiny))[:, None]


def reconstruction(output: VAEOutput, x: Tensor) -> Tensor:
    """E_q[log p(x | z)] over the draws, of shape (n,)."""
    log_prob = output.p.log_prob(x)
    return log_prob.mean(0) if log_prob.ndim > 1 else log_prob


def importance_weighted(output: VAEOutput, x: Tensor) -> Tensor:
    """The importance-weighted bound on log p(x) over the draws, of shape (n,)."""
    q, z, p = output
    d = z.shape[-1]
    log_prior = -0.5 * (z.square().sum(-1) + d * math.log(2 * math.pi))
    log_weights = torch.atleast_2d(p.log_prob(x) + log_prior - q.log_prob(z))
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


class ELBO(nn.Module):
    """The evidence lower bound, with beta and free bits.

    Parameters
    ----------
    beta : float
        Factor of the KL.
    free_bits : float
        Nats per component below which the KL is not reduced further; 0 for none.
    """

    def __init__(self, beta: float = 1.0, free_bits: float = 0.0):
        super().__init__()
        self.beta = beta
        self.free_bits = free_bits
        self.warmup = 1.0  # grows from 0 to 1 in training, where asked for; evaluation ignores it

    @property
    def kl_weight(self) -> float:
        """The factor of the KL at this moment."""
        return self.beta * self.warmup if self.training else self.beta

    def kl(self, output: VAEOutput) -> Tensor:
        """The KL with free bits, of shape (n,)."""
        if not self.free_bits:
            return output.q.kl()
        per_component = output.q.kl_per_component()
        free = per_component.mean(0) <= self.free_bits
        return torch.where(free, torch.full_like(per_component, self.free_bits), per_component).sum(
            -1
        )

    def forward(self, output: VAEOutput, x: Tensor) -> Tensor:
        """Nats per sample, of shape (n,)."""
        return torch.sub(reconstruction(output, x), self.kl(output), alpha=self.kl_weight)


class IWAE(ELBO):
    """The importance-weighted bound over the draws; beta = 1 and no free bits, by its nature."""

    def forward(self, output: VAEOutput, x: Tensor) -> Tensor:
        """Nats per sample, of shape (n,)."""
        return importance_weighted(output, x)


class InfoVAE(ELBO):
    """The ELBO with its KL weighed anew and the aggregate posterior drawn to the prior.

    Parameters
    ----------
    beta, free_bits : float
        As in `ELBO`.
    info_alpha, info_lambda : float
        alpha and lambda above; 0 and 1 give the ELBO.
    """

    N_PRIOR = 256

    def __init__(
        self,
        beta: float = 1.0,
        free_bits: float = 0.0,
        info_alpha: float = 0.0,
        info_lambda: float = 1.0,
    ):
        super().__init__(beta, free_bits)
        self.info_alpha = info_alpha
        self.info_lambda = info_lambda

    def forward(self, output: VAEOutput, x: Tensor) -> Tensor:
        """Nats per sample, of shape (n,)."""
        bound = reconstruction(output, x) - (1 - self.info_alpha) * self.kl_weight * self.kl(output)
        weight = self.info_alpha + self.info_lambda - 1
        return bound - weight * self.mmd(output.z) if weight else bound

    def mmd(self, z: Tensor) -> Tensor:
        """Each sample's share of MMD^2(q(z), p), of shape (n,); their mean is the whole."""
        n, d = z.shape[-2:]
        prior, z = fixed_deviates(self.N_PRIOR, d)[:, 0].to(z), z.reshape(-1, d)

        def kernel(a, b):
            squares = a.square().sum(-1)[:, None] + b.square().sum(-1) - 2 * a @ b.mT
            return 2 * d / (2 * d + squares)

        share = kernel(z, z).mean(1) - 2 * kernel(z, prior).mean(1) + kernel(prior, prior).mean()
        return share.reshape(-1, n).mean(0)


OBJECTIVES = {"elbo": ELBO, "iwae": IWAE, "infovae": InfoVAE}
