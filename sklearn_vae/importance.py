r"""The log-likelihood of a row by importance sampling, from a proposal made for the row.

For draws z_k of a proposal r,

    log p(x) = log E_r[p(x | z) p(z) / r(z)]  ~  log 1/K sum_k p(x | z_k) p(z_k) / r(z_k),

whose expectation is at most log p(x) for any r (Burda et al. 2016). The estimate is exact with a
single draw if r is the true posterior. It is poor if r is much narrower, since no draw then falls
where most of the integral is. The encoder's q(z | x) may be too narrow, since training only asks it
to lie inside the true posterior. So r is Laplace's approximation of the posterior (Tierney & Kadane
1986). Newton steps lead from the encoder's mean to the mode of log p(x | z) + log p(z). With H
minus the Hessian at the mode,

    r(z) = N(mode, H^-1),   the eigenvalues of H at least 1: no x says less of z than the prior.

In a linear model r is the true posterior. The effective sample size of the weights w_k,

    (sum_k w_k)^2 / sum_k w_k^2  <= K,

tells how far an estimate can be trusted. A row where it is below K / 2 gets more Newton steps and
more draws. There are 4 K draws of each of three proposals: r, r with twice its covariance, and q.
All are weighted by the density of their mixture (Veach & Guibas 1995).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .batch import Batch
from .module import VAE
from .objectives import fixed_deviates, log_prob_of_rows

STEPS, MORE_STEPS = 1, 3  # of Newton's method, for every row and for those that need more
MORE_DRAWS = 4  # for those, as many times the draws of each proposal
WIDER = 2.0  # the variances of the wider proposal
ENOUGH = 0.5  # effective draws, as a share of all
ROUNDING = 1e4  # times the machine epsilon, of a log-density
UNTRUSTED = 5.0  # effective draws, below which an estimate says little


class Estimate(NamedTuple):
    """Of each row.

    Attributes
    ----------
    log_prob : Tensor of shape (n,)
        Nats.
    effective_draws : Tensor of shape (n,)
    """

    log_prob: Tensor
    effective_draws: Tensor


class Weighted(NamedTuple):
    """An `Estimate`, and the logarithms of the weights of its draws, (K, n)."""

    log_prob: Tensor
    effective_draws: Tensor
    log_weights: Tensor


class Means(NamedTuple):
    """Of each row, by its weighted draws.

    Attributes
    ----------
    effective_draws : Tensor of shape (n,)
    mean : Tensor of shape (n, ...)
    """

    effective_draws: Tensor
    mean: Tensor


class Laplace(NamedTuple):
    """N(mode, H^-1) for each of n rows, H = V diag(precision) V^T.

    Attributes
    ----------
    mode, precision : Tensor of shape (n, d)
    vectors : Tensor of shape (n, d, d)
        V.
    """

    mode: Tensor
    precision: Tensor
    vectors: Tensor

    def rsample(self, eps: Tensor) -> Tensor:
        """Draws (K, n, d) by standard normal deviates eps (K, 1, d)."""
        scaled = eps / self.precision.sqrt()
        return self.mode + torch.einsum("nij,knj->kni", self.vectors, scaled)

    def log_prob(self, z: Tensor) -> Tensor:
        """Of z (K, n, d), in nats, (K, n)."""
        along = torch.einsum("nji,knj->kni", self.vectors, z - self.mode)
        log_det = self.precision.log().sum(-1)
        squares = (along.square() * self.precision).sum(-1)
        return 0.5 * (log_det - squares - z.shape[-1] * math.log(2 * math.pi))


def log_joint(module: VAE, z: Tensor, rows: Batch) -> Tensor:
    """Log p(x | z) + log p(z) for z (..., n, d) and n rows, in nats, (..., n)."""
    return log_prob_of_rows(module.decode(z, rows.condition), rows) + module.prior.log_prob(z)


def derivatives(module: VAE, z: Tensor, rows: Batch) -> tuple[Tensor, Tensor]:
    """The gradient (n, d) and the Hessian (n, d, d) of the log joint density at z (n, d).

    Rows know nothing of each other, so those of their sum are those of each.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        density = log_joint(module, z, rows).sum()
        (gradient,) = torch.autograd.grad(density, z, create_graph=True)
        of_each = (component.sum() for component in gradient.unbind(1))
        columns = [torch.autograd.grad(one, z, retain_graph=True)[0] for one in of_each]
    return gradient.detach(), torch.stack(columns, 2)


def laplace(module: VAE, rows: Batch, z: Tensor, steps: int) -> Laplace:
    """Newton steps from z (n, d) to the modes of the rows, and the curvature at their end.

    A step that lowers the density by more than rounding is not taken.
    """
    for _ in range(steps):
        gradient, hessian = derivatives(module, z, rows)
        # Nothing is known of an outlier whose squares overflow.
        known = torch.isfinite(hessian).all(-1).all(-1)[:, None, None]
        values, vectors = torch.linalg.eigh(
            torch.where(known, -hessian, torch.eye(z.shape[1]).to(z))
        )
        precision = values.clamp(min=1)
        along = (vectors.mT @ gradient[..., None])[..., 0] / precision
        moved = z + (vectors @ along[..., None])[..., 0]
        before, after = log_joint(module, z, rows), log_joint(module, moved, rows)
        rounding = ROUNDING * torch.finfo(z.dtype).eps * before.abs()
        z = torch.where((after >= before - rounding)[:, None], moved, z)
    return Laplace(z, precision, vectors)


