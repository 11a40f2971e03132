"""Where a fit is: its stages, the table that `verbose=1` prints, and who else is told.

A fit trains its net in several stages (`sklearn_vae.selection.multistart`), so one table shows all
of them. A loss under a noise that is held fixed means little beside one under a noise that is
learned. The table therefore shows what such a stage comes to once its noise is fitted to the
held-out rows, as it is where that stage ends. So all losses of the table can be compared.
"""

from typing import Any, Protocol

from skorch import NeuralNet
from skorch.callbacks import Callback, PrintLog
from torch.utils.data import Dataset

from .batches import Rows, thinned
from .callbacks import StopTraining
from .terms import TERMS

WATCHED = 10_000  # rows, at most, whose loss is found for the table or where none is held out
NARROWEST, STAGE = 10, 35  # widths of the table's columns, and of that of the stages


class Listener(Protocol):
    """Who is told of each epoch of a fit."""

    def epoch_begins(self, net: NeuralNet) -> None:
        """Before an epoch."""

    def epoch_ends(self, net: NeuralNet) -> bool:
        """After an epoch; returns whether the fit is to end there."""


class Teller(Callback):
    """Tells a listener of each epoch, and ends the fit where the listener says so."""

    def __init__(self, listener: Listener):
        self.listener = listener

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        if not net.ended_by_:
            self.listener.epoch_begins(net)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        if self.listener.epoch_ends(net):
            raise StopTraining


class FitLog(PrintLog):
    """One table for all stages of a fit, with a line for each epoch.

    Losses are in nats per sample and the data's units, `valid_loss` that of the held-out rows. In
    the stage whose noise is held they are those under the noise fitted to the held-out rows. A "+"
    marks the lowest so far of its column. Parameters are those of skorch's class.
    """

    def initialize(self) -> "FitLog":
        super().initialize()
        self.lowest_, self.columns_ = {}, None
        return self

    def on_epoch_end(
        self,
        net: NeuralNet,
        dataset_train: Rows | None = None,
        dataset_valid: Dataset | None = None,
        **kwargs: Any,
    ) -> None:
        row = {key: value for key, value in net.history[-1].items() if key not in TERMS}
        if net.settle_ is not None:
            with net.settled():
                row["train_loss"] = net.loss_of(Rows(thinned(dataset_train.rows, WATCHED)))
                row["valid_loss"] = net.loss_of(dataset_valid)
        if self.columns_ is None:
            self.columns_ = {key: max(len(key), NARROWEST) for key in self._sorted_keys(row)}
            self._print(net, "stage", {key: key for key in self.columns_})
            self._print(net, "-" * STAGE, {key: "-" * n for key, n in self.columns_.items()})
        self._print(net, str(net.progress_), {key: self._cell(key, row) for key in self.columns_})

    def _print(self, net: NeuralNet, stage: str, cells: dict) -> None:
        words = [cells[key].rjust(width) for key, width in self.columns_.items()]
        self._sink("  ".join([f"{stage:{STAGE}}", *words]).rstrip(), net.verbose)

    def _cell(self, key: str, row: dict) -> str:
        value = row.get(key)
        if isinstance(value, bool) or value is None:
            return "+" if value else ""
        if not isinstance(value, float):
            return str(value)
        text = f"{value:{self.floatfmt}}"
        if key + "_best" not in row:
            return text
        before, self.lowest_[key] = self.lowest_.get(key), min(self.lowest_.get(key, value), value)
        return text + ("+" if before is None or value < before else " ")
