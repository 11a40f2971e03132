r"""From the places where training may start to the one net that is kept.

With rows held out, in order:

1. **First start.** From the linear model the net is trained until the held-out loss no longer
   falls. The weights whose loss that is, and which are kept, are averages over the last steps
   (`averaging.py`), so the learning rate needs no decay.
2. **Second start.** Where the net then explains less than half of the variance of the held-out
   rows, it may have collapsed. So it is trained from the second start as well. This is given up if
   100 steps do not halve what the first left unexplained, or 25 do not take a twentieth of it away
   (`TRIAL`). A promising one is trained on with its noise held, and then at half the learning rate
   with the noise learned. Meanwhile its loss may stay above the first's for hundreds of steps, so
   both are given several times the patience. It takes over if it does better on the held-out rows
   by more than two standard errors of the difference, so that chance does not decide on small
   tables. It also takes over if the loss cannot tell, within two standard errors, and the first has
   collapsed. That means two things: the first explains less than half the variance that the other
   does, and leaves more than twice as much unexplained.
3. **Smaller steps.** With more than `FEW_ROWS` rows the net goes on at two fifths of the learning
   rate, as long as that adds half a per cent to all that was gained. Where no epoch helped it does
   so at a fifth, with fewer rows as well: small noise asks for small steps. A linear net does not,
   since it starts at the best linear model.
4. **Refit.** The held-out rows are used as well: the net goes on over all rows. It does so at half
   the learning rate, for a share of the epochs that were best. The share is `LONGER` times the
   number of held-out rows over that of rows trained on. It is a third with a tenth of the rows held
   out, and 1 with a quarter of them. Where no epoch helped, it is the linear model of all rows. A
   net trained on the held-out rows should do no worse on them, nor on all rows, than one that was
   not. If it does, the one before is kept. A refit is done for up to `FEW_ROWS` rows. With more a
   tenth of them hardly changes anything.
5. **Calibration.** The likelihood settles last what held-out rows tell better than training, such
   as its noise (`Likelihood.calibrate`).
6. **Check.** The result may be worse than the first start on all rows, trained on and held out,
   since a few held-out rows may say nothing of some that were trained on. Or training may have
   gained less on the held-out rows than two standard errors, which the linear model of all rows may
   gain as well. In both cases the first start goes through steps 4 and 5 without a step of
   training, and the better of the two is kept. Where the loss cannot tell, a collapsed one is
   dropped by the rule above.

With no rows held out the first start is trained, and that is all. The rows trained on then decide
which weights are kept. The weights at the start compete in every training.

One net goes through all of it: `history` counts its epochs without a break, and `progress_` says
where it is. There are five stages of training at most: the first start, the second start with its
noise held and then with its noise learned, the smaller steps and the refit. Where a callback, the
time limit or Ctrl-C has ended the fit, no training follows, and the best so far is settled.
"""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..batch import Batch
from ..module import VAE
from ..training import (
    KeepBest,
    Seeds,
    Snapshot,
    Stage,
    VAENet,
    has_limits,
    is_alone,
    passes_of,
    steps_of,
    thinned,
)
from .evidence import COMPARED, Evidence, verdict
from .linear import do_rows_tell_the_noise, give_noise, mean_squares

FEW_ROWS = 10_000
# Rows trained on and rows held out at most, by which the result is compared with the start.
CHECKED = 2_000
WELL_EXPLAINED = 0.5  # share of the held-out variance with which no second start is asked for
# Steps of a second start's trial, and the share of what the first start left unexplained that it
# has to explain after them.
TRIAL = (25, 0.05), (75, 0.5)
# The standard deviation of the noise, in the net's units, from which on steps have their full size,
# and the least share of it.
FULL_STEPS, SMALLEST_STEPS = 0.5, 0.1
FULL_WIDTH = 200  # features, up to which steps of any network have their full size
DECAY = 0.4  # of the learning rate, in the smaller steps; half of it where no step helped
# In the refit: of the best epochs, for each row held out per row trained on; of the learning rate.
LONGER, SHARE = 3, 0.5


