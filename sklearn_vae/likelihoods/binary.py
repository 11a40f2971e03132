"""The likelihoods of values in [0, 1]."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution

from .base import Likelihood, float32


class Bernoulli(Likelihood):
    """x in {0, 1}; values between are accepted and scored by the cross-entropy."""

    support = "[0, 1]"
    remedy = "scale it with MinMaxScaler, or use likelihood='gaussian'"
    linear_model = "mean"

    def supports(self, X: np.ndarray) -> np.ndarray:
        return (X >= 0) & (X <= 1)

    def start(self, model: NamedTuple) -> tuple[Tensor, Tensor]:
        return float32(model.loadings), torch.logit(float32(model.mean), eps=0.01)

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Distribution:
        return BernoulliDistribution(logits=numbers, validate_args=False)

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        mean = p.mean.cpu().numpy()
        return (rng.random_sample(mean.shape) < mean).astype(mean.dtype)


class ContinuousBernoulliDistribution(Distribution):
    r"""The density that the cross-entropy lacks (Loaiza-Ganem & Cunningham 2019), on [0, 1].

    p(x) = C(lambda) lambda^x (1 - lambda)^(1 - x). In the logit eta of lambda this is an
    exponential, p(x) = eta exp(eta x) / (exp(eta) - 1), so with h = eta / 2

        log p(x) = eta (x - 1/2) - log(sinh(h) / h)
        mean     = 1/2 + (coth(h) - 1 / h) / 2
        variance = (1 / h^2 - 1 / sinh^2(h)) / 4

    each with its series where h is small, and without overflow where it is large.
    """

    arg_constraints = {}
    SMALL = 0.1

    def __init__(self, logits: Tensor):
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def _by_size(
        self, series: Callable[[Tensor], Tensor], exact: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """``series(h^2)`` where |h| is small, ``exact(|h|)`` elsewhere.

        Both see arguments they can take.
        """
        h = self.logits.abs() / 2
        small = h < self.SMALL
        return torch.where(
            small, series(torch.where(small, h, 0).square()), exact(torch.where(small, 1, h))
        )

    def log_prob(self, value: Tensor) -> Tensor:
        log_sinhc = self._by_size(
            lambda hh: hh / 6 - hh**2 / 180 + hh**3 / 2835,
            lambda h: h + torch.log(-torch.expm1(-2 * h)) - torch.log(2 * h),
        )
        return self.logits * (value - 0.5) - log_sinhc

    @property
    def mean(self) -> Tensor:
        away = self._by_size(
            lambda hh: hh.sqrt() * (1 / 3 - hh / 45 + 2 * hh**2 / 945),
            lambda h: 1 / torch.tanh(h) - 1 / h,
        )
        return 0.5 + 0.5 * torch.sign(self.logits) * away

    @property
    def variance(self) -> Tensor:
        return self._by_size(
            lambda hh: (1 / 3 - hh / 15 + 2 * hh**2 / 189) / 4,
            lambda h: (1 / h.square() - 4 * torch.exp(-2 * h) / torch.expm1(-2 * h).square()) / 4,
        )


class ContinuousBernoulli(Bernoulli):
    """A density on [0, 1], for grey values and proportions; the decoder gives the logit."""

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Distribution:
        return ContinuousBernoulliDistribution(numbers)

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        """By the inverse of the distribution function, x = log(1 + u (exp(eta) - 1)) / eta."""
        eta = p.logits.double().cpu().numpy()
        u = rng.random_sample(eta.shape)
        size = np.maximum(np.abs(eta), 1e-6)
        x = 1 + np.log(u + (1 - u) * np.exp(-size)) / size
        return np.where(eta >= 0, x, 1 - x).clip(0, 1)
