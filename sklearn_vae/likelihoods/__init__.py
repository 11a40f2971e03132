r"""The likelihood p(x | z): what a decoder's numbers mean, in nats.

A likelihood is a module that turns the decoder's numbers into a `torch.distributions.Distribution`
over rows, features independent given z; it may own learned noise. Its mean is what
``inverse_transform`` gives, its draws are what ``sample`` gives, its log-probability is the
reconstruction term of the bound, with every constant kept.

    family                x in           the decoder's numbers
    Gaussian              R              mean
    HeteroscedasticGaussian  R           mean, log variance
    Bernoulli             {0, 1}         logit
    ContinuousBernoulli   [0, 1]         logit
    Poisson               0, 1, 2, ...   log rate
    NegativeBinomial      0, 1, 2, ...   log mean; a dispersion per feature is learned

The noise sigma^2 of the Gaussian has three forms. It is fixed, or one learned number ("shared", as
in probabilistic PCA), or one learned number per feature ("per_feature", as in factor analysis).
Each may be multiplied by a power of the distance of z from the centre (`noise.py`). The noise of
the heteroscedastic Gaussian is any function of z. The noise decides the balance between
reconstruction and KL: a squared error alone is sigma^2 = 1/2.

A user's own likelihood derives from `Likelihood`, or from `LocationScale` if it is a density around
a mean. It answers the questions that `Likelihood` lists, and nothing else is asked of it.

For values strictly between 0 and 1 the Bernoulli expression is a cross-entropy and not a density:
such a score can be compared with other Bernoulli scores only.
"""

from .base import LOG_LIMIT, Columns, Likelihood
from .binary import Bernoulli, ContinuousBernoulli
from .categorical import Categorical
from .counts import Count, NegativeBinomial, Poisson
from .gaussian import Gaussian, HeteroscedasticGaussian, LocationScale, RealValued
from .mixed import Mixed
from .noise import SMALLEST_NOISE, Noise, Rebuilt

__all__ = [
    "LIKELIHOODS",
    "LOG_LIMIT",
    "SMALLEST_NOISE",
    "Bernoulli",
    "Categorical",
    "Columns",
    "ContinuousBernoulli",
    "Count",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Likelihood",
    "LocationScale",
    "Mixed",
    "NegativeBinomial",
    "Noise",
    "Poisson",
    "RealValued",
    "Rebuilt",
]

LIKELIHOODS = {
    "gaussian": Gaussian,
    "heteroscedastic_gaussian": HeteroscedasticGaussian,
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
}
