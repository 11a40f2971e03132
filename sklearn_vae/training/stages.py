"""A fit in stages: which one a net is in, and what ends one of them, or all.

A fit trains its net several times (`sklearn_vae.selection.multistart`). Each of these trainings
ends where its loss no longer falls. A callback, the time limit and Ctrl-C end the whole fit, and
`ended_by_` says which of them did. No training that would follow takes a step. The rest of the fit,
such as the calibration of the noise, is done all the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from skorch.callbacks import EarlyStopping
from skorch.history import History

from .callbacks import Snapshot, StageIsOver, StopTraining
from .devices import threads, usual_threads
from .interrupts import at_ctrl_c
from .progress import Listener, Teller

WORTH_A_THREAD = 2**25  # multiplications in the largest product of a step


class Stage(NamedTuple):
    """A stage of a fit.

    Attributes
    ----------
    number, total : int
        Which one it is, and of how many at most; stages that are not needed are left out.
    title : str
    epochs : int
        How many it has at most.
    """

    number: int = 1
    total: int = 1
    title: str = "first start"
    epochs: int = 0

    def __str__(self) -> str:
        return f"{self.number} of {self.total}: {self.title}"


class Epochs(History):
    """The history of a net; skorch's copies all of it when it looks one epoch up."""

    def __getitem__(self, index: Any) -> Any:
        return list.__getitem__(self, index) if type(index) is int else super().__getitem__(index)


class Staged:
    """What a net knows of the fit that it is in.

    Attributes
    ----------
    progress_ : Stage
    settle_ : callable or None
        What settles the result of this stage, where something does.
    ended_ : bool
        Whether the last training ended before its epochs did.
    ended_by_ : {"a callback", "max_time", "Ctrl-C"} or None
        What has ended the fit.
    """

    progress_, settle_, ended_, ended_by_ = Stage(), None, False, None

    def initialize_history(self) -> "Staged":
        """Forget the epochs of earlier fits."""
        self.history_ = Epochs()
        return self

    @property
    def stage_(self) -> str:
        """The name of the stage that a fit is in; `progress_` has its number and its length."""
        return self.progress_.title.partition(",")[0]

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """A context with the threads of this net's training and what it does at Ctrl-C."""
        n_threads = self.n_threads
        if n_threads == "auto":
            products = [weight.numel() for weight in self.module_.parameters()]
            is_small = self.batch_size * max(products) < WORTH_A_THREAD
            n_threads = 1 if is_small else usual_threads()

        def end() -> None:
            self.ended_by_ = "Ctrl-C"

        with threads(n_threads), at_ctrl_c(end if self.keep_on_interrupt else None):
            yield

    @contextmanager
    def telling(self, listener: Listener | None) -> Iterator[None]:
        """Within this context a listener, if there is one, is told of each epoch."""
        callbacks = self.callbacks_
        if listener is not None:
            self.callbacks_ = [*callbacks, ("teller", Teller(listener))]
        try:
            yield
        finally:
            self.callbacks_ = callbacks

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Call every callback, and then stop if one of them says so.

        skorch's `EarlyStopping` raises KeyboardInterrupt, which would hide a true Ctrl-C.
        """
        stops = []
        for owner in [self, *[callback for _, callback in self.callbacks_]]:
            try:
                getattr(owner, method_name)(self, **kwargs)
            except StopTraining as stop:
                stops.append(stop)
            except KeyboardInterrupt:
                if not isinstance(owner, EarlyStopping):
                    raise
                stops.append(StageIsOver())
        if stops:  # the end of the fit goes before that of a stage
            raise min(stops, key=lambda stop: isinstance(stop, StageIsOver))

    @contextmanager
    def _until_told(self) -> Iterator[None]:
        """A context that a callback may end, and the fit with it."""
        try:
            yield
        except StageIsOver:
            pass
        except StopTraining:
            self.ended_by_ = "a callback"

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """After this context the module is what it was before."""
        own = Snapshot(self.module_)
        try:
            yield
        finally:
            own.put_back()

    @contextmanager
    def ending_with(self, settle: Callable[[], None]) -> Iterator[None]:
        """Within this context a training is one whose result is settled by a function."""
        self.settle_ = settle
        try:
            yield
        finally:
            self.settle_ = None

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Within this context the net is what a training that ended now would come to."""
        with self.restoring():
            if self.settle_ is not None:
                self.settle_()
            yield

    @contextmanager
    def keeping_the_last(self) -> Iterator[None]:
        """Within this context all epochs asked for are trained, and the last weights stay."""
        callbacks = self.callbacks_
        self.callbacks_ = [(name, callback) for name, callback in callbacks if name != "keep_best"]
        try:
            yield
        finally:
            self.callbacks_ = callbacks
