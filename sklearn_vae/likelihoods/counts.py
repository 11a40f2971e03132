"""The likelihoods of counts."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions import NegativeBinomial as NegativeBinomialDistribution
from torch.distributions import Poisson as PoissonDistribution

from .base import LOG_LIMIT, Likelihood, bounded, float32, unbounded


class Count(Likelihood):
    """Base of the likelihoods of counts.

    The decoder gives the log of the mean, the encoder sees log(1 + x).
    """

    support = "the counts 0, 1, 2, ..."
    remedy = "round it, or use likelihood='gaussian' for values that are not counts"
    linear_model = "log_linear"

    def supports(self, X: np.ndarray) -> np.ndarray:
        return (X >= 0) & (np.floor(X) == X)

    def encode(self, x: Tensor) -> Tensor:
        return torch.log1p(x)

    def start(self, model: NamedTuple) -> tuple[Tensor, Tensor]:
        # Of a model of nothing but means there is no offset: its mean is that of the counts.
        offset = np.log(model.mean.clip(1e-3)) if model.offset is None else model.offset
        log_mean = unbounded(float32(offset))
        # Where the logarithm is bounded its slope is a little below 1.
        slope = 1 - torch.tanh(log_mean / LOG_LIMIT).square()
        return float32(model.loadings) / slope[:, None], log_mean


class Poisson(Count):
    """Counts whose variance is their mean.

    The decoder gives the log of the rate, bounded within +-30.
    """

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Distribution:
        return PoissonDistribution(torch.exp(bounded(numbers)), validate_args=False)

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        return rng.poisson(p.mean.double().cpu().numpy()).astype(float)


class NegativeBinomial(Count):
    r"""Counts of variance mean + alpha mean^2, with a learned dispersion alpha per feature.

    The decoder gives the log of the mean, bounded within +-30. It is a Poisson whose rate is drawn
    from a gamma distribution of shape 1 / alpha and the given mean; alpha -> 0 is the Poisson.
    """

    def build(self, scale: np.ndarray) -> "NegativeBinomial":
        self.log_dispersion = nn.Parameter(torch.zeros(len(scale)))
        return super().build(scale)

    @property
    def dispersion(self) -> Tensor:
        """Alpha, of shape (n_features,)."""
        return torch.exp(bounded(self.log_dispersion))

    @torch.no_grad()
    def start(self, model: NamedTuple) -> tuple[Tensor, Tensor]:
        if model.dispersion is not None:
            self.log_dispersion.copy_(unbounded(torch.log(float32(model.dispersion))))
        return super().start(model)

    def learned(self) -> dict:
        return {"dispersion_": self.dispersion.detach().cpu().double().numpy()}

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Distribution:
        log_dispersion = bounded(self.log_dispersion)
        logits = bounded(numbers) + log_dispersion
        return NegativeBinomialDistribution(
            torch.exp(-log_dispersion), logits=logits, validate_args=False
        )

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        mean = p.mean.double().cpu().numpy()
        shape = p.total_count.double().cpu().numpy()
        return rng.poisson(rng.gamma(shape, mean / shape)).astype(float)
