r"""How large the noise of a trained module is, settled last, by rows new to its networks.

Far from the centre rows are few and the errors larger: the noise grows there, sigma^2(z) = sigma^2
((1 + |z|^2 / d) / 2)^g, with g the slope of log squared error on log distance over the held-out
rows (Harvey 1976), as ridge regression finds it with a prior N(0, 1), so that few rows give little.
It is dropped where those rows lose by it, by more than two standard errors: if components tell
nothing, the distance of the posterior mean says little about that of the draws. sigma^2 is scaled
so that the squared errors over the rows trained on remain the same multiple of the noise.

Then sigma^2 is raised by what may be missing from it, since a density that expects too little noise
loses without bound on rows farther out than it has seen, and one whose variance is r times too
large only D/2 (log r + 1/r - 1) nats. One thing is what the start's mean squared error over the
rows trained on exceeds its own over those held out (the difference estimator of sampling, Cochran
1977, section 7.9): if too few of the rows far out were held out, it shows there. With noise per
feature it is the median of the features' own. The other is a row of a kind yet to come, which the
networks rebuild no better than the first start rebuilds the others: it counts as one more,
sigma^2 <- (n sigma^2 + max(sigma_0^2, sigma^2)) / (n + 1), as under a conjugate prior that is worth
one row.

And beyond R, the farthest that a row in training is from the centre or would be if it were drawn
from the prior, the noise grows with a power of at least 1: of errors there nothing is known but
that a wrong slope makes them grow with the distance.
"""

import torch
from scipy.special import chdtri

from ..likelihoods import log_distance
from .linear import SMALLEST_NOISE

STANDARD_ERRORS = 2


def verdict(gain):
    """The sign of the mean of the nats gained on each row.

    0 where two standard errors or one row leave it open.
    """
    if len(gain) < 2:
        return 0
    mean, doubt = gain.mean(), STANDARD_ERRORS * gain.std() / len(gain) ** 0.5
    return int(mean.sign()) if mean.abs() > doubt else 0


@torch.no_grad()
def let_noise_grow(net, watched, x, x_valid):
    """Let a net's noise grow with the distance as held-out rows say.

    It does not where they clearly lose by it.

    Parameters
    ----------
    net : VAENet
    watched : dict
        Weights that were not trained on the held-out rows: those that were have smaller errors
        there than on others as far out.
    x, x_valid : Tensor of shape (n, n_features) and (n_valid, n_features)
        Rows trained on and rows held out.
    """
    with net.holding(watched) as module:
        growth, before = growth_of(module, x_valid), net.sample_losses(x_valid)
        _set_growth(module, growth, x)
        gain = before - net.sample_losses(x_valid)
    if verdict(gain) >= 0:
        _set_growth(net.module_, growth, x)


def _set_growth(module, growth, x):
    """Let a module's noise grow so, its mean over the rows x unchanged."""
    likelihood = module.likelihood
    before = errors(module, x).mean()
    likelihood.noise_growth = growth
    likelihood.start_noise(likelihood.noise_variance * errors(module, x).mean() / before)


@torch.no_grad()
def raise_noise(module, origin, first, x, x_valid, n):
    """Raise the noise of a module learned from n rows by what may be missing from it.

    Parameters
    ----------
    module : VAE
    origin, first : VAE
        Where its training started, and where the first start's did.
    x, x_valid : Tensor of shape (n, n_features) and (n_valid, n_features)
        Rows trained on and rows held out.
    n : int
    """
    likelihood = module.likelihood
    missed = errors(origin, x, likelihood).mean(0) - errors(origin, x_valid, likelihood).mean(0)
    noise = likelihood.noise_variance * (1 + missed.median().clamp(min=0))
    unknown = (x - first.reconstruct(x)).square().mean(0)
    unknown = torch.maximum(unknown if noise.ndim else unknown.mean(), noise)
    likelihood.start_noise((n * noise + unknown) / (n + 1))


def errors(module, x, likelihood=None):
    """Squared errors of x (n, D) as shares of the noise, (n, D).

    Where that is shared their means over D, (n, 1).
    """
    likelihood = likelihood or module.likelihood
    z = module.encode(x).mean
    mean = module.decode(z).mean
    error = ((x - mean).square() / likelihood(mean, z).variance).clamp(min=SMALLEST_NOISE)
    return error if likelihood.noise_variance.ndim else error.mean(1, keepdim=True)


def growth_of(module, x):
    """The slope of log squared error on log distance, shrunk as by a prior N(0, 1), if positive."""
    z = module.encode(x).mean
    distance = log_distance(z).double()
    error = errors(module, x).double().mean(1, keepdim=True).log() + module.likelihood.log_growth(z)
    a, b = distance - distance.mean(), error - error.mean()
    return max(
        0.0,
        ((a * b).sum() / (a.square().sum() + b.square().mean()).clamp(min=SMALLEST_NOISE)).item(),
    )


@torch.inference_mode()
def reach(module, x, n):
    """R: (1 + |z|^2 / d) / 2 at the farthest of the rows x, or of n draws from the prior."""
    z = module.encode(x).mean
    of_prior = chdtri(z.shape[1], 1 / n) / z.shape[1]  # the quantile 1 - 1 / n of |z|^2 / d
    return float(1 + max(z.square().mean(1).max().item(), of_prior)) / 2
