r"""From the places where training may start to the one net that is kept.

With rows held out, in order:

1. **Race.** Each start is trained until the held-out loss no longer falls. The first start, the linear
   model, is kept unless another does better on the held-out rows by more than two standard errors of
   the difference, so that chance does not decide on small tables. Where the loss cannot tell, within
   two standard errors, and the first both explains less than half the variance that the other does and
   leaves more than twice as much unexplained, the first has collapsed and the other takes over.
2. **Cool.** The winner goes on at a fifth of the learning rate, and then at a fifth of that, each time
   from its best weights until the held-out loss no longer falls.
3. **Refit.** What was held out is not wasted: from the same start a fresh net goes the same way, epoch
   by epoch, over all rows (Goodfellow et al. 2016, algorithm 7.2). Where no epoch helped, that is the
   linear model of all rows. A net trained on the rows held out should do no worse on them than one that
   was not; if it does, the way led elsewhere the second time, as it may where the noise is very small,
   and the first is kept. It is done for up to `FEW_ROWS` rows; with more of them a tenth hardly changes
   anything.
4. **Noise.** Its variance is settled last, by what the networks make of rows that they have not seen.
   Far from the centre rows are few and the errors larger: the noise grows there, sigma^2(z) = sigma^2
   ((1 + |z|^2 / d) / 2)^g, with g the slope of log squared error on log distance over the held-out rows
   (Harvey 1976), as ridge regression finds it with a prior N(0, 1), so that few rows give little. It is
   dropped where those rows lose by it, by more than two standard errors: if components tell nothing,
   the distance of the posterior mean says little about that of the draws. sigma^2 is scaled so that the
   squared errors over the rows trained on remain the same multiple of the noise. Then it is raised by
   what may be missing from it, since a density that expects too little noise loses without bound on rows
   farther out than it has seen, and one whose variance is r times too large only D/2 (log r + 1/r - 1)
   nats. One thing is what the start's mean squared error over the rows trained on exceeds its own over
   those held out (the difference estimator of sampling, Cochran 1977, section 7.9): if too few of the
   rows far out were held out, it shows there. With noise per feature it is the median of the features'
   own. The other is a row of a kind yet to come, which the networks rebuild no better than the first start
   rebuilds the others: it counts as one more, sigma^2 <- (n sigma^2 + max(sigma_0^2, sigma^2)) / (n + 1),
   as under a conjugate prior that is worth one row. And beyond R, the farthest that a row in training is
   from the centre or would be if it were drawn from the prior, the noise grows with a power of at least 1:
   of errors there nothing is known but that a wrong slope makes them grow with the distance.

With no rows held out the first start is trained, and that is all.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy.special import chdtri

from .._linear_start import SMALLEST_NOISE
from ..likelihoods import log_distance
from ..module import VAE
from ..training import VAENet
from .data import thinned
from .net import JUDGED

FEW_ROWS = 10_000
STANDARD_ERRORS = 2
COOLING = (0.2, 0.04)  # of the learning rate


class Run(NamedTuple):
    """A trained net and how it came to be.

    Attributes
    ----------
    net : VAENet
    start : callable
        Where it started.
    origin : VAE
        The module there.
    ways : list of list of (float, int)
        The way to the best weights, for each training on the way: at what share of the learning rate
        for how many epochs.
    """

    net: VAENet
    start: Callable
    origin: VAE
    ways: list


def best_net(build, starts, x, x_valid, epochs, seeds):
    """Train from each start and keep the best.

    Parameters
    ----------
    build : callable
        ``build() -> VAENet``, the same fresh net each time.
    starts : list of callable
        ``start(net, x, x_valid, train, origin)`` takes a fresh net to where its training starts, with
        ``train(net)`` on the way if need be. For a refit, `origin` is the module where the first training started.
    x : Tensor of shape (n, n_features)
        Rows to train on.
    x_valid : Tensor of shape (n_valid, n_features) or None
        Rows held out.
    epochs : int
        Epochs at most, each time that a net is trained.
    seeds : sequence of 3 int
        As for `VAENet.train_on`.

    Returns
    -------
    net : VAENet
        The trained net.
    watched : VAENet
        The net whose history and best loss are the fit's: the one trained with rows held out.
    """
    if x_valid is None:
        net = _run(build, starts[0], x, None, epochs, seeds).net
        return net, net
    judges, n = thinned(x_valid, JUDGED), len(x) + len(x_valid)
    best, *others = (_run(build, start, x, x_valid, epochs, seeds) for start in starts)
    first = best.origin
    for other in others:
        gain = best.net.sample_losses(judges) - other.net.sample_losses(judges)
        if _takes_over(gain, _explained(other.net.module_, judges), _explained(best.net.module_, judges)):
            best = other
    _cool(best, x, x_valid, epochs, seeds)
    net = best.net
    if n <= FEW_ROWS and isinstance(x, torch.Tensor):
        refit = _over_all_rows(build, best, x, x_valid, seeds)
        if refit.sample_losses(judges).mean() <= net.sample_losses(judges).mean():
            net = refit
    x_judged, likelihood = thinned(x, JUDGED), net.module_.likelihood
    if likelihood.measures_growth:
        _let_noise_grow(net.module_, best, x_judged, judges)
    if likelihood.learns_noise:
        _raise_noise(net.module_, best, first, x_judged, judges, n)
    if likelihood.measures_growth:
        likelihood.noise_reach = _reach(net.module_, torch.cat([x_judged, judges]), n)
    return net, best.net


def _run(build, start, x, x_valid, epochs, seeds):
    """Train a fresh net from one start."""
    net, ways = build(), []

    def train(net):
        net.train_on(x, x_valid, epochs, seeds)
        ways.append([(1.0, net.keep_best_.best_epoch_)])

    start(net, x, x_valid, train, None)
    origin = copy.deepcopy(net.module_)
    train(net)
    return Run(net, start, origin, ways)


def _cool(run, x, x_valid, epochs, seeds):
    """Go on at smaller learning rates, within the epochs that are left, unless a callback ended the training."""
    net, watch = run.net, run.net.keep_best_
    for share in COOLING:
        epochs -= watch.epochs_
        if watch.stopped_ and epochs > 0:
            net.fresh_optimizer(share)
            net.train_on(x, x_valid, epochs, seeds)
            run.ways[-1].append((share, watch.best_epoch_))


def _over_all_rows(build, run, x, x_valid, seeds):
    """A fresh net, taken the same way from the same start over all rows."""
    net, ways, x_all = build(), iter(run.ways), torch.cat([x, x_valid])
    net.watch_no_more()

    def train(net):
        for share, epochs in next(ways):
            if share < 1:
                net.fresh_optimizer(share)
            net.train_on(x_all, x_valid, epochs, seeds)

    run.start(net, x_all, x_valid, train, run.origin)
    train(net)
    return net


def _takes_over(gain, explained, explained_before):
    """Whether another start is better by the nats gained on each row, or as good and the first one collapsed."""
    verdict = _verdict(gain)
    collapsed = explained > 2 * explained_before and 2 * (1 - explained) < 1 - explained_before
    return verdict > 0 or (verdict == 0 and collapsed)


def _verdict(gain):
    """The sign of the mean of the nats gained on each row; 0 where two standard errors or one row leave it open."""
    if len(gain) < 2:
        return 0
    mean, doubt = gain.mean(), STANDARD_ERRORS * gain.std() / len(gain) ** 0.5
    return int(mean.sign()) if mean.abs() > doubt else 0


@torch.inference_mode()
def _explained(module, x):
    """Share of the variance of x (n, n_features) that the posterior mean explains, at least 0."""
    error = x - module.reconstruct(x)
    return max(0.0, 1 - (error.square().mean() / x.var(0, correction=0).mean()).item())


@torch.no_grad()
def _let_noise_grow(module, run, x, x_valid):
    """Let a module's noise grow with the distance as the held-out rows say, unless they clearly lose by it."""
    # A net that was trained on these rows has smaller errors there than on others as far out.
    watched = run.net
    growth, before = _growth(watched.module_, x_valid, module.likelihood), watched.sample_losses(x_valid)
    as_it_was = copy.deepcopy(watched.module_.state_dict())
    _set_growth(watched.module_, growth, x)
    gain = before - watched.sample_losses(x_valid)
    watched.module_.load_state_dict(as_it_was)
    if _verdict(gain) >= 0:
        _set_growth(module, growth, x)


