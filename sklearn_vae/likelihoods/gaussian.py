"""The likelihoods of real numbers: the Gaussian with its noise, or with noise predicted from z."""

import math
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import mse_loss

from .base import LOG_LIMIT, Columns, Likelihood, bounded, float32, unbounded
from .noise import SMALLEST_NOISE, Noise
from .scaling import centre_and_scale

SMALLEST_PREDICTED_VARIANCE = 1e-3


class Normal(Distribution):
    r"""N(mean, sigma^2) for each entry of rows of D features.

        log p(x) = -1/2 ((x - mean)^2 / sigma^2 + log sigma^2 + log 2 pi)

    Where sigma^2 is the same for a whole row, it scales the sum of the squares over the row. That
    is half the work of scaling each of them.

    Parameters
    ----------
    mean : Tensor of shape (..., D)
    log_variance : Tensor of shape (), (D,), (..., 1) or (..., D)
        log sigma^2.
    """

    arg_constraints = {}

    def __init__(self, mean: Tensor, log_variance: Tensor):
        self.loc, self.log_variance = mean, log_variance
        super().__init__(mean.shape, validate_args=False)

    def _squares(self, value: Tensor) -> Tensor:
        # The difference and its square are one kernel, and one more in the backward pass.
        return mse_loss(self.loc, value.expand_as(self.loc), reduction="none")

    def log_prob(self, value: Tensor) -> Tensor:
        deviance = self._squares(value) * torch.exp(-self.log_variance) + self.log_variance
        return -0.5 * (deviance + math.log(2 * math.pi))

    def log_prob_of_rows(self, value: Tensor) -> Tensor:
        """The sum of `log_prob` over the entries of each row, of shape (...)."""
        D = self.loc.shape[-1]
        constant = D * math.log(2 * math.pi)
        squares, precision = self._squares(value), torch.exp(-self.log_variance)
        if self.log_variance.ndim == 0:
            log_norm = torch.rsub(self.log_variance, -0.5 * constant, alpha=0.5 * D)
            return torch.addcmul(log_norm, squares.sum(-1), precision, value=-0.5)
        if self.log_variance.shape[-1] == 1:
            deviance = squares.sum(-1) * precision[..., 0] + D * self.log_variance[..., 0]
        else:
            deviance = (squares * precision).sum(-1) + self.log_variance.sum(-1)
        return -0.5 * (deviance + constant)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return torch.exp(self.log_variance).expand_as(self.loc)


class RealValued(Likelihood):
    """Base of the densities on all of R^D, which may be centred and scaled."""

    def scaling(self, columns: Columns, standardize: bool | str) -> tuple[np.ndarray, np.ndarray]:
        return centre_and_scale(columns, standardize)


class LocationScale(RealValued):
    """Base of the densities around a mean, which the decoder gives, with noise of their own.

    Training starts at probabilistic PCA or factor analysis. A family defines `forward`, by
    ``self.noise.log_variance_at(z)``.

    Parameters
    ----------
    noise_variance : {"per_feature", "shared"} or float, default="shared"
        The variance of the noise: one learned number for all (standardised) features, one learned
        number for each feature, or a fixed number in X's squared units.

    noise_growth : float or "auto", default="auto"
        How the noise grows with the distance of z from the centre: its variance is that above times
        ``((1 + |z|^2 / d) / 2)^noise_growth``. 0 gives the same noise everywhere. "auto" measures
        the power on the held-out rows when training ends. It is then 0 if the noise is fixed or
        the model is linear.
    """

    def __init__(self, noise_variance: str | float = "shared", noise_growth: str | float = "auto"):
        super().__init__()
        self.noise_variance = noise_variance
        self.noise_growth = noise_growth

    def check(self) -> None:
        noise = self.noise_variance
        if isinstance(noise, str):
            if noise not in ("shared", "per_feature"):
                self.refuse("noise_variance", "'shared', 'per_feature' or a number above 0")
        elif not (isinstance(noise, Real) and 0 < noise < math.inf):
            self.refuse("noise_variance", "'shared', 'per_feature' or a number above 0")
        if self.noise_growth != "auto":
            self.check_number("noise_growth", 0)

    def build(self, scale: np.ndarray) -> "LocationScale":
        learned = isinstance(self.noise_variance, str)
        variance = self.noise_variance if learned else self.noise_variance / scale**2
        self.noise = Noise(len(scale), variance, self.noise_growth)
        return super().build(scale)

    @property
    def linear_model(self) -> str:
        if self.noise_variance == "shared":
            return "probabilistic_pca"
        return "factor_analysis" if self.noise_variance == "per_feature" else "known_noise"

    def start(self, model: NamedTuple) -> tuple[Tensor, Tensor]:
        self.noise.set(float32(model.noise_variance))
        return float32(model.loadings), float32(model.offset)


