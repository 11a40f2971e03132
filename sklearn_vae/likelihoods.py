r"""The likelihood p(x | z): what a decoder's numbers mean, in nats.

A likelihood is a module that turns the decoder's numbers into a `torch.distributions.Distribution`
over rows, features independent given z; it may own learned noise. Its mean is what ``inverse_transform`` gives, its
draws are what ``sample`` gives, its log-probability is the reconstruction term of the bound, with
every constant kept.

    family                x in           the decoder's numbers
    Gaussian              R              mean
    HeteroscedasticGaussian  R           mean, log variance
    Bernoulli             {0, 1}         logit
    ContinuousBernoulli   [0, 1]         logit
    Poisson               0, 1, 2, ...   log rate
    NegativeBinomial      0, 1, 2, ...   log mean; a dispersion per feature is learned

The noise sigma^2 of the Gaussian is one fixed number, one learned number ("shared": the noise of
probabilistic PCA), one learned number per feature ("per_feature": that of factor analysis), each of
them times a power of the distance of z from the centre if the data ask for it; or any function of z
("heteroscedastic"). It decides the balance between reconstruction and KL: a squared
error alone is sigma^2 = 1/2.

For values strictly between 0 and 1 the Bernoulli expression is a cross-entropy and not a density:
such a score can be compared with other Bernoulli scores only.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution, Independent
from torch.distributions import NegativeBinomial as NegativeBinomialDistribution
from torch.distributions import Poisson as PoissonDistribution
from torch.nn.functional import mse_loss

LOG_LIMIT = 30.0
SMALLEST_PREDICTED_VARIANCE = 1e-3
STARTING_NOISE_VARIANCE = 0.1  # a learned noise started at 1 can collapse for good on a curved surface


def bounded(logarithm: Tensor) -> Tensor:
    """Keep a logarithm within +-30, smoothly: the identity near 0."""
    return LOG_LIMIT * torch.tanh(logarithm / LOG_LIMIT)


def unbounded(logarithm: Tensor) -> Tensor:
    """The inverse of `bounded`."""
    return LOG_LIMIT * torch.atanh((logarithm / LOG_LIMIT).clamp(-0.999, 0.999))


def float32(array: np.ndarray) -> Tensor:
    """A tensor in the precision of training."""
    return torch.as_tensor(array, dtype=torch.float32)


def log_distance(z: Tensor) -> Tensor:
    """How far from the centre z (..., d) is: log((1 + |z|^2 / d) / 2), of shape (..., 1)."""
    return torch.log1p(z.square().mean(-1, keepdim=True)) - math.log(2)


def by_row(p: Distribution) -> Distribution:
    """A distribution over rows, from one over their entries."""
    return Independent(p, 1, validate_args=False)


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
    learns_noise : bool
        Whether there is a noise variance of the model's own, learned.
    measures_growth : bool
        Whether it is to be found out how that noise grows with the distance of z from the centre.
    support : str
        The values that x may take, for people.
    remedy : str
        What to do with data that take others.
    """

    rescales = False
    learns_noise = False
    measures_growth = False
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

    def encode(self, x: Tensor) -> Tensor:
        """What the encoder sees of x."""
        return x

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Distribution:
        """p(x | z), over rows of n_features.

        Parameters
        ----------
        numbers : Tensor of shape (..., n_numbers)
            The decoder's, for z.
        z : Tensor of shape (..., d), optional
            Needed where the noise grows with it.
        """
        raise NotImplementedError

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        """Draws of p(x | z), one row per element of p."""
        raise NotImplementedError

    def start(self, model) -> tuple[Tensor, Tensor]:
        """Take a linear model: set the noise, give the decoder's weight and bias.

        Parameters
        ----------
        model : sklearn_vae.selection.linear.LinearModel

        Returns
        -------
        weight, bias : Tensor of shape (n_numbers, d) and (n_numbers,)
        """
        raise NotImplementedError

    def of_mean(self, mean: Tensor) -> Tensor:
        """The decoder's numbers that give about this mean (n_features,), where no linear model can be the start."""
        raise NotImplementedError


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
    everywhere, as in probabilistic PCA and factor analysis. Data with heavy tails have rows very far out,
    which no model rebuilds as it does the rest: they cost |x - mean|^2 / (2 sigma^2) nats where the noise
    does not grow, and about D/2 log |x - mean|^2 where it does. Beyond R, as far as a model has seen, nothing
    is known of its errors but that they grow with the distance at least in proportion, as those of any
    wrong slope do.

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
        self.log_variance.copy_(unbounded(torch.log(variance if self.log_variance.ndim else variance.mean())))

    def start(self, model) -> tuple[Tensor, Tensor]:
        self.start_noise(float32(model.noise_variance))
        return float32(model.loadings), float32(model.offset)

    @property
    def noise_variance(self) -> Tensor:
        """sigma^2, of shape () or (n_features,)."""
        return torch.exp(bounded(self.log_variance))

    def log_growth(self, z: Tensor) -> Tensor:
        """How much the noise has grown at z (..., d): log sigma^2(z) - log sigma^2, of shape (..., 1)."""
        distance = log_distance(z)
        growth = self.noise_growth * distance
        if self.noise_reach < math.inf and self.noise_growth < 1:
            growth = growth + (1 - self.noise_growth) * (distance - math.log(self.noise_reach)).clamp(min=0)
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


