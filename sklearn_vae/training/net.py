"""The net: what skorch runs, epoch by epoch."""

import math
from contextlib import suppress

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer, PrintLog
from skorch.helper import predefined_split
from skorch.utils import to_tensor
from torch.utils.data import DataLoader

from ..objectives import fixed_deviates
from .batches import Rows, TensorBatches
from .callbacks import KeepBest, KLWarmUp, StopTraining
from .graph import RecordedStep, may_record, settings

VALID_BATCH = 4096
FIXED_DRAWS = 16


class VAENet(NeuralNet):
    """A skorch net for `sklearn_vae.module.VAE`: derive from it to change how training runs.

    Parameters
    ----------
    n_draws : int
        Draws of z per sample and step.
    log_scale : float
        log of the Jacobian of the scaling that x went through, in nats, added to every loss.
    autocast : str or None
        A torch dtype, such as "bfloat16", in which the networks are trained (mixed precision); what they give, the
        loss and the weights stay float32, and so does evaluation.
    record_steps : bool
        Whether a GPU runs training steps as one CUDA graph (`graph.py`) where that is possible.
    *args, **kwargs
        As for `skorch.NeuralNet`. The criterion is an objective of `sklearn_vae.objectives`.
    """

    def __init__(self, *args, n_draws=1, log_scale=0.0, autocast=None, record_steps=True, **kwargs):
        super().__init__(*args, **kwargs)
        self.n_draws = n_draws
        self.log_scale = log_scale
        self.autocast = autocast
        self.record_steps = record_steps
        self._forget_training()

    def _forget_training(self):
        """Let go of generators, data and whatever else belongs to one training."""
        self._noise, self._lowest, self.train_split = {}, {}, None
        self._recorded = self._settings = self._mode = None

    @property
    def _default_callbacks(self):
        shown = [("print_log", PrintLog())] if self.verbose else []
        return [("epoch_timer", EpochTimer()), ("kl_warmup", KLWarmUp()), ("keep_best", KeepBest()), *shown]

    def infer(self, x, **fit_params):
        """Run the module on x with fresh deviates."""
        x = to_tensor(x, device=self.device)
        shape = self.shape_of_deviates(len(x))
        return self.run_module(
            x, torch.randn(shape, generator=self.noise_generator, device=x.device, dtype=x.dtype), **fit_params
        )

    def shape_of_deviates(self, n):
        """Of the deviates that n rows take: (n_draws, n, d), or (n, d) where each takes one."""
        draws = () if self.n_draws == 1 else (self.n_draws,)
        return *draws, n, self.module__n_components

    @property
    def noise_generator(self):
        """What the deviates are drawn from, in training or in validation."""
        return self._noise.get(self._mode)

    def run_module(self, x, eps, **fit_params):
        """Run the module, in training in the precision asked for."""
        if self.autocast is None or not self._mode:
            return self.module_(x, eps, **fit_params)
        with torch.autocast(x.device.type, getattr(torch, self.autocast)):
            return self.module_(x, eps, **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Minus the objective in nats per sample, in the data's own units."""
        return self.log_scale - self.criterion_(y_pred, to_tensor(y_true, device=self.device)).mean()

    def _set_training(self, training=True):
        """Switch modes where they change, not at every step: it walks through all modules."""
        if self._mode is not training:
            super()._set_training(training)
            self._mode = training

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
            if training:
                step_fn = self._recorded_or(step_fn, iterator)
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

    def _recorded_or(self, step_fn, iterator):
        """The step as a CUDA graph, or as it is: where it cannot be recorded, and whenever settings have changed."""
        several = isinstance(iterator, TensorBatches) and len(iterator) > 1
        if not (self.record_steps and several and may_record(self)):
            return step_fn
        before, self._settings = self._settings, settings(self)
        if before != self._settings:
            # A learning rate or a KL weight that changes would be frozen.
            self._recorded = None
            return step_fn
        if self._recorded is None:
            try:
                self._recorded = RecordedStep(self, step_fn, iterator.batch_size)
            except RuntimeError:
                self.record_steps = False
                self.optimizer_.zero_grad(set_to_none=True)
        return self._recorded or step_fn

    def mean_loss(self, iterator, step_fn, training, **fit_params):
        """Mean loss per sample, fetched from the device once; validation noise is the same each time."""
        if not training and False in self._noise:
            # With other noise each time, luck would decide which weights are best.
            self._noise[False].manual_seed(self._noise["validation_seed"])
        losses = [(step_fn(batch, **fit_params)["loss"].detach(), len(batch[0])) for batch in iterator]
        # The losses are still on the device, which is waited for once, here.
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
        callbacks = [c for _, c in self.callbacks_ if getattr(c, "step_every", None) != "epoch"]  # as LRScheduler may
        watchers = [(self, NeuralNet), *((callback, Callback) for callback in callbacks)]
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
            self._forget_training()
