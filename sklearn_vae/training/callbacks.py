"""Callbacks of a training: the best weights, early stopping, and the warm-up of the KL."""

import copy
import math
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import Dataset

from .batches import passes_of
from .layout import joined, tensors_of

# Patience that is chosen: ENOUGH passes over the rows within these steps, FEWEST_EPOCHS, a share of
# the epochs taken; the smaller share where smaller steps follow.
ENOUGH, LEAST_STEPS, MOST_STEPS = 20, 30, 200
FEWEST_EPOCHS, SHARE, SMALL_SHARE = 5, 0.2, 0.1
# Times those passes, and times the most steps, where the patience is to be thorough.
THOROUGH, THOROUGH_MOST = 8, 4
# What an improvement is, as a share of all that was gained since the start, and in a training that
# goes on from another.
WORTH, WORTH_AFTER = 0.01, 0.005


class StopTraining(Exception):
    """Raised by a callback to end the whole fit, which keeps the best weights so far."""


class StageIsOver(StopTraining):
    """Raised to end one of a fit's trainings; the fit goes on."""


class Snapshot:
    """A copy of a module's state, which can be put back.

    A state dict takes ten times as long: here the tensors are looked for once. What a module's
    `get_extra_state` gives is copied as well.
    """

    def __init__(self, module: nn.Module):
        self.own = joined([tensor.detach() for tensor in tensors_of(module)])
        self.copies = [torch.empty_like(tensor) for tensor in self.own]
        plain = nn.Module.get_extra_state
        self.others = [m for m in module.modules() if type(m).get_extra_state is not plain]
        self.take()

    def take(self) -> None:
        """Copy what the module has now."""
        torch._foreach_copy_(self.copies, self.own)
        states = [other.get_extra_state() for other in self.others]
        # A deep copy of a tensor takes ten times as long.
        self.states = [s.clone() if isinstance(s, Tensor) else copy.deepcopy(s) for s in states]

    def put_back(self) -> None:
        """Let the module have what was copied last."""
        torch._foreach_copy_(self.own, self.copies)
        for other, state in zip(self.others, self.states, strict=True):
            other.set_extra_state(state)


class Fall:
    """How far a loss has fallen.

    Attributes
    ----------
    first, lowest : float
        Where it began, and its least so far.
    mark : float
        Its least when it last counted as fallen.
    """

    def __init__(self, first: float | None = None):
        self.first, self.lowest, self.mark = first, math.inf, math.inf

    def note(self, loss: float) -> None:
        """Take the loss after one more epoch."""
        self.first = loss if self.first is None else self.first
        self.lowest = min(self.lowest, loss)

    def is_new(self, tol: float, worth: float) -> bool:
        """Whether it is below the mark by more than `tol` and a share of its whole fall."""
        if self.lowest >= self.mark - max(tol, worth * (self.first - self.lowest)):
            return False
        self.mark = self.lowest
        return True


