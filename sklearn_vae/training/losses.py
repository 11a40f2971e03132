r"""What a likelihood adds to the loss of a training step, with its gradient written out.

A prime marks the derivative by a quantity of -sum_i p_i log p(x_i | z_i), for the share p of a row.

**Gaussian.** log sigma^2 = t = 30 tanh(r / 30), S_j is the mean over rows of (y - x)_j^2, and

    y' = p (y - x) / sigma^2      t' = 1/2 (1 - S / sigma^2)      r' = t' (1 - tanh^2)

with the sum of t' over features that share their noise. **Bernoulli.** y' = p (logistic(y) - x).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..batch import Batch
from ..likelihoods import Bernoulli, Gaussian
from ..likelihoods.base import LOG_LIMIT

Share = float | Tensor  # p, of shape (n, 1) where rows differ in it


def share_of(rows: Batch) -> Share:
    """What each row counts of all."""
    return 1 / len(rows) if rows.weight is None else (rows.weight / rows.weight.sum())[:, None]


def gaussian(likelihood: Gaussian, mean: Tensor, x: Tensor, share: Share) -> tuple[float, Tensor]:
    """The mean of -log p(x | z) over rows, and its gradient."""
    D, noise = x.shape[1], likelihood.noise.log_variance
    away = torch.sub(mean, x, out=mean if mean.is_contiguous() else torch.empty_like(x))
    # What rows have in common is multiplied last.
    weighed, share = (away, share) if isinstance(share, float) else (away * share, 1.0)
    shared = not noise.ndim
    if shared:  # its arithmetic is Python's
        squares = torch.dot(away.view(-1), weighed.view(-1)).item() * share / D
        of, number = math, noise.item()
    else:
        of, number, squares = torch, noise.detach(), (away * weighed).sum(0) * share
    tanh = of.tanh(number / LOG_LIMIT)
    precision = of.exp(-LOG_LIMIT * tanh)
    deviance = squares * precision
    nats = 0.5 * (deviance + LOG_LIMIT * tanh + math.log(2 * math.pi))
    if noise.grad is not None:
        slope = 0.5 * (1 - deviance) * (1 - tanh * tanh)
        noise.grad.fill_(D * slope) if shared else noise.grad.copy_(slope)
    return D * nats if shared else nats.sum().item(), weighed.mul_(precision * share)


def bernoulli(
    likelihood: Bernoulli, logits: Tensor, x: Tensor, share: Share
) -> tuple[float, Tensor]:
    """The same, with log(1 + exp(y)) - y x for the logit y; beyond 50, log(1 + exp(y)) is y."""
    nats = softplus(logits, threshold=50).addcmul_(logits, x, value=-1).sum(1, keepdim=True)
    return total(nats, share), logits.sigmoid_().sub_(x).mul_(share)


def total(values: Tensor, share: Share) -> float:
    """The sum of values (n, ...), each times its row's share."""
    if isinstance(share, float):
        return values.sum().item() * share
    return (values * share).sum().item()


def plus(a: Tensor, share: Share, b: Tensor) -> Tensor:
    """``a + share b``."""
    if isinstance(share, float):
        return torch.add(a, b, alpha=share)
    return torch.addcmul(a, share, b)


LOSSES = {Gaussian: gaussian, Bernoulli: bernoulli}