def _set_growth(module, growth, x):
    """Let a module's noise grow so, its mean over the rows x unchanged."""
    likelihood = module.likelihood
    before = _errors(module, x, likelihood).mean()
    likelihood.noise_growth = growth
    likelihood.start_noise(likelihood.noise_variance * _errors(module, x, likelihood).mean() / before)


@torch.no_grad()
def _raise_noise(module, run, first, x, x_valid, n):
    """Raise the noise of a module learned from n rows by what may be missing from it."""
    likelihood = module.likelihood
    missed = _errors(run.origin, x, likelihood).mean(0) - _errors(run.origin, x_valid, likelihood).mean(0)
    noise = likelihood.noise_variance * (1 + missed.median().clamp(min=0))
    unknown = (x - first.reconstruct(x)).square().mean(0)
    unknown = torch.maximum(unknown if noise.ndim else unknown.mean(), noise)
    likelihood.start_noise((n * noise + unknown) / (n + 1))


def _errors(module, x, likelihood):
    """Squared errors of x (n, D) as shares of the noise, (n, D); where that is shared their means over D, (n, 1)."""
    z = module.encode(x).mean
    mean = module.decode(z).mean
    error = ((x - mean).square() / likelihood(mean, z).variance).clamp(min=SMALLEST_NOISE)
    return error if likelihood.noise_variance.ndim else error.mean(1, keepdim=True)


def _growth(module, x, likelihood):
    """The slope of log squared error on log distance, shrunk as by a prior N(0, 1), if positive."""
    z = module.encode(x).mean
    distance = log_distance(z).double()
    error = _errors(module, x, likelihood).double().mean(1, keepdim=True).log() + likelihood.log_growth(z)
    a, b = distance - distance.mean(), error - error.mean()
    return max(0.0, ((a * b).sum() / (a.square().sum() + b.square().mean()).clamp(min=SMALLEST_NOISE)).item())


@torch.inference_mode()
def _reach(module, x, n):
    """R: (1 + |z|^2 / d) / 2 at the farthest of the rows x, or at the farthest of n draws from the prior."""
    z = module.encode(x).mean
    of_prior = chdtri(z.shape[1], 1 / n) / z.shape[1]  # the quantile 1 - 1 / n of |z|^2 / d
    return (1 + max(z.square().mean(1).max().item(), of_prior)) / 2
