r"""Objectives: what is to be maximised, one number per sample, in nats.

An objective is called with the module's output, (q, z, p, prior), and the rows. It returns a tensor
of shape (n,): summed over the entries that were observed, summed over components, averaged over
draws. The mean over rows is taken once, at the very end, by whoever trains. Hence stacking a batch
on itself changes nothing.

    ELBO(x) = E_q[log p(x | z)] - beta KL(q(z | x) || p(z)) <= log p(x)     for beta = 1

with the expectation over the K draws z_1, ..., z_K in ``z`` and the KL in closed form. `beta` is
that of the beta-VAE (Higgins et al. 2017); beta = 0 is a plain autoencoder. Free bits (Kingma et
al. 2016) put sum_j max(lambda, mean of KL_j over the batch) in the place of the KL, with the exact
KL_j of the chain rule over components.

    IWAE(x) = log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x) <= log p(x)

(Burda et al. 2016) is the ELBO in mean at K = 1 and log p(x) as K grows.

    InfoVAE(x) = E_q[log p(x | z)] - (1 - alpha) beta KL(q(z | x) || p(z))
                 - (alpha + lambda - 1) MMD^2(q(z), p(z))

(Zhao et al. 2017) adds the maximum mean discrepancy between the z of the batch and the prior. Its
kernel is the inverse multiquadratic k(a, b) = C / (C + ||a - b||^2) with C = 2 d. One fixed set of
deviates represents the prior.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .batch import Batch
from .module import VAEOutput
from .parts import Part


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def fixed_deviates(n_draws: int, n_components: int) -> Tensor:
    """Standard normal deviates of shape (n_draws, 1, n_components), to be read only.

    A scrambled Sobol sequence, always the same.
    """
    uniform = torch.quasirandom.SobolEngine(n_components, scramble=True, seed=0).draw(
        n_draws, dtype=torch.float64
    )
    tiny = torch.finfo(torch.float64).eps
    return torch.special.ndtri(uniform.clamp(tiny, 1 - tiny))[:, None]


def log_prob_of_rows(p: Distribution, rows: Batch | Tensor) -> Tensor:
    """Log p(x | z) of each row, summed over the entries that were observed; of shape (..., n)."""
    batch = Batch.of(rows)
    if batch.observed is not None:
        return (p.log_prob(batch.x) * batch.observed).sum(-1)
    by_rows = getattr(p, "log_prob_of_rows", None)
    return p.log_prob(batch.x).sum(-1) if by_rows is None else by_rows(batch.x)


def reconstruction(output: VAEOutput, rows: Batch | Tensor) -> Tensor:
    """E_q[log p(x | z)] over the draws, of shape (n,)."""
    log_prob = log_prob_of_rows(output.p, rows)
    return log_prob.mean(0) if log_prob.ndim > 1 else log_prob


def importance_weighted(output: VAEOutput, rows: Batch | Tensor) -> Tensor:
    """The importance-weighted bound on log p(x) over the draws, of shape (n,)."""
    q, z, p, prior = output
    log_weights = log_prob_of_rows(p, rows) + prior.log_prob(z) - q.log_prob(z)
    log_weights = torch.atleast_2d(log_weights)
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


class Objective(Part, nn.Module):
    """Base of the objectives: what a net asks of them.

    A family defines `forward`, which gives the nats per sample that training maximises.

    Attributes
    ----------
    beta : float
        Factor of the KL.
    n_draws : int
        Draws of z per sample and training step.
    kl_warmup : int
        Epochs over which `warmup` grows from 0 to 1. Early stopping starts to count after them.

    warmup : float
        How far that is at this moment. Evaluation ignores it.

    only_rebuilds : bool
        Whether only the reconstruction counts, as in a plain autoencoder.
    """

    n_draws = 1
    kl_warmup = 0
    warmup = 1.0
    only_rebuilds = False
    beta = 1.0

    @property
    def kl_weight(self) -> float:
        """The factor of the KL at this moment."""
        return self.beta * self.warmup if self.training else self.beta

    def forward(self, output: VAEOutput, rows: Batch | Tensor) -> Tensor:
        """Nats of each row, of shape (n,)."""
        raise NotImplementedError


class ELBO(Objective):
    """The evidence lower bound, with beta and free bits.

    Parameters
    ----------
    beta : float, default=1.0
        Factor of the KL (beta-VAE). Only 1 trains a bound on log p(x). With 0 this is a plain
        autoencoder, whose code is all but deterministic.

    n_draws : int, default=1
        Draws of z per sample and training step.
    kl_warmup : int, default=0
        Epochs over which the factor of the KL grows from 0 to `beta`. Early stopping starts to
        count after them.
    free_bits : float, default=0.0
        Nats per component below which the KL, averaged over the batch, is not reduced further.
    """

    def __init__(
        self, beta: float = 1.0, *, n_draws: int = 1, kl_warmup: int = 0, free_bits: float = 0.0
    ):
        super().__init__()
        self.beta = beta
        self.n_draws = n_draws
        self.kl_warmup = kl_warmup
        self.free_bits = free_bits

    def check(self) -> None:
        self.check_number("beta", 0)
        self.check_number("n_draws", 1, integer=True)
        self.check_number("kl_warmup", 0, integer=True)
        self.check_number("free_bits", 0)

    @property
    def only_rebuilds(self) -> bool:
        """Whether only the reconstruction counts."""
        return self.beta == 0

    def kl(self, output: VAEOutput) -> Tensor:
        """The KL with free bits, of shape (n,)."""
        if not self.free_bits:
            return output.prior.kl(output.q)
        per_component = output.prior.kl_per_component(output.q)
        free = per_component.mean(0) <= self.free_bits
        return torch.where(free, torch.full_like(per_component, self.free_bits), per_component).sum(
            -1
        )

    def forward(self, output: VAEOutput, rows: Batch | Tensor) -> Tensor:
        return torch.sub(reconstruction(output, rows), self.kl(output), alpha=self.kl_weight)


class IWAE(Objective):
    """The importance-weighted bound over `n_draws` draws (Burda et al. 2016).

    Parameters
    ----------
    n_draws : int, default=5
        Draws of z per sample and training step.
    """

    def __init__(self, n_draws: int = 5):
        super().__init__()
        self.n_draws = n_draws

    def check(self) -> None:
        self.check_number("n_draws", 1, integer=True)

    def forward(self, output: VAEOutput, rows: Batch | Tensor) -> Tensor:
        return importance_weighted(output, rows)


class InfoVAE(ELBO):
    """The ELBO with its KL weighed anew and the aggregate posterior drawn to the prior.

    Parameters
    ----------
    alpha : float, default=0.0
        The KL counts 1 - alpha times.
    lambda_ : float, default=10.0
        The maximum mean discrepancy counts alpha + lambda - 1 times. With an alpha of 0 and a
        lambda of 1 this is the ELBO.
    beta, n_draws, kl_warmup, free_bits
        As in `ELBO`.
    """

    N_PRIOR = 256

    def __init__(
        self,
        alpha: float = 0.0,
        lambda_: float = 10.0,
        *,
        beta: float = 1.0,
        n_draws: int = 1,
        kl_warmup: int = 0,
        free_bits: float = 0.0,
    ):
        super().__init__(beta, n_draws=n_draws, kl_warmup=kl_warmup, free_bits=free_bits)
        self.alpha = alpha
        self.lambda_ = lambda_

    def check(self) -> None:
        super().check()
        self.check_number("alpha", -1e6)
        self.check_number("lambda_", -1e6)

    @property
    def mmd_weight(self) -> float:
        """The factor of the discrepancy."""
        return self.alpha + self.lambda_ - 1

    @property
    def only_rebuilds(self) -> bool:
        return super().only_rebuilds and not self.mmd_weight

    def forward(self, output: VAEOutput, rows: Batch | Tensor) -> Tensor:
        bound = reconstruction(output, rows) - (1 - self.alpha) * self.kl_weight * self.kl(output)
        weight = self.mmd_weight
        return bound - weight * self.mmd(output.z) if weight else bound

    def mmd(self, z: Tensor) -> Tensor:
        """Each sample's share of MMD^2(q(z), p), of shape (n,); their mean is the whole."""
        n, d = z.shape[-2:]
        prior, z = fixed_deviates(self.N_PRIOR, d)[:, 0].to(z), z.reshape(-1, d)

        def kernel(a: Tensor, b: Tensor) -> Tensor:
            squares = a.square().sum(-1)[:, None] + b.square().sum(-1) - 2 * a @ b.mT
            return 2 * d / (2 * d + squares)

        share = kernel(z, z).mean(1) - 2 * kernel(z, prior).mean(1) + kernel(prior, prior).mean()
        return share.reshape(-1, n).mean(0)


OBJECTIVES = {"elbo": ELBO, "iwae": IWAE, "infovae": InfoVAE}