class Losses(NamedTuple):
    """Losses of rows, in nats.

    Attributes
    ----------
    compared : Tensor of shape (n_compared,)
        Of the held-out rows, or of the rows trained on if there are none.

    of_all : Tensor
        Of some rows trained on and of those compared, in shares whose mean is that of all rows.
    """

    compared: Tensor
    of_all: Tensor


class Run(NamedTuple):
    """A training from one start.

    Attributes
    ----------
    start : callable
    origin, weights : Snapshot
        Of the module where it started, and at its best.

    is_trained : bool
        Whether steps of training led to them.

    epochs : list of dict
        Those of the history that belong to the training that ended there.

    watch : KeepBest
        What it saw.

    before, losses : Losses
        Where it started, and at its best. `before` is None if no rows are held out.

    share : float
        Of the learning rate, by which training goes on.

    explained : float
        Share of their variance that the posterior mean explains.

    still_improving : bool
        Whether the epochs allowed ended it, soon after an improvement.
    """

    start: Callable
    origin: Snapshot
    weights: Snapshot
    is_trained: bool
    epochs: list
    watch: KeepBest
    before: Losses | None
    losses: Losses
    share: float
    explained: float
    still_improving: bool


class Trainer:
    """Trains one net from several starts over the same rows.

    Parameters
    ----------
    net : VAENet
        Initialised.
    x : Batch
        Rows to train on.
    x_valid : Batch or None
        Rows held out.

    max_iter : int
        Epochs at most, from each start.

    seeds : Seeds
    epochs_before : int
        Epochs of an earlier fit that this one goes on from.

    Attributes
    ----------
    n_stages : int
        How many stages of training there may be.
    """

    n_stages = 1

    def __init__(
        self,
        net: VAENet,
        x: Batch,
        x_valid: Batch | None,
        max_iter: int,
        seeds: Seeds,
        epochs_before: int = 0,
    ):
        self.net, self.x, self.x_valid, self.max_iter, self.seeds = net, x, x_valid, max_iter, seeds
        self.epochs_before = epochs_before
        self.drawn = Snapshot(net.module_)
        # With no rows held out nothing is chosen by them.
        self.checked = thinned(x, CHECKED)
        self.compared = self.checked if x_valid is None else thinned(x_valid, COMPARED)
        self.n = len(x) + (0 if x_valid is None else len(x_valid))
        self.has_many_rows = self.n > FEW_ROWS

    def run(self, start: Callable, first: Run | None = None) -> Run | None:
        """Train from one start; if there is a first run, only where this one promises more."""
        net, promises = self.net, []
        if first is None:
            self._enter(1, "first start", self.max_iter)
        else:
            self._enter(2, "second start", sum(map(self._trial, TRIAL)) + self.max_iter)
        self._begin()
        net.keep_best_.is_thorough, net.keep_best_.is_followed = False, self.has_many_rows

        def train(net: VAENet) -> bool:
            promises.append(self._is_promising(first))
            return promises[-1]

        start(net, self.x, self.x_valid, train)
        if not all(promises):
            return None
        net.fresh_optimizer((SHARE if first else 1) * self._share())
        net.keep_best_.is_thorough = first is not None
        if first is not None:
            self._enter(3, "second start, noise learned", self.max_iter)
        origin, n_before = Snapshot(net.module_), len(net.history)
        before = None if self.x_valid is None else self.losses()
        self._train(self.max_iter)
        watch = copy.copy(net.keep_best_)
        is_new = before is None or watch.best_epoch_ > 0
        return Run(
            start,
            origin,
            Snapshot(net.module_),
            watch.best_epoch_ > 0 or first is not None,
            list(net.history[n_before:]),
            watch,
            before,
            self.losses() if is_new else before,
            self._share(),
            _explained(net.module_, self.compared),
            watch.still_improving_ and not net.ended_,
        )

    def _is_promising(self, first: Run) -> bool:
        """Train for a while; if much more is explained then than by the first run, to the end."""
        for trial in TRIAL:
            self._train_all(self.x, self._trial(trial))
            _, share = trial
            unexplained = 1 - _explained(self.net.module_, self.compared)
            if unexplained > (1 - share) * (1 - first.explained):
                return False
        self.net.keep_best_.is_thorough = True
        self._train(self.max_iter)
        return True

    def _trial(self, trial: tuple[int, float]) -> int:
        """How many epochs a trial has."""
        return min(self.max_iter, -(-trial[0] // steps_of(len(self.x), self.net.batch_size)))

    def _train(self, epochs: int) -> None:
        self.net.train_on(self.x, self.x_valid, epochs, self.seeds, self.epochs_before)

    def _train_all(self, rows: Batch, epochs: int) -> None:
        """Train on rows for all of the epochs.

        Their held-out loss is found only if somebody may see it.
        """
        net = self.net
        held_out = None if is_alone(net, VAENet) and not net.verbose else self.x_valid
        with net.keeping_the_last():
            net.train_on(rows, held_out, epochs, self.seeds, self.epochs_before)

    def _share(self) -> float:
        """Of the learning rate.

        A step moves what a layer gives in proportion to its number of inputs; those of a perceptron
        are limited one by one (`sklearn_vae.training.limits`). And with many rows, the smaller the
        noise the smaller the steps.
        """
        is_limited = has_limits(self.net)
        share = 1.0 if is_limited else min(1.0, FULL_WIDTH / self.net.module__n_features)
        noise = self.net.module_.likelihood.noise
        if noise is None or not self.has_many_rows:
            return share
        sigma = noise.variance.mean().sqrt().item()
        return share * min(1.0, max(SMALLEST_STEPS, sigma / FULL_STEPS))

    def decay(self, run: Run, stage: int) -> Run:
        """Go on from the best weights, where the net is, at a smaller learning rate."""
        net, n_before, left = self.net, len(self.net.history), self.max_iter - len(run.epochs)
        if not run.watch.stopped_ or not left or net.ended_by_:
            return run
        share = (DECAY if run.is_trained else DECAY / 2) * run.share
        self._enter(stage, "smaller steps", left)
        net.fresh_optimizer(share)
        net.keep_best_.before = run.watch
        self._train(left)
        net.keep_best_.before = None
        watch = copy.copy(net.keep_best_)
        return run._replace(
            weights=Snapshot(net.module_),
            is_trained=run.is_trained or watch.best_epoch_ > 0,
            epochs=[*run.epochs, *net.history[n_before:]],
            watch=watch,
            losses=self.losses() if watch.best_epoch_ > 0 else run.losses,
            share=share,
            explained=_explained(net.module_, self.compared),
        )

    def refit(self, run: Run) -> None:
        """Let the net, which is at a run's best weights, go on over all rows.

        If they are where it started, it is taken to the same start, of all rows.
        """
        net, x_all = self.net, Batch.joined([self.x, self.x_valid])
        if not run.is_trained:
            noise = net.module_.likelihood.noise
            told = None if noise is None else noise.variance.detach().clone()
            self._begin()
            run.start(net, x_all, None, None)
            if told is not None and not do_rows_tell_the_noise(self.x, x_all.x.shape[1]):
                give_noise(net.module_, told)  # which rows told that were held out then
            return
        if net.ended_by_:
            return
        passes, of_all = (passes_of(len(rows), net.batch_size) for rows in (self.x, x_all))
        share = LONGER * len(self.x_valid) / len(self.x) * passes / of_all
        epochs = math.ceil(share * run.watch.best_epoch_)
        self._enter(self.n_stages, "refit", epochs)
        net.fresh_optimizer(SHARE * run.share)
        self._train_all(x_all, epochs)

    def losses(self) -> Losses:
        """The net's, on the rows that are compared."""
        compared = self.net.sample_losses(self.compared)
        if self.x_valid is None:
            return Losses(compared, compared)
        parts = [(len(self.x), self.net.sample_losses(self.checked)), (len(self.x_valid), compared)]
        share = sum(len(losses) for _, losses in parts) / self.n
        of_all = torch.cat([share * n / len(losses) * losses for n, losses in parts])
        return Losses(compared, of_all)

    def most_stages(self, n_starts: int, settle: bool) -> int:
        """How many stages of training there may be."""
        if self.x_valid is None:
            return 1
        return 2 * n_starts - 1 + self.may_decay + self.refits(settle)

    @property
    def may_decay(self) -> bool:
        """Whether smaller steps may help: they do not where the start is the best linear model."""
        return self.has_many_rows or not self.net.module_.is_linear

    def refits(self, settle: bool) -> bool:
        """Whether the net goes on over all rows in the end."""
        return settle and not self.has_many_rows and isinstance(self.x, Batch)

    def _enter(self, number: int, title: str, epochs: int) -> None:
        self.net.progress_ = Stage(number, self.n_stages, title, epochs)

    def _begin(self) -> None:
        self.drawn.put_back()
        self.net.fresh_optimizer()


def best_net(trainer: Trainer, starts: list, settle: bool = True) -> Run:
    """Train from each start, and leave the trainer's net at the best weights and noise.

    Parameters
    ----------
    trainer : Trainer
    starts : list of callable
        ``start(net, x, x_valid, train)`` takes a net as it was drawn to where its training starts.
        It may call ``train(net)``, which returns whether to go on.

    settle : bool
        Whether held-out rows may be trained on in the end.

    Returns
    -------
    Run
        Whose epochs and best loss are the fit's: the one trained with rows held out.
    """
    net, x_valid = trainer.net, trainer.x_valid
    trainer.n_stages = trainer.most_stages(len(starts), settle)
    first = best = trainer.run(starts[0])
    if x_valid is None:
        return best
    if first.explained < WELL_EXPLAINED and not net.ended_by_:
        for start in starts[1:]:
            other = trainer.run(start, first)
            if other is None:
                continue
            gain = best.losses.compared - other.losses.compared
            if _takes_over(gain, other.explained, best.explained):
                best = other
    best.weights.put_back()
    if trainer.has_many_rows or (trainer.may_decay and not best.is_trained):
        best = trainer.decay(best, 2 * len(starts))
    _finish(trainer, best, first.origin, settle)
    is_doubtful = best.is_trained and trainer.refits(settle) and not _is_clear(best)
    losses = trainer.losses().of_all
    if is_doubtful or losses.mean() > first.before.of_all.mean():
        trained, explained = Snapshot(net.module_), _explained(net.module_, trainer.compared)
        first.origin.put_back()
        start = first._replace(weights=first.origin, is_trained=False, losses=first.before)
        _finish(trainer, start, first.origin, settle)
        gain = trainer.losses().of_all - losses
        of_start = _explained(net.module_, trainer.compared)
        if gain.mean() >= 0 or _takes_over(gain, explained, of_start):
            trained.put_back()
    return best


def _is_clear(run: Run) -> bool:
    """Whether training lowered the loss of the compared rows by over two standard errors."""
    return verdict(run.before.compared - run.losses.compared) > 0


def _finish(trainer: Trainer, best: Run, first: Snapshot, refit: bool) -> None:
    """From the net at a run's best weights to one trained on all rows, and calibrated."""
    net = trainer.net
    if trainer.refits(refit):
        trainer.refit(best)
        pairs = zip(trainer.losses(), best.losses, strict=True)
        # What is not a number is not better either.
        if not all(now.mean() <= before.mean() for now, before in pairs):
            best.weights.put_back()
    x = thinned(trainer.x, COMPARED)
    evidence = Evidence(net, best.weights, first, x, trainer.compared, trainer.n)
    net.module_.likelihood.calibrate(evidence)


def _takes_over(gain: Tensor, explained: float, explained_before: float) -> bool:
    """Whether another start is better by the nats gained on each row.

    Or as good, where the first one collapsed.
    """
    sign = verdict(gain)
    collapsed = explained > 2 * explained_before and 2 * (1 - explained) < 1 - explained_before
    return sign > 0 or (sign == 0 and collapsed)


@torch.inference_mode()
def _explained(module: VAE, rows: Batch) -> float:
    """Share of the variance of rows that the posterior mean explains, at least 0."""
    variance = rows.mean((rows.x - rows.mean(rows.x)).square())
    return max(0.0, 1 - (mean_squares(module, rows).mean() / variance.mean()).item())