class KeepBest(Callback):
    """Watch the validation loss: stop when it no longer falls, and go back to the best weights.

    The weights before the first epoch compete as well. A learned noise is that of the rows trained
    on, and a few held-out rows with large errors may make the validation loss rise while the
    networks still get better. So the best weights are those whose loss is least at the noise which
    suits the held-out rows best (`Likelihood.at_best_noise`). Training goes on while that loss or
    the validation loss falls. Without validation data the rows trained on are watched, up to 10,000
    of them, by their loss as it is. Deviates are the same each time. Epochs in which the KL does
    not yet have its full weight do not count as misses.

    Parameters
    ----------
    patience : int, float or "auto"
        Epochs without an improvement of more than `tol` before training stops. "auto" means 20
        passes over the rows, but at least 30 steps and at most `most_steps`. It also means at least
        five epochs, and a fifth of those so far. What was gained since the start then has to grow
        by 1 % to count as an improvement.

    tol : float
        Nats per sample.
    most_steps : int
        Those at most.

    Attributes
    ----------
    best_ : float
        The validation loss of the best weights, or the loss of the rows trained on if none were
        held out.

    misses_ : int
        Epochs since the last improvement.

    epochs_, best_epoch_ : int
        How many epochs this training took, and after how many of them the weights were best.

    passes_ : int
        How many times each of its epochs goes through the rows.

    still_improving_ : bool
        Whether the last improvement was so recent that more epochs promise more.

    is_thorough : bool
        Whether "auto" waits for eight times as long and up to four times the steps, and every
        improvement of `tol` counts.
    stopped_ : bool
        Whether this callback ended the training.

    is_followed : bool
        Whether a training with smaller steps follows this one. "auto" then waits for a tenth of the
        epochs so far.
    before : KeepBest or None
        Of the training that this one goes on from. What that one gained counts as well, and half a
        per cent of it all is an improvement.
    """

    best_, misses_, epochs_, best_epoch_, passes_, kept_ = math.inf, 0, 0, 0, 1, None
    still_improving_, stopped_, is_thorough, is_followed, before = False, False, False, False, None

    def __init__(
        self, patience: float | str = math.inf, tol: float = 0.0, most_steps: int = MOST_STEPS
    ):
        self.patience = patience
        self.tol = tol
        self.most_steps = most_steps

    def on_train_begin(self, net: NeuralNet, X: Any, **kwargs: Any) -> None:
        self.passes_ = passes_of(len(X), net.batch_size)
        firsts = (None, None) if self.before is None else self.before.firsts_
        self.watched_, self.best_ = tuple(map(Fall, firsts)), math.inf
        self.misses_, self.kept_ = 0, None
        self.epochs_ = self.best_epoch_ = 0
        self.still_improving_ = self.stopped_ = False

    def on_epoch_begin(
        self, net: NeuralNet, dataset_valid: Dataset | None = None, **kwargs: Any
    ) -> None:
        if self.kept_ is None:
            self._offer(net, net.loss_of(dataset_valid or net.watched_rows_), dataset_valid)

    def on_epoch_end(
        self, net: NeuralNet, dataset_valid: Dataset | None = None, **kwargs: Any
    ) -> None:
        self.epochs_ += 1
        loss = net.history[-1]["valid_loss"] if dataset_valid else net.loss_of(net.watched_rows_)
        self._offer(net, loss, dataset_valid)
        worth = WORTH if self.before is None else WORTH_AFTER
        worth = 0 if self.patience != "auto" or self.is_thorough else worth
        has_fallen = [fall.is_new(self.tol, worth) for fall in self.watched_]
        in_warmup = net.epoch_ <= net.criterion_.kl_warmup
        self.misses_ = 0 if any(has_fallen) or in_warmup else self.misses_ + 1
        if self.misses_ >= self.epochs_allowed(net):
            self.stopped_ = True
            raise StageIsOver

    @property
    def firsts_(self) -> list[float]:
        """Where the losses that are watched began."""
        return [fall.first for fall in self.watched_]

    def epochs_allowed(self, net: NeuralNet) -> float:
        """Epochs without an improvement that are allowed now."""
        if self.patience != "auto":
            return self.patience
        per_epoch = max(net.average_.steps, 1) / max(self.epochs_, 1)
        longer, most = (THOROUGH, THOROUGH_MOST) if self.is_thorough else (1, 1)
        enough = longer * max(ENOUGH / self.passes_, LEAST_STEPS / per_epoch)
        enough = min(enough, most * self.most_steps / per_epoch)
        share = SMALL_SHARE if self.is_followed and self.before is None else SHARE
        return max(enough, FEWEST_EPOCHS, share * self.epochs_)

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.still_improving_ = self.best_epoch_ > 0 and 2 * self.misses_ < self.epochs_allowed(net)
        if self.kept_ is not None:
            self.kept_.put_back()
        self.kept_ = None

    def _offer(self, net: NeuralNet, loss: float, held_out: Dataset | None) -> None:
        at_best_noise = loss if held_out is None else net.at_best_noise(loss)
        if self.kept_ is None or at_best_noise < self.watched_[0].lowest:
            self.best_, self.best_epoch_ = loss, self.epochs_
            self.kept_ = self.kept_ or Snapshot(net.module_)
            self.kept_.take()
        for fall, value in zip(self.watched_, (at_best_noise, loss), strict=True):
            fall.note(value)


class KLWarmUp(Callback):
    """Let the objective's `warmup` grow from 0 to 1, linearly over its first epochs."""

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        objective = net.criterion_
        epochs = objective.kl_warmup
        objective.warmup = min(1.0, (net.epoch_ - 1) / epochs) if epochs else 1.0