class Bernoulli(Likelihood):
    """x in {0, 1}; values between are accepted and scored by the cross-entropy."""

    support = "[0, 1]"
    remedy = "scale it with MinMaxScaler, or use likelihood='gaussian'"

    @staticmethod
    def supports(X):
        return (X >= 0) & (X <= 1)

    def of_mean(self, mean):
        return torch.logit(mean, eps=0.01)

    def forward(self, numbers, z=None):
        return by_row(BernoulliDistribution(logits=numbers, validate_args=False))

    def draw(self, p, rng):
        mean = p.mean.cpu().numpy()
        return (rng.random_sample(mean.shape) < mean).astype(mean.dtype)


class ContinuousBernoulliDistribution(Distribution):
    r"""The density that the cross-entropy lacks (Loaiza-Ganem & Cunningham 2019), on [0, 1].

    p(x) = C(lambda) lambda^x (1 - lambda)^(1 - x). In the logit eta of lambda this is an exponential,
    p(x) = eta exp(eta x) / (exp(eta) - 1), so with h = eta / 2

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

    def _by_size(self, series, exact):
        """``series(h^2)`` where |h| is small, ``exact(|h|)`` elsewhere; both see arguments they can take."""
        h = self.logits.abs() / 2
        small = h < self.SMALL
        return torch.where(small, series(torch.where(small, h, 0).square()), exact(torch.where(small, 1, h)))

    def log_prob(self, value):
        log_sinhc = self._by_size(
            lambda hh: hh / 6 - hh**2 / 180 + hh**3 / 2835,
            lambda h: h + torch.log(-torch.expm1(-2 * h)) - torch.log(2 * h),
        )
        return self.logits * (value - 0.5) - log_sinhc

    @property
    def mean(self):
        away = self._by_size(
            lambda hh: hh.sqrt() * (1 / 3 - hh / 45 + 2 * hh**2 / 945),
            lambda h: 1 / torch.tanh(h) - 1 / h,
        )
        return 0.5 + 0.5 * torch.sign(self.logits) * away

    @property
    def variance(self):
        return self._by_size(
            lambda hh: (1 / 3 - hh / 15 + 2 * hh**2 / 189) / 4,
            lambda h: (1 / h.square() - 4 * torch.exp(-2 * h) / torch.expm1(-2 * h).square()) / 4,
        )


class ContinuousBernoulli(Bernoulli):
    """A density on [0, 1], for grey values and proportions; the decoder gives the logit."""

    def forward(self, numbers, z=None):
        return by_row(ContinuousBernoulliDistribution(numbers))

    def draw(self, p, rng):
        """By the inverse of the distribution function, x = log(1 + u (exp(eta) - 1)) / eta."""
        eta = p.base_dist.logits.double().cpu().numpy()
        u = rng.random_sample(eta.shape)
        size = np.maximum(np.abs(eta), 1e-6)
        x = 1 + np.log(u + (1 - u) * np.exp(-size)) / size
        return np.where(eta >= 0, x, 1 - x).clip(0, 1)


class Count(Likelihood):
    """Base of the likelihoods of counts: the decoder gives the log of the mean, the encoder sees log(1 + x)."""

    support = "the counts 0, 1, 2, ..."
    remedy = "round it, or use likelihood='gaussian' for values that are not counts"

    @staticmethod
    def supports(X):
        return (X >= 0) & (np.floor(X) == X)

    def encode(self, x):
        return torch.log1p(x)

    def of_mean(self, mean):
        return unbounded(torch.log(mean.clamp(min=0.01)))

    def start(self, model):
        log_mean = unbounded(float32(model.offset))
        # Where the logarithm is bounded its slope is a little below 1.
        slope = 1 - torch.tanh(log_mean / LOG_LIMIT).square()
        return float32(model.loadings) / slope[:, None], log_mean


class Poisson(Count):
    """Counts whose variance is their mean; the decoder gives the log of the rate, bounded within +-30."""

    def forward(self, numbers, z=None):
        return by_row(PoissonDistribution(torch.exp(bounded(numbers)), validate_args=False))

    def draw(self, p, rng):
        return rng.poisson(p.mean.double().cpu().numpy()).astype(float)


class NegativeBinomial(Count):
    r"""Counts of variance mean + alpha mean^2, with a learned dispersion alpha per feature.

    The decoder gives the log of the mean, bounded within +-30. It is a Poisson whose rate is drawn
    from a gamma distribution of shape 1 / alpha and the given mean; alpha -> 0 is the Poisson.
    """

    def __init__(self, n_features: int):
        super().__init__(n_features)
        self.log_dispersion = nn.Parameter(torch.zeros(n_features))

    @property
    def dispersion(self) -> Tensor:
        """Alpha, of shape (n_features,)."""
        return torch.exp(bounded(self.log_dispersion))

    @torch.no_grad()
    def start(self, model):
        self.log_dispersion.copy_(unbounded(torch.log(float32(model.dispersion))))
        return super().start(model)

    def forward(self, numbers, z=None):
        log_dispersion = bounded(self.log_dispersion)
        logits = bounded(numbers) + log_dispersion
        return by_row(NegativeBinomialDistribution(torch.exp(-log_dispersion), logits=logits, validate_args=False))

    def draw(self, p, rng):
        mean = p.mean.double().cpu().numpy()
        shape = p.base_dist.total_count.double().cpu().numpy()
        return rng.poisson(rng.gamma(shape, mean / shape)).astype(float)


LIKELIHOODS = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
}
