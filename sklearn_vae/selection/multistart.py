r"""From the places where training may start to the one net that is kept.

With rows held out, in order:

1. **Multi-start.** From each start the net is trained until the held-out loss no longer falls. The
   first start, the linear model, is kept unless another does better on the held-out rows by more
   than two standard errors of the difference, so that chance does not decide on small tables. Where
   the loss cannot tell, within two standard errors, and the first both explains less than half the
   variance that the other does and leaves more than twice as much unexplained, the first has
   collapsed and the other takes over.
2. **Decay.** The winner goes on at a fifth of the learning rate, and then at a fifth of that, each
   time from its best weights until the held-out loss no longer falls.
3. **Refit.** What was held out is not wasted: from the same start the net goes the same way, epoch
   by epoch, over all rows (Goodfellow et al. 2016, algorithm 7.2). Where no epoch helped, that is
   the linear model of all rows. A net trained on the rows held out should do no worse on them, nor
   on all rows, than one that was not; if it does, the way led elsewhere the second time, as it may
   where the noise is very small, and the first is kept. It is done for up to `FEW_ROWS` rows; with
   more of them a tenth hardly changes anything.
4. **Calibration.** The likelihood settles last what held-out rows tell better than training, such
   as its noise (`Likelihood.calibrate`).
5. **Check.** If the result is worse than the first start on all rows, trained on and held out, the
   first start takes the same way without a step of training, and the better of the two is kept: a
   few held-out rows may say nothing of some that were trained on.

With no rows held out the first start is trained, and that is all; the rows trained on decide which
weights are kept. The weights at the start compete in every training.

One net goes through all of it: `history` counts its epochs without a break, and `stage_` says where
it is.
"""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from ..module import VAE
from ..training import KeepBest, Seeds, VAENet, thinned
from .evidence import JUDGED, Evidence, verdict

FEW_ROWS = 10_000
# Rows trained on and rows held out at most, by which the result is compared with the start.
CHECKED = 2_000
COOLING = (0.2, 0.04)  # of the learning rate


class Leg(NamedTuple):
    """A piece of the way to the best weights: so many epochs at a share of the learning rate."""

    share: float
    epochs: int


class Run(NamedTuple):
    """A training from one start.

    Attributes
    ----------
    start : callable
    origin : VAE
        The module where it started.
    weights : dict
        The best, as a state dict.
    legs : list of list of Leg
        The way to them, for each training from this start.
    epochs : list of dict
        Those of the history that belong to the last of these trainings.
    watch : KeepBest
        What it saw.
    losses : Tensor of shape (n_judged,)
        Of the held-out rows.
    before : float
        Mean loss of all rows where it started.
    explained : float
        Share of their variance that the posterior mean explains.
    still_improving : bool
        Whether the epochs allowed ended it, soon after an improvement.
    """

    start: Callable
    origin: VAE
    weights: dict
    legs: list
    epochs: list
    watch: KeepBest
    losses: torch.Tensor | None
    before: float
    explained: float
    still_improving: bool