def log_likelihood(module: VAE, rows: Batch, eps: Tensor) -> Estimate:
    """Log p(x) of each row, of those of its entries that were observed.

    Parameters
    ----------
    module : VAE
    rows : Batch
    eps : Tensor of shape (K, 1, d)
        Standard normal deviates, the same for every row.

    Returns
    -------
    Estimate
    """
    return by_importance(module, rows, eps, lambda rows, z, weighted: Estimate(*weighted[:2]))


def conditional_means(module: VAE, rows: Batch, eps: Tensor) -> Tensor:
    """E[x | x_o], of shape (n, n_features): the self-normalised mean of E[x | z_k] over the draws.

    The most likely category, where x is one. Parameters are as for `log_likelihood` (Mattei &
    Frellsen 2019).
    """

    def mean(rows: Batch, z: Tensor, weighted: Weighted) -> Means:
        weights = torch.softmax(weighted.log_weights, 0)
        of_rows = module.likelihood.mean_over(module.decode(z, rows.condition), weights)
        return Means(weighted.effective_draws, of_rows)

    return by_importance(module, rows, eps, mean).mean


def conditional_draws(
    module: VAE, rows: Batch, eps: Tensor, n: int, generator: torch.Generator
) -> Tensor:
    """Draws of p(z | x_o), of shape (n_rows, n, d): of the draws z_k, by their weights.

    Parameters are as for `log_likelihood`; n is the number of draws of each row.
    """

    def draw(rows: Batch, z: Tensor, weighted: Weighted) -> Means:
        weights = torch.softmax(weighted.log_weights, 0)
        chosen = torch.multinomial(weights.T, n, replacement=True, generator=generator)
        index = chosen[..., None].expand(-1, -1, z.shape[-1])
        return Means(weighted.effective_draws, z.transpose(0, 1).gather(1, index))

    return by_importance(module, rows, eps, draw).mean


def by_importance(module: VAE, rows: Batch, eps: Tensor, summarise: Callable) -> NamedTuple:
    """What weighted draws tell of each row.

    Other parameters are as for `log_likelihood`.

    Parameters
    ----------
    summarise : callable
        ``summarise(rows, z, weighted)`` for draws z (K, n, d). It gives a NamedTuple of tensors
        over rows. `effective_draws` is one of them.
    """
    q = module.encode(rows)
    try:
        return _by_curvature(module, rows, q.mean, eps, summarise)
    except RuntimeError:  # a network or likelihood that has no second derivatives
        z = q.rsample(eps)
        return summarise(rows, z, _estimate(log_joint(module, z, rows) - q.log_prob(z)))


def _by_curvature(
    module: VAE, rows: Batch, z: Tensor, eps: Tensor, summarise: Callable
) -> NamedTuple:
    """With draws of Laplace approximations that start from z."""
    r = laplace(module, rows, z, STEPS)
    z = r.rsample(eps)
    result = summarise(rows, z, _estimate(log_joint(module, z, rows) - r.log_prob(z)))
    poor = torch.nonzero(~(result.effective_draws >= ENOUGH * len(eps)))[:, 0]
    # More draws take more memory, so these rows are taken a few at a time.
    for some in poor.split(max(1, len(rows) // 8)) if len(poor) else ():
        better = summarise(rows[some], *_by_mixture(module, rows[some], r.mode[some], len(eps)))
        for before, after in zip(result, better, strict=True):
            before[some] = after
    return result


def _by_mixture(module: VAE, rows: Batch, z: Tensor, n_draws: int) -> tuple[Tensor, Weighted]:
    """With draws of q, of a Laplace approximation that starts from z, and of a wider one."""
    q, r = module.encode(rows), laplace(module, rows, z, MORE_STEPS)
    proposals = r, r._replace(precision=r.precision / WIDER), q
    eps = fixed_deviates(MORE_DRAWS * n_draws, z.shape[1]).to(z)
    z = torch.cat([proposal.rsample(eps) for proposal in proposals])
    densities = torch.stack([proposal.log_prob(z) for proposal in proposals])
    mixture = torch.logsumexp(densities, 0) - math.log(len(proposals))
    return z, _estimate(log_joint(module, z, rows) - mixture)


def _estimate(log_weights: Tensor) -> Weighted:
    """From the logarithms of the weights, (K, n)."""
    total = torch.logsumexp(log_weights, 0)
    effective = torch.exp(2 * total - torch.logsumexp(2 * log_weights, 0))
    return Weighted(total - math.log(len(log_weights)), effective, log_weights)
