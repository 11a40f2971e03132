"""Training: how skorch runs the module, and how a trained net becomes plain data.

The loss is minus the objective's mean over the samples of a batch. If x was scaled beforehand, the
logarithm of the Jacobian is added. So every loss that skorch records or prints is in nats per
sample, in the data's own units.

Randomness is explicit. Weights, shuffling and noise each have a `torch.Generator`, seeded by the
caller and gone after training; the process's own streams are neither read nor moved.

* `net.py`: `VAENet`, a skorch net whose loss stays on the device until the end of an epoch. It
  takes all that skorch takes: callbacks, optimizers, schedules.
* `batches.py`: its batches of rows.
* `callbacks.py`: `KeepBest` stops training when the validation loss no longer falls, and restores
  the best weights; `KLWarmUp`.
* `stages.py`: the stages of a fit, and what ends it; `interrupts.py`: what Ctrl-C does then.
* `progress.py`: the table that `verbose=1` prints, and who else is told of each epoch.
* `averaging.py`: the average of the weights over the last steps, which is what is kept.
* `limits.py`: smaller steps where full ones would move the posterior too far.
* `layout.py`: parameters in one piece of memory.
* `converted.py`: a module in float64, for evaluation.
* `graph.py`: a step recorded as a CUDA graph, where nothing forbids it.
* `step.py`: a step with its gradients written out, for the common networks on a CPU.
* `losses.py`, `perceptron.py`, `convolutional.py`: the likelihoods and the networks of such a step.
* `soap.py`: the optimizer for tables of many rows; `adamw.py`: a cheaper step of the usual one.
* `watchers.py`: who takes part in an epoch, and so what has to be done in each.
* `streams.py`: the random streams of a training.
* `devices.py`: devices by name, `SeededInit`, and what to do after a fork.
* `state.py`: `net_state` and `load_net_state` turn what a net has learned into arrays and numbers,
  and back; `check_picklable` says which parameter cannot be pickled.
"""

from .adamw import AdamW
from .batches import Rows, TensorBatches, every_kth, passes_of, steps_of, thinned
from .callbacks import KeepBest, KLWarmUp, Snapshot, StopTraining
from .devices import (
    SeededInit,
    available_devices,
    one_blas_thread,
    one_thread_after_fork,
    resolve_device,
    threads,
)
from .limits import has_limits
from .net import VALID_BATCH, VAENet
from .progress import Teller
from .soap import SOAP, WIDEST
from .stages import Stage
from .state import carries_functions, check_picklable, load_history, load_net_state, net_state
from .streams import Seeds
from .watchers import is_alone

__all__ = [
    "SOAP",
    "VALID_BATCH",
    "WIDEST",
    "AdamW",
    "KLWarmUp",
    "KeepBest",
    "Rows",
    "SeededInit",
    "Seeds",
    "Snapshot",
    "Stage",
    "StopTraining",
    "Teller",
    "TensorBatches",
    "VAENet",
    "available_devices",
    "carries_functions",
    "check_picklable",
    "every_kth",
    "has_limits",
    "is_alone",
    "load_history",
    "load_net_state",
    "net_state",
    "one_blas_thread",
    "one_thread_after_fork",
    "passes_of",
    "resolve_device",
    "steps_of",
    "thinned",
    "threads",
]
