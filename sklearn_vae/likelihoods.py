r"""The likelihood p(x | z): what a decoder's numbers mean, feature by feature, in nats.

A likelihood is a module that turns the decoder's numbers into a `torch.distributions.Distribution`
over the features; it may own learned noise. Its mean is what ``inverse_transform`` gives, its
draws are what ``sample`` gives, its log-probability is the reconstruction term of the bound, with
every constant kept.

    Gaussian     x in R          N(mean, sigma^2)          the decoder gives the mean
    Bernoulli    x in {0, 1}     x log p + (1 - x) log(1 - p)     the decoder gives logit p

The noise sigma^2 of the Gaussian is one fixed number, one learned number ("shared": the noise of
probabilistic PCA), or one learned number per feature ("per_feature": that of factor analysis). It
decides the balance between reconstruction and KL: a squared error alone is sigma^2 = 1/2.

For values strictly between 0 and 1 the Bernoulli expression is a cross-entropy and not a density:
such a score can be compared with other Bernoulli scores only.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution, Normal

LOG_VARIANCE_LIMIT = 20.0
STARTING_NOISE_VARIANCE = 0.1  # a learned noise started at 1 can collapse for good on a curved surface


class Likelihood(nn.Module):
    """Base of the families.

    Parameters
    ----------
    n_features : int
        Number of features.

    Attributes
    ----------
    rescales : bool
        Whether x may be centred and scaled: true of densities on all of R^D.
    support : str
        The values that x may take, for people.
    remedy : str
        What to do with data that take others.
    """

    rescales = False
    support = "any real number"
    remedy = ""

    def __init__(self, n_features: int):
        super().__init__()
        self.n_features = n_features

    @property
    def n_numbers(self) -> int:
        """How many numbers the decoder gives for each sample."""
        return self.n_features

    @staticmethod
    def supports(X: np.ndarray) -> np.ndarray:
        """Which entries of X are in the support."""
        return np.ones(X.shape, dtype=bool)

    def forward(self, numbers: Tensor) -> Distribution:
        """p(x | z) per feature, for the decoder's numbers of shape (..., n_numbers)."""
        raise NotImplementedError

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        """Draws of p(x | z), one per element of p."""
        raise NotImplementedError


class Gaussian(Likelihood):
    """N(mean, sigma^2).

    Parameters
    ----------
    n_features : int
        Number of features.
    noise_variance : {"shared", "per_feature"} or array-like of shape (n_features,)
        sigma^2: learned, one for all features or one for each; or fixed at these values.
    """

    rescales = True

    def __init__(self, n_features: int, noise_variance="shared"):
        super().__init__(n_features)
        if isinstance(noise_variance, str):
            shape = NOISE_SHAPES[noise_variance](n_features)
            self.log_variance = nn.Parameter(torch.empty(shape))
            self.start_noise(torch.full(shape, STARTING_NOISE_VARIANCE))
        else:
            self.register_buffer("log_variance", torch.empty(n_features))
            self.start_noise(torch.as_tensor(noise_variance, dtype=torch.float32))

    @torch.no_grad()
    def start_noise(self, variance: Tensor) -> None:
        """Set sigma^2, whose logarithm is bounded smoothly within +-20; its mean if there is but one."""
        ratio = torch.log(variance if self.log_variance.ndim else variance.mean()) / LOG_VARIANCE_LIMIT
        self.log_variance.copy_(LOG_VARIANCE_LIMIT * torch.atanh(ratio.clamp(-0.999, 0.999)))

    @property
    def noise_variance(self) -> Tensor:
        """sigma^2, of shape () or (n_features,)."""
        return torch.exp(LOG_VARIANCE_LIMIT * torch.tanh(self.log_variance / LOG_VARIANCE_LIMIT))

    def forward(self, numbers):
        return Normal(numbers, self.noise_variance.sqrt(), validate_args=False)

    def draw(self, p, rng):
        mean = p.mean.cpu().numpy()
        return mean + p.stddev.cpu().numpy() * rng.standard_normal(mean.shape)


class Bernoulli(Likelihood):
    """x in {0, 1}; values between are accepted and scored by the cross-entropy."""

    support = "[0, 1]"
    remedy = "scale it with MinMaxScaler, or use likelihood='gaussian'"

    @staticmethod
    def supports(X):
        return (X >= 0) & (X <= 1)

    def forward(self, numbers):
        return BernoulliDistribution(logits=numbers, validate_args=False)

    def draw(self, p, rng):
        mean = p.mean.cpu().numpy()
        return (rng.random_sample(mean.shape) < mean).astype(mean.dtype)


NOISE_SHAPES = {"shared": lambda n_features: (), "per_feature": lambda n_features: (n_features,)}
LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": Gaussian}
