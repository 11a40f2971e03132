"""Who takes part in an epoch beside the net: the less there are, the less an epoch has to do."""

from skorch import NeuralNet
from skorch.callbacks import Callback, EpochScoring, EpochTimer, PrintLog

from .callbacks import KeepBest, KLWarmUp
from .progress import FitLog, Teller

BLIND = EpochTimer, KLWarmUp
OWN = *BLIND, KeepBest, PrintLog, FitLog, Teller


def batches_are_watched(net: NeuralNet) -> bool:
    """Whether a net or one of its callbacks looks at single batches."""
    callbacks = [
        c for _, c in net.callbacks_ if getattr(c, "step_every", None) != "epoch"
    ]  # as LRScheduler may
    watchers = net, *callbacks
    hooks = "on_batch_begin", "on_batch_end"
    idle = NeuralNet, Callback, EpochScoring  # the last fills a cache that is not used
    unwatched = {getattr(owner, hook) for owner in idle for hook in hooks}
    return any(getattr(type(w), hook) not in unwatched for w in watchers for hook in hooks)


def is_alone(net: NeuralNet, usual: type, callbacks: tuple[type, ...] = OWN) -> bool:
    """Whether a net is of its usual class and has no callback but those that each net has.

    Or none but some of these. `BLIND` are those that do not look at the weights.
    """
    return type(net) is usual and all(type(callback) in callbacks for _, callback in net.callbacks_)