class Trainer:
    """Trains one net from several starts over the same rows.

    Parameters
    ----------
    net : VAENet
        Initialised.
    x : Tensor of shape (n, n_features)
        Rows to train on.
    x_valid : Tensor of shape (n_valid, n_features) or None
        Rows held out.
    max_iter : int
        Epochs at most, from each start.
    seeds : Seeds
    epochs_before : int
        Epochs of an earlier fit that this one goes on from.
    """

    def __init__(
        self, net: VAENet, x, x_valid, max_iter: int, seeds: Seeds, epochs_before: int = 0
    ):
        self.net, self.x, self.x_valid, self.max_iter, self.seeds = net, x, x_valid, max_iter, seeds
        self.epochs_before = epochs_before
        self.drawn = net.weights()
        self.judged = None if x_valid is None else thinned(x_valid, JUDGED)

    def run(self, start: Callable, stage: str) -> Run:
        """Train from one start."""
        net, legs = self.net, []
        self._begin(stage)

        def train(net):
            net.train_on(self.x, self.x_valid, self.max_iter, self.seeds, self.epochs_before)
            legs.append([Leg(1.0, net.keep_best_.best_epoch_)])

        start(net, self.x, self.x_valid, train, None)
        origin, before, first = copy.deepcopy(net.module_), self.loss(), len(net.history)
        train(net)
        losses, explained = self._on_held_out()
        watch, epochs = copy.copy(net.keep_best_), list(net.history[first:])
        improving = not net.ended_ and watch.best_epoch_ > 0 and 2 * watch.misses_ < watch.patience
        return Run(
            start, origin, net.weights(), legs, epochs, watch, losses, before, explained, improving
        )

    def decay(self, run: Run) -> Run:
        """Go on at smaller learning rates, within the epochs that are left.

        Unless a callback ended the training.
        """
        net, first = self.net, len(self.net.history)
        net.load_weights(run.weights)
        net.stage_, watch, taken = "decay", run.watch, len(run.epochs)
        for share in COOLING:
            if watch.stopped_ and taken < self.max_iter:
                net.fresh_optimizer(share)
                left = self.max_iter - taken
                net.train_on(self.x, self.x_valid, left, self.seeds, self.epochs_before + taken)
                taken += net.keep_best_.epochs_
                watch = net.keep_best_
                run.legs[-1].append(Leg(share, watch.best_epoch_))
        losses, explained = self._on_held_out()
        epochs = [*run.epochs, *net.history[first:]]
        watch = copy.copy(watch)
        return run._replace(
            weights=net.weights(), epochs=epochs, watch=watch, losses=losses, explained=explained
        )

    def refit(self, run: Run) -> None:
        """Take the net the same way from the same start over all rows."""
        net, legs, x_all = self.net, iter(run.legs), torch.cat([self.x, self.x_valid])
        self._begin("refit")

        def train(net):
            taken = 0
            for share, epochs in next(legs):
                if share < 1:
                    net.fresh_optimizer(share)
                net.train_on(x_all, self.x_valid, epochs, self.seeds, self.epochs_before + taken)
                taken += epochs

        with net.keeping_the_last():
            run.start(net, x_all, self.x_valid, train, run.origin)
            train(net)

    def loss(self) -> float:
        """The net's mean over all rows; NaN if none is held out."""
        if self.x_valid is None:
            return math.nan
        parts = self.x, self.x_valid
        means = [self.net.sample_losses(thinned(part, CHECKED)).mean().item() for part in parts]
        return sum(len(part) * mean for part, mean in zip(parts, means, strict=True)) / sum(
            map(len, parts)
        )

    def untrained(self, run: Run) -> Run:
        """A run that ended where it started, which is where the net must be."""
        return run._replace(
            weights=self.net.weights(),
            legs=[[Leg(1.0, 0)]],
            losses=self.net.sample_losses(self.judged),
        )

    def _begin(self, stage):
        self.net.stage_ = stage
        self.net.load_weights(self.drawn)
        self.net.fresh_optimizer()

    def _on_held_out(self):
        if self.judged is None:
            return None, 0.0
        return self.net.sample_losses(self.judged), _explained(self.net.module_, self.judged)


def best_net(trainer: Trainer, starts: list, settle: bool = True) -> Run:
    """Train from each start, and leave the trainer's net at the best weights and noise.

    Parameters
    ----------
    trainer : Trainer
    starts : list of callable
        ``start(net, x, x_valid, train, origin)`` takes a net as it was drawn to where its training
        starts, with ``train(net)`` on the way if need be. For a refit, `origin` is the module where
        the first training started.
    settle : bool
        Whether held-out rows may be trained on in the end.

    Returns
    -------
    Run
        Whose epochs and best loss are the fit's: the one trained with rows held out.
    """
    net, x_valid = trainer.net, trainer.x_valid
    first = best = trainer.run(starts[0], "first start")
    if x_valid is None:
        return best
    for start in starts[1:]:
        other = trainer.run(start, "second start")
        if _takes_over(best.losses - other.losses, other.explained, best.explained):
            best = other
    best = trainer.decay(best)
    _finish(trainer, best, first.origin, settle)
    loss = trainer.loss()
    if loss > first.before:
        trained = net.weights()
        net.load_weights(first.origin.state_dict())
        _finish(trainer, trainer.untrained(first), first.origin, settle)
        if trainer.loss() >= loss:
            net.load_weights(trained)
    return best


def _finish(trainer, best, first, refit):
    """From the net at a run's best weights to one trained on all rows, and calibrated."""
    net, n = trainer.net, len(trainer.x) + len(trainer.x_valid)
    if refit and n <= FEW_ROWS and isinstance(trainer.x, torch.Tensor):
        loss = trainer.loss()
        trainer.refit(best)
        is_worse = net.sample_losses(trainer.judged).mean() > best.losses.mean()
        if is_worse or trainer.loss() > loss:
            net.load_weights(best.weights)
    evidence = Evidence(
        net,
        best.weights,
        best.origin,
        first,
        thinned(trainer.x, JUDGED),
        trainer.judged,
        n,
    )
    net.module_.likelihood.calibrate(evidence)


def _takes_over(gain, explained, explained_before):
    """Whether another start is better by the nats gained on each row.

    Or as good, where the first one collapsed.
    """
    sign = verdict(gain)
    collapsed = explained > 2 * explained_before and 2 * (1 - explained) < 1 - explained_before
    return sign > 0 or (sign == 0 and collapsed)


@torch.inference_mode()
def _explained(module, x):
    """Share of the variance of x (n, n_features) that the posterior mean explains, at least 0."""
    error = x - module.reconstruct(x)
    return max(0.0, 1 - (error.square().mean() / x.var(0, correction=0).mean()).item())