class Gaussian(LocationScale):
    """N(mean, sigma^2(z)), where the noise may grow with the distance from the centre.

    Parameters
    ----------
    noise_variance : {"per_feature", "shared"} or float, default="shared"
        sigma^2: one learned number for all (standardised) features, one learned number for each
        feature, or a fixed number in X's squared units. Shared noise keeps PCA's reconstruction.
        Noise per feature gives some of it away for a better likelihood.

    noise_growth : float or "auto", default="auto"
        The noise at z is sigma^2 ``((1 + |z|^2 / d) / 2)^noise_growth``. 0 gives the same noise
        everywhere. "auto" measures the power on the held-out rows when training ends. It is then 0
        if the noise is fixed or the model is linear.
    """

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Distribution:
        return Normal(numbers, self.noise.log_variance_at(z))

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        return _normal_draw(p, rng)

    def neutral_factor(self) -> float:
        if self.noise.is_learned or self.noise.growth:
            return 1.0
        return torch.exp(torch.log(self.noise.variance).mean()).item()

    def rescale_noise(self, factor: float) -> Callable[[float], float]:
        before = self._constant()
        self.noise.rescale(factor)
        after = self._constant()
        return lambda loss: (loss - before) / factor + after

    def at_best_noise(self, nats: float) -> float:
        noise, D = self.noise, self.n_features
        if not noise.log_variance.requires_grad or not noise.is_constant:
            return nats
        constant = self._constant()
        share = 2 * (nats - constant) / D
        return constant + 0.5 * D * (1 + math.log(max(share, SMALLEST_NOISE)))

    def _constant(self) -> float:
        """1/2 sum_j log(2 pi sigma_j^2)."""
        number = self.noise.log_variance.detach()
        if number.ndim:
            mean = bounded(number).mean().item()
        else:  # every epoch asks for it, and Python's arithmetic takes least
            mean = LOG_LIMIT * math.tanh(number.item() / LOG_LIMIT)
        return 0.5 * self.n_features * (math.log(2 * math.pi) + mean)


class HeteroscedasticGaussian(RealValued):
    """N(mean, sigma^2) with sigma^2 predicted from z, feature by feature, and never below 0.001.

    The decoder's numbers: mean (n_features), log(sigma^2 - 0.001) (n_features). The latter is
    bounded.
    """

    linear_model = "factor_analysis"

    @property
    def n_numbers(self) -> int:
        return 2 * self.n_features

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Distribution:
        mean, log_variance = numbers.split(self.n_features, -1)
        variance = SMALLEST_PREDICTED_VARIANCE + torch.exp(bounded(log_variance))
        return Normal(mean, torch.log(variance))

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        return _normal_draw(p, rng)

    def start(self, model: NamedTuple) -> tuple[Tensor, Tensor]:
        weight, bias, noise = map(float32, (model.loadings, model.offset, model.noise_variance))
        log_variance = unbounded(torch.log((noise - SMALLEST_PREDICTED_VARIANCE).clamp(min=1e-8)))
        return torch.cat([weight, torch.zeros_like(weight)]), torch.cat([bias, log_variance])


def _normal_draw(p: Distribution, rng: np.random.RandomState) -> np.ndarray:
    mean = p.mean.cpu().numpy()
    return mean + p.stddev.cpu().numpy() * rng.standard_normal(mean.shape)
