"""Training: how skorch runs the module, and how a trained net becomes plain data.

The loss is minus the objective's mean over the samples of a batch, plus the logarithm of the
Jacobian when x was scaled beforehand, so every loss that skorch records or prints is in nats per
sample in the data's own units.

Randomness is explicit. Weights, shuffling and noise each have a `torch.Generator`, seeded by the
caller and gone after training; the process's own streams are neither read nor moved.

* `VAENet` is a skorch net whose batches are rows of one tensor and whose loss stays on the device
  until the end of an epoch. It takes all that skorch takes: callbacks, optimizers, schedules.
* `KeepBest` stops training when the validation loss no longer falls, and restores the best weights.
* `net_state` and `load_net_state` turn what a net has learned into arrays and numbers, and back.
"""

import math
from contextlib import suppress

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer, PrintLog
from skorch.helper import predefined_split
from skorch.utils import to_tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset

from .objectives import fixed_deviates

STATE_FORMAT = 1
VALID_BATCH = 4096
FIXED_DRAWS = 16


# --- devices ------------------------------------------------------------------------------------


def available_devices():
    """Names of the devices that this machine has, best first."""
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if hasattr(torch, "xpu"):
        names += [f"xpu:{i}" for i in range(torch.xpu.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(name):
    """Turn a device's name into a `torch.device` that is there.

    Parameters
    ----------
    name : str
        "auto" for the best that is there (CUDA, XPU, MPS, CPU, in this order), or any torch device.

    Raises
    ------
    ValueError
        If it is no device, or not on this machine.
    """
    if name == "auto":
        return torch.device(available_devices()[0].partition(":")[0])
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # the one test that every backend understands
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={name!r} is not available on this machine ({str(error).splitlines()[0]}). "
            f"Available: {', '.join(available_devices())}; or device='auto' to take the best of them."
        ) from error
    return device


# --- randomness ---------------------------------------------------------------------------------


class SeededInit(TorchDispatchMode):
    """Within this context torch draws from `generator` wherever a call names no other.

    It lets modules initialise themselves, whoever wrote them, without touching the global stream.
    Such a mode belongs to one thread, so concurrent fits do not meet.

    Parameters
    ----------
    generator : torch.Generator
    """

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if not self._takes_generator(func):  # torch.randn and its like have an overload that does
            name = "generator" if func._overloadname == "default" else func._overloadname + "_generator"
            func = getattr(func.overloadpacket, name) if name in func.overloadpacket.overloads() else func
        if self._takes_generator(func) and kwargs.get("generator") is None:
            kwargs["generator"] = self.generator
        return func(*args, **kwargs)

    @staticmethod
    def _takes_generator(func):
        return any(argument.name == "generator" for argument in func._schema.arguments)


# --- batches ------------------------------------------------------------------------------------


class Rows(Dataset):
    """The rows of one tensor, each its own target.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Or anything that gives tensors for slices and tensors of indices. If reading neighbours together
        is what it likes, it says so by an attribute `block`, the number of them.
    """

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        row = self.x[index]
        return row, row

    def __getitems__(self, indices):
        return list(zip(*self[torch.as_tensor(indices)], strict=True))

    def shuffled(self, generator):
        """Indices of all rows in random order; of blocks in random order, a few of them shuffled together."""
        block = getattr(self.x, "block", None)
        if block is None:
            return torch.randperm(len(self), generator=generator).to(self.x.device)
        blocks = torch.arange(len(self)).split(block)
        order = torch.cat([blocks[i] for i in torch.randperm(len(blocks), generator=generator)])
        return torch.cat([part[torch.randperm(len(part), generator=generator)] for part in order.split(16 * block)])


class TensorBatches(DataLoader):
    """Batches taken from one tensor at once, not row by row.

    A remainder of a single row joins the batch before it: no row is dropped, and no batch is too
    small for a layer that normalises over it.
    """

    def __init__(self, dataset, batch_size, shuffle=False, generator=None):
        super().__init__(dataset, batch_size=batch_size, shuffle=shuffle, generator=generator)
        n = len(dataset)
        self.bounds = [*range(0, max(n - 1, 1), batch_size), n]
        self.shuffle = shuffle

    def __len__(self):
        return len(self.bounds) - 1

    def __iter__(self):
        x = self.dataset.x
        order = self.dataset.shuffled(self.generator) if self.shuffle else None
        for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            batch = x[start:stop] if order is None else x[order[start:stop]]
            yield batch, batch


# --- the net ------------------------------------------------------------------------------------


class StopTraining(Exception):
    """Raised by a callback to end training where it is, keeping what was learned."""


class KeepBest(Callback):
    """Watch the validation loss: stop when it no longer falls, and go back to the best weights.

    The weights before the first epoch compete as well. Without validation data the training loss
    decides when to stop, and the last weights stay.

    Parameters
    ----------
    patience : int or float
        Epochs without an improvement of more than `tol` before training stops.
    tol : float
        Nats per sample.
    start : int
        Epochs before any is counted.

    Attributes
    ----------
    best_ : float
        The least validation loss, or training loss if no data were held out.
    epochs_, best_epoch_ : int
        How many epochs this training took, and after how many of them the validation loss was least.
    stopped_ : bool
        Whether this callback ended the training.
    """

    def __init__(self, patience=math.inf, tol=0.0, start=0):
        self.patience = patience
        self.tol = tol
        self.start = start

    def on_train_begin(self, net, **kwargs):
        self.best_ = self.mark_ = math.inf
        self.misses_, self.weights_ = 0, None
        self.epochs_ = self.best_epoch_ = 0
        self.stopped_ = False

    def on_epoch_begin(self, net, dataset_valid=None, **kwargs):
        if self.weights_ is None and dataset_valid is not None:
            loss = net.mean_loss(net.get_iterator(dataset_valid), net.validation_step, training=False)
            self._offer(net, loss)

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        self.epochs_ += 1
        if dataset_valid is None:
            self.best_ = min(self.best_, net.history[-1, "train_loss"])
        else:
            self._offer(net, net.history[-1, "valid_loss"])
        if self.best_ < self.mark_ - self.tol or len(net.history) <= self.start:
            self.mark_, self.misses_ = self.best_, 0
        else:
            self.misses_ += 1
        if self.misses_ >= self.patience:
            self.stopped_ = True
            raise StopTraining

    def on_train_end(self, net, **kwargs):
        if self.weights_ is not None:
            net.module_.load_state_dict(self.weights_)
        self.weights_ = None

    def _offer(self, net, loss):
        if loss < self.best_ or self.weights_ is None:
            self.best_, self.best_epoch_ = loss, self.epochs_
            self.weights_ = {name: value.detach().clone() for name, value in net.module_.state_dict().items()}


class KLWarmUp(Callback):
    """Let the weight of the KL grow from 0 to its full value, linearly over the first epochs.

    Parameters
    ----------
    epochs : int
        Epochs after which the weight is full; 0 for no warm-up.
    """

    def __init__(self, epochs=0):
        self.epochs = epochs

    def on_epoch_begin(self, net, **kwargs):
        net.criterion_.warmup = min(1.0, (len(net.history) - 1) / self.epochs) if self.epochs else 1.0


class VAENet(NeuralNet):
    """A skorch net for `sklearn_vae.module.VAE`: derive from it to change how training runs.

    Parameters
    ----------
    n_draws : int
        Draws of z per sample and step.
    log_scale : float
        log of the Jacobian of the scaling that x went through, in nats, added to every loss.
    *args, **kwargs
        As for `skorch.NeuralNet`. The criterion is an objective of `sklearn_vae.objectives`.
    """

    def __init__(self, *args, n_draws=1, log_scale=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.n_draws = n_draws
        self.log_scale = log_scale
        self._noise, self._lowest = {}, {}

    @property
    def _default_callbacks(self):
        shown = [("print_log", PrintLog())] if self.verbose else []
        return [("epoch_timer", EpochTimer()), ("kl_warmup", KLWarmUp()), ("keep_best", KeepBest()), *shown]

    def infer(self, x, **fit_params):
        """Run the module on x with fresh deviates."""
        x = to_tensor(x, device=self.device)
        shape = self.n_draws, len(x), self.module__n_components
        noise = self._noise.get(self.module_.training)
        return self.module_(x, torch.randn(shape, generator=noise, device=x.device, dtype=x.dtype), **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Minus the objective in nats per sample, in the data's own units."""
        return self.log_scale - self.criterion_(y_pred, to_tensor(y_true, device=self.device)).mean()

    def _set_training(self, training=True):
        """Switch modes where they change, not at every step: it walks through all modules."""
        if self.module_.training != training or self.criterion_.training != training:
            super()._set_training(training)

    def get_iterator(self, dataset, training=False):
        """Batches of `dataset`, shuffled by this training's own generator."""
        iterator = super().get_iterator(dataset, training=training)
        if training and isinstance(iterator, DataLoader):
            iterator.generator = self._noise.get("shuffle")
        return iterator

    def notify(self, method_name, **kwargs):
        """Call every callback; skorch's `EarlyStopping` stops as `StopTraining` does.

        It raises KeyboardInterrupt, which would hide a true Ctrl-C.
        """
        getattr(self, method_name)(self, **kwargs)
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt as interrupt:
                raise StopTraining if isinstance(callback, EarlyStopping) else interrupt from None

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """One pass over `iterator`; skorch's own, batch by batch, if a callback watches batches."""
        if iterator is None:
            return
        if self._batches_are_watched():
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            losses = self.history[-1, "batches", :, prefix + "_loss"]
            loss = np.average(losses, weights=self.history[-1, "batches", :, prefix + "_batch_size"]).item()
        else:
            loss = self.mean_loss(iterator, step_fn, training, **fit_params)
            self.history.new_batch()  # skorch's Checkpoint looks at the last one
        if not math.isfinite(loss):
            raise ValueError(
                f"The {prefix} loss became {loss} in epoch {len(self.history)}. Lower learning_rate_init, scale the "
                "data (standardize=True, or StandardScaler before this step), remove outliers, or clip gradients "
                "(net_params={'callbacks': [skorch.callbacks.GradientNormClipping(1.0)]})."
            )
        lowest = self._lowest.get(prefix, math.inf)
        self._lowest[prefix] = min(loss, lowest)
        self.history.record(prefix + "_loss", loss)
        self.history.record(prefix + "_loss_best", loss < lowest)  # what skorch's Checkpoint looks at

    def mean_loss(self, iterator, step_fn, training, **fit_params):
        """Mean loss per sample, fetched from the device once; validation noise is the same each time."""
        if not training and False in self._noise:
            self._noise[False].manual_seed(self._noise["validation_seed"])
        losses = [(step_fn(batch, **fit_params)["loss"].detach(), len(batch[0])) for batch in iterator]
        sizes = torch.tensor([size for _, size in losses], dtype=torch.float64)
        return (torch.stack([loss for loss, _ in losses]).double().cpu() @ sizes / sizes.sum()).item()

    @property
    def keep_best_(self):
        """The callback that watches the loss."""
        return dict(self.callbacks_)["keep_best"]

    def watch_no_more(self):
        """Train for as many epochs as are asked for, and keep the last weights."""
        self.callbacks_ = [(name, callback) for name, callback in self.callbacks_ if name != "keep_best"]

    @torch.inference_mode()
    def sample_losses(self, x):
        """Loss of each row of x (n, n_features), over a fixed set of deviates; of shape (n,)."""
        self._set_training(False)
        eps = fixed_deviates(FIXED_DRAWS, self.module__n_components).to(x)
        return torch.cat(
            [-self.criterion_(self.module_(rows, eps), rows) for rows in x.split(VALID_BATCH // FIXED_DRAWS)]
        )

    def fresh_optimizer(self, share=1.0):
        """Forget the optimizer's moments, and go on at a share of the learning rate."""
        self._initialize_optimizer()
        for group in self.optimizer_.param_groups:
            group["lr"] *= share

    def start_over(self):
        """Forget the optimizer's moments and the history, keep the weights."""
        self.initialize_history()
        self.fresh_optimizer()

    def _batches_are_watched(self):
        watchers = [(self, NeuralNet), *((callback, Callback) for _, callback in self.callbacks_)]
        hooks = "on_batch_begin", "on_batch_end"
        return any(getattr(type(w), hook) is not getattr(base, hook) for w, base in watchers for hook in hooks)

    def train_on(self, x, x_valid, epochs, seeds):
        """Train for `epochs`, or until a callback raises `StopTraining`.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Training data, on this net's device.
        x_valid : Tensor of shape (n_valid, n_features) or None
            Validation data.
        epochs : int
            Epochs at most.
        seeds : sequence of 3 int
            Of the shuffling, the training noise and the validation noise.

        Returns
        -------
        self : VAENet
        """
        shuffle, noise, validation = map(int, seeds)
        self._noise = {
            "shuffle": torch.Generator().manual_seed(shuffle),
            True: torch.Generator(x.device).manual_seed(noise),
            False: torch.Generator(x.device),
            "validation_seed": validation,
        }
        data = Rows(x)
        self.train_split = None if x_valid is None else predefined_split(Rows(x_valid))
        try:
            self.notify("on_train_begin", X=data, y=None)
            with suppress(StopTraining):
                self.fit_loop(data, epochs=epochs)
            self.notify("on_train_end", X=data, y=None)
            return self
        finally:
            self._noise, self._lowest, self.train_split = {}, {}, None


# --- plain data ---------------------------------------------------------------------------------


def _plain(value):
    """Tensors to arrays, all through a nest of dicts and lists."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy().copy()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _tensors(value):
    """The inverse of `_plain`; arrays are copied, so they may be read-only."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    return {key: _tensors(item) for key, item in value.items()} if isinstance(value, dict) else value


def net_state(net):
    """What a net has learned, as arrays, numbers and strings.

    Returns
    -------
    dict
        "format" (int); "module", an array for each weight; "optimizer", arrays for each weight;
        "history", a dict of numbers for each epoch.
    """
    return {
        "format": STATE_FORMAT,
        "module": _plain(net.module_.state_dict()),
        "optimizer": _plain(net.optimizer_.state_dict()["state"]),
        "history": [{key: value for key, value in epoch.items() if key != "batches"} for epoch in net.history],
    }


def load_net_state(net, state):
    """Give an initialised net of the same architecture what `net_state` took from another.

    The optimizer's moments are taken over, its settings (learning rate ...) stay the net's own.

    Raises
    ------
    ValueError
        If a weight is missing, left over, misshapen or not finite, or the format is unknown.
    """
    if state.get("format") != STATE_FORMAT:
        raise ValueError(f"The saved model has format {state.get('format')!r}; this version reads {STATE_FORMAT}.")
    expected, given = net.module_.state_dict(), state["module"]
    if expected.keys() != given.keys():
        names = ", ".join(sorted(expected.keys() ^ given.keys()))
        raise ValueError(f"The saved model does not fit its parameters: weights missing or left over: {names}.")
    for name, weight in expected.items():
        if tuple(weight.shape) != np.shape(given[name]):
            raise ValueError(f"The saved weight {name} has shape {np.shape(given[name])}, not {tuple(weight.shape)}.")
        if not np.all(np.isfinite(given[name])):
            raise ValueError(f"The saved weight {name} has values that are not finite: the file is damaged.")
    net.module_.load_state_dict(_tensors(given))
    own = net.optimizer_.state_dict()
    net.optimizer_.load_state_dict({**own, "state": _tensors(state["optimizer"])})
    for epoch in state["history"]:
        net.history.new_epoch()
        net.history[-1].update(epoch)
