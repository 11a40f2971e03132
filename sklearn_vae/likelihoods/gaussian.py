"""The Gaussian likelihoods: fixed or learned noise, or noise predicted from z.

Learned noise may grow with the distance.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import mse_loss

from .base import Likelihood, bounded, float32, log_distance, unbounded

SMALLEST_PREDICTED_VARIANCE = 1e-3
STARTING_NOISE_VARIANCE = (
    0.1  # a learned noise started at 1 can collapse for good on a curved surface
)


class DiagonalNormal(Distribution):
    r"""N(mean, diag(sigma^2)) over rows of D features.

        log p(x) = -1/2 (sum_j (x_j - mean_j)^2 / sigma_j^2 + sum_j log sigma_j^2 + D log 2 pi)

    Where sigma^2 is the same for all, it scales the sum and not each of its terms: half the work.

    Parameters
    ----------
    mean : Tensor of shape (..., D)
    log_variance : Tensor of shape (), (D,), (..., 1) or (..., D)
        log sigma^2.
    """

    arg_constraints = {}

    def __init__(self, mean: Tensor, log_variance: Tensor):
        self.loc, self.log_variance = mean, log_variance
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    def log_prob(self, value):
        D = self.loc.shape[-1]
        constant = D * math.log(2 * math.pi)
        # The difference and its square are one kernel, and one more in the backward pass.
        squares = mse_loss(self.loc, value.expand_as(self.loc), reduction="none")
        precision = torch.exp(-self.log_variance)
        if self.log_variance.ndim == 0:
            log_norm = torch.rsub(self.log_variance, -0.5 * constant, alpha=0.5 * D)
            return torch.addcmul(log_norm, squares.sum(-1), precision, value=-0.5)
        if self.log_variance.shape[-1] == 1:
            deviance = squares.sum(-1) * precision[..., 0] + D * self.log_variance[..., 0]
        else:
            deviance = (squares * precision).sum(-1) + self.log_variance.sum(-1)
        return -0.5 * (deviance + constant)

    @property
    def mean(self):
        return self.loc

    @property
    def variance(self):
        return torch.exp(self.log_variance).expand_as(self.loc)


class Normal(Likelihood):
    """Base of the Gaussian likelihoods, on all of R^D."""

    rescales = True

    def draw(self, p, rng):
        mean = p.mean.cpu().numpy()
        return mean + p.stddev.cpu().numpy() * rng.standard_normal(mean.shape)


class Gaussian(Normal):
    r"""N(mean, sigma^2(z)), where the noise may grow with the distance from the centre.

        sigma^2(z) = sigma^2 r^g max(1, r / R)^max(0, 1 - g),  r = (1 + |z|^2 / d) / 2

    so sigma^2 is the variance where |z|^2 is d, its mean under the prior. With g = 0 it is the same
    everywhere, as in probabilistic PCA and factor analysis. Data with heavy tails have rows very
    far out, which no model rebuilds as it does the rest: they cost |x - mean|^2 / (2 sigma^2) nats
    where the noise does not grow, and about D/2 log |x - mean|^2 where it does. Beyond R, as far as
    a model has seen, nothing is known of its errors but that they grow with the distance at least
    in proportion, as those of any wrong slope do.

    Parameters
    ----------
    n_features : int
        Number of features.
    noise_variance : {"shared", "per_feature"} or array-like of shape (n_features,)
        sigma^2: learned, one for all features or one for each; or fixed at these values.
    noise_growth : "auto" or float
        g: to be measured when training ends, if the noise is learned; or fixed at this value.

    Attributes
    ----------
    noise_growth : float
        g.
    noise_reach : float
        R: infinite until training ends, and where g is fixed.
    """

    def __init__(self, n_features: int, noise_variance="shared", noise_growth=0.0):
        super().__init__(n_features)
        self.learns_noise = isinstance(noise_variance, str)
        self.measures_growth = noise_growth == "auto" and self.learns_noise
        self.noise_growth = 0.0 if noise_growth == "auto" else float(noise_growth)
        self.noise_reach = math.inf
        if self.learns_noise:
            shape = {"shared": (), "per_feature": (n_features,)}[noise_variance]
            self.log_variance = nn.Parameter(torch.empty(shape))
            self.start_noise(torch.full(shape, STARTING_NOISE_VARIANCE))
        else:
            self.register_buffer("log_variance", torch.empty(n_features))
            self.start_noise(torch.as_tensor(noise_variance, dtype=torch.float32))

    @torch.no_grad()
    def start_noise(self, variance: Tensor) -> None:
        """Set sigma^2, whose logarithm is bounded within +-30; its mean if there is but one."""
        self.log_variance.copy_(
            unbounded(torch.log(variance if self.log_variance.ndim else variance.mean()))
        )

    def start(self, model) -> tuple[Tensor, Tensor]:
        self.start_noise(float32(model.noise_variance))
        return float32(model.loadings), float32(model.offset)

    @property
    def noise_variance(self) -> Tensor:
        """sigma^2, of shape () or (n_features,)."""
        return torch.exp(bounded(self.log_variance))

    def log_growth(self, z: Tensor) -> Tensor:
        """How much the noise has grown at z (..., d).

        It is log sigma^2(z) - log sigma^2, of shape (..., 1).
        """
        distance = log_distance(z)
        growth = self.noise_growth * distance
        if self.noise_reach < math.inf and self.noise_growth < 1:
            growth = growth + (1 - self.noise_growth) * (
                distance - math.log(self.noise_reach)
            ).clamp(min=0)
        return growth

    def forward(self, numbers, z=None):
        log_variance = bounded(self.log_variance)
        if self.noise_growth or self.noise_reach < math.inf:
            log_variance = log_variance + self.log_growth(z)
        return DiagonalNormal(numbers, log_variance)

    def get_extra_state(self):
        # Saved numbers are finite; 0 stands for infinity, since R is at least 1/2.
        reach = self.noise_reach if self.noise_reach < math.inf else 0.0
        return torch.tensor([self.noise_growth, reach], dtype=torch.float64)

    def set_extra_state(self, state):
        self.noise_growth, reach = state.tolist()
        self.noise_reach = reach or math.inf


class HeteroscedasticGaussian(Normal):
    """N(mean, sigma^2) with sigma^2 predicted from z, feature by feature, and never below 0.001.

    The decoder's numbers: mean (n_features), log(sigma^2 - 0.001) (n_features), the latter bounded.
    """

    @property
    def n_numbers(self):
        return 2 * self.n_features

    def forward(self, numbers, z=None):
        mean, log_variance = numbers.split(self.n_features, -1)
        variance = SMALLEST_PREDICTED_VARIANCE + torch.exp(bounded(log_variance))
        return DiagonalNormal(mean, torch.log(variance))

    def start(self, model):
        weight, bias, noise = map(float32, (model.loadings, model.offset, model.noise_variance))
        log_variance = unbounded(torch.log((noise - SMALLEST_PREDICTED_VARIANCE).clamp(min=1e-8)))
        return torch.cat([weight, torch.zeros_like(weight)]), torch.cat([bias, log_variance])
