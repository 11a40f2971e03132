"""The net: what skorch runs, epoch by epoch."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer
from skorch.dataset import Dataset, unpack_data
from skorch.helper import predefined_split
from skorch.history import History
from skorch.utils import is_dataset, to_tensor
from torch import Tensor
from torch.utils.data import DataLoader

from ..batch import Batch
from ..module import VAE, VAEOutput
from ..objectives import ELBO
from .averaging import WARM_UP, WeightAverage, averaged
from .batches import Rows, ScoredRows, as_it_is, thinned
from .callbacks import KeepBest, KLWarmUp, Snapshot
from .converted import Converted
from .graph import may_record, recorded_or
from .layout import lay_out
from .limits import Limits
from .progress import WATCHED, FitLog
from .stages import Staged
from .step import are_written, step_for
from .streams import Seeds, Streams
from .terms import Terms
from .watchers import BLIND, batches_are_watched, is_alone

VALID_BATCH = 4096
IN_CACHE = 2048  # rows at once, so that what a layer gives for them stays near a CPU
NUMBERS_IN_CACHE = 2**21  # the same of rows of more than 1,024 features
ENOUGH_DRAWS, FEWEST_DRAWS, MOST_DRAWS = 2048, 4, 16  # over all rows, and of each


class VAENet(Staged, NeuralNet):
    """A skorch net for `sklearn_vae.module.VAE`: derive from it to change how training runs.

    Parameters
    ----------
    log_scale : float
        log of the Jacobian of the scaling that x went through, in nats, added to every loss.

    autocast : str or None
        A torch dtype, such as "bfloat16", in which the networks are trained (mixed precision). What
        they give, the loss and the weights stay float32, and so does evaluation.

    n_threads : int or "auto"
        Threads of torch in a fit. "auto" is one where a step is too small to occupy a second
        thread, as is usual. Elsewhere it is as many as torch has.

    record_steps : bool
        Whether a GPU runs training steps as one CUDA graph (`graph.py`) where that is possible.

    keep_on_interrupt : bool
        Whether Ctrl-C ends a fit as `max_time` does, with the best weights so far, and does not
        interrupt it. A second Ctrl-C interrupts it in any case.

    use_caching : bool
        As for `skorch.NeuralNet`, but False: what a training step gives is no prediction.
    *args, **kwargs
        As for `skorch.NeuralNet`. The criterion is an objective of `sklearn_vae.objectives`.
    """

    def __init__(
        self,
        *args: Any,
        log_scale: float = 0.0,
        autocast: str | None = None,
        n_threads: int | str = "auto",
        record_steps: bool = True,
        keep_on_interrupt: bool = False,
        use_caching: bool = False,
        **kwargs: Any,
    ):
        super().__init__(*args, use_caching=use_caching, **kwargs)
        self._converted = None
        self.log_scale = log_scale
        self.autocast = autocast
        self.n_threads = n_threads
        self.record_steps = record_steps
        self.keep_on_interrupt = keep_on_interrupt
        self.epochs_before_, self.deadline_ = 0, math.inf
        self._forget_training()

    def _forget_training(self) -> None:
        """Let go of generators, data and whatever else belongs to one training."""
        self._streams, self._lowest, self.train_split, self.watched_rows_ = None, {}, None, None
        self._terms, self._complete, self._unseen, self.limits_ = Terms(), False, False, None
        self._recorded = self._settings = self._mode = self.average_ = self._written = None

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        shown = [("print_log", FitLog())] if self.verbose else []
        return [
            ("epoch_timer", EpochTimer()),
            ("kl_warmup", KLWarmUp()),
            ("keep_best", KeepBest()),
            *shown,
        ]

    def initialize_module(self) -> "VAENet":
        """In float32, whatever torch's default is, and its parameters in one piece of memory."""
        super().initialize_module()
        self.module_.float()
        if are_written(self.module_):
            lay_out(self.module_)
        return self

    def infer(self, x: Batch | Tensor, **fit_params: Any) -> VAEOutput:
        """Run the module on rows with fresh deviates."""
        rows = self._batch(x)
        shape, generator = self.shape_of_deviates(len(rows)), self.noise_generator
        eps = torch.randn(shape, generator=generator, device=rows.x.device, dtype=rows.x.dtype)
        return self.run_module(rows, eps, **fit_params)

    def _batch(self, rows: Batch | Tensor) -> Batch:
        """Rows as a `Batch` on this net's device; anything else is x."""
        return rows if isinstance(rows, Batch) else Batch(to_tensor(rows, device=self.device))

    def shape_of_deviates(self, n: int) -> tuple[int, ...]:
        """Of the deviates that n rows take: (n_draws, n, d), or (n, d) where each takes one."""
        n_draws = int(self.criterion_.n_draws)
        return *(() if n_draws == 1 else (n_draws,)), n, self.module__n_components

    @property
    def noise_generator(self) -> torch.Generator | None:
        """What the deviates are drawn from, in training or in validation."""
        streams = self._streams
        return streams and (streams.noise if self._mode else streams.validation)

    def run_module(self, rows: Batch, eps: Tensor, **fit_params: Any) -> VAEOutput:
        """Run the module, in training in the precision asked for."""
        if self.autocast is None or not self._mode:
            return self.module_(rows, eps, **fit_params)
        with torch.autocast(eps.device.type, getattr(torch, self.autocast)):
            return self.module_(rows, eps, **fit_params)

    def get_loss(
        self,
        y_pred: VAEOutput,
        y_true: Batch | Tensor,
        X: Batch | None = None,
        training: bool = False,
    ) -> Tensor:
        """Minus the objective in nats per sample, in the data's own units.

        `y_true` is x as it should be, and X the rows that it belongs to.
        """
        rows = self._batch(y_true)
        if isinstance(X, Batch):
            rows = replace(X, x=rows.x)
        if self._streams and not self._mode:
            self._terms.add_output(y_pred, rows, self.log_scale)
        return self.log_scale - rows.mean(self.criterion_(y_pred, rows))

    def _set_training(self, training: bool = True) -> None:
        """Switch modes where they change, not at every step: it walks through all modules."""
        if self._mode is not training:
            super()._set_training(training)
            self._mode = training

    def get_iterator(self, dataset: Dataset, training: bool = False) -> Iterable:
        """Batches of `dataset`, shuffled by this training's own generator."""
        iterator = super().get_iterator(dataset, training=training)
        if isinstance(iterator, DataLoader):
            if isinstance(iterator.dataset, Rows):
                iterator.collate_fn = as_it_is
            if training:
                iterator.generator = self._streams and self._streams.shuffle
                iterator.writes_over = self._written is not None
        return iterator

    def run_single_epoch(
        self,
        iterator: Iterable | None,
        training: bool,
        prefix: str,
        step_fn: Callable,
        **fit_params: Any,
    ) -> None:
        """One pass over `iterator`; skorch's own, batch by batch, if a callback watches batches."""
        if iterator is None:
            return
        if training:
            self.average_.show(False)
            step_fn = averaged(self, self._cheapest(step_fn, iterator))
        epoch = self.history[-1]
        if not self._written and batches_are_watched(self):
            if not training:
                self._same_noise_again()
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            losses = self.history[-1, "batches", :, prefix + "_loss"]
            loss = np.average(
                losses, weights=self.history[-1, "batches", :, prefix + "_batch_size"]
            ).item()
        else:
            loss = self.mean_loss(iterator, step_fn, training, **fit_params)
            epoch["batches"].append({})  # skorch's Checkpoint looks at the last one
        if not training:
            epoch.update(self._terms.means())
        elif not self._unseen:
            self.average_.show(True)
        if not math.isfinite(loss):
            raise ValueError(
                f"The {prefix} loss became {loss} in epoch {len(self.history)}. Lower "
                "learning_rate_init, scale the data (standardize=True, or StandardScaler before "
                "this step), remove outliers, or clip gradients "
                "(net_params={'callbacks': [skorch.callbacks.GradientNormClipping(1.0)]})."
            )
        lowest = self._lowest.get(prefix, math.inf)
        self._lowest[prefix] = min(loss, lowest)
        epoch[prefix + "_loss"] = loss
        epoch[prefix + "_loss_best"] = loss < lowest  # what skorch's Checkpoint looks at

    def _cheapest(self, step_fn: Callable, iterator: Iterable) -> Callable:
        """The step as a CUDA graph, or with its gradients written out, or as it is."""
        if self._written:
            return self._written
        if batches_are_watched(self):
            return step_fn
        recorded = recorded_or(self, step_fn, iterator)
        if recorded is not step_fn or not getattr(iterator.dataset, "is_complete", False):
            return recorded
        return step_for(self, step_fn)

    def validation_step(self, batch: tuple, **fit_params: Any) -> dict:
        """As skorch's, or written out where training steps are for all of a training."""
        if self._written:
            return self._written.validate(batch)
        return super().validation_step(batch, **fit_params)

    def mean_loss(
        self, iterator: Iterable, step_fn: Callable, training: bool, **fit_params: Any
    ) -> float:
        """Mean loss per sample, fetched from the device once.

        Validation noise is the same each time.
        """
        if not training:
            self._same_noise_again()
        losses, sizes = [], []
        for batch in iterator:
            losses.append(_number(step_fn(batch, **fit_params)["loss"]))
            sizes.append(Batch.of(batch[0]).total)
        if isinstance(losses[0], Tensor):
            losses = torch.stack(losses).tolist()  # the device is waited for once, here
        return sum(map(operator.mul, losses, sizes)) / sum(sizes)

    def loss_of(self, rows: Dataset) -> float:
        """Mean loss per sample of rows, in this training."""
        return self.mean_loss(self.get_iterator(rows), self.validation_step, training=False)

    def at_best_noise(self, loss: float) -> float:
        """The loss of the last validation, at the noise that suits its rows best.

        It is the loss itself where rows are not complete, or the objective is no ELBO.
        """
        nats = self._terms.means().get("valid_reconstruction")
        if nats is None or not self._complete or type(self.criterion_) is not ELBO:
            return loss
        nats -= self.log_scale
        return loss - nats + self.module_.likelihood.at_best_noise(nats)

    def _same_noise_again(self) -> None:
        """Begin a validation.

        With other noise in each, luck would decide which weights are best.
        """
        self._terms = Terms()
        if self._streams:
            self._streams.validation.manual_seed(self._streams.seed)

    @property
    def keep_best_(self) -> KeepBest:
        """The callback that watches the loss."""
        return dict(self.callbacks_)["keep_best"]

    @torch.inference_mode()
    def sample_losses(self, rows: Batch | Tensor) -> Tensor:
        """Loss of each row, over deviates of its own, times its weight; of shape (n,).

        The deviates are the same each time. Many rows need few each.
        """
        self._set_training(False)
        rows, generator = self._batch(rows), torch.Generator().manual_seed(0)
        draws = min(MOST_DRAWS, max(FEWEST_DRAWS, ENOUGH_DRAWS // len(rows)))
        if type(self.criterion_) is not ELBO:
            draws = MOST_DRAWS  # it may depend on their number
        size = VALID_BATCH // draws
        if rows.x.device.type == "cpu":
            size = min(IN_CACHE, NUMBERS_IN_CACHE // rows.x.shape[1]) // draws
        shape, size = (draws, len(rows), self.module__n_components), max(1, size)
        eps = torch.randn(shape, generator=generator).to(rows.x)
        parts = zip(rows.split(size), eps.split(size, 1), strict=True)
        losses = [-self.criterion_(self.module_(part, own), part) for part, own in parts]
        return rows.weighed(torch.cat(losses))

    def fresh_optimizer(self, share: float = 1.0) -> None:
        """Forget the optimizer's moments, and go on at a share of the learning rate."""
        verbose, self.verbose = self.verbose, 0  # skorch would say so, between a table's lines
        self._initialize_optimizer()
        self.verbose = verbose
        for group in self.optimizer_.param_groups:
            group["lr"] *= share

    @property
    def epoch_(self) -> int:
        """Epochs of this training so far, and of those that it goes on from."""
        return len(self.history) - self._first_epoch + self.epochs_before_

    def _begin_training(self, data: Rows) -> None:
        """Tell the callbacks.

        A schedule begins anew, so it must not see the epochs of earlier trainings.
        """
        history, self.history = self.history, History()
        try:
            self.notify("on_train_begin", X=data, y=None)
        finally:
            self.history = history

    @contextmanager
    def holding(self, state: Snapshot) -> Iterator[VAE]:
        """Within this context the module is what it was when a snapshot of it was taken."""
        with self.restoring():
            state.put_back()
            yield self.module_

    def train_on(
        self, rows: Batch, held_out: Batch | None, epochs: int, seeds: Seeds, epochs_before: int = 0
    ) -> "VAENet":
        """Train for `epochs`, or until this training or the whole fit is over.

        Parameters
        ----------
        rows : Batch
            Rows to train on, on this net's device.
        held_out : Batch or None
            Rows for validation.

        epochs : int
            Epochs at most.
        seeds : Seeds
        epochs_before : int
            Epochs that this training goes on from.

        Returns
        -------
        self : VAENet
        """
        if not epochs:
            return self
        if self.use_caching:
            raise ValueError(
                f"use_caching={self.use_caching!r} would score what training steps give, "
                "which is no prediction. Leave it False: scores are of predictions made anew."
            )
        self._streams = Streams.of(seeds, torch.device(self.device))
        self.epochs_before_, self._first_epoch = epochs_before, len(self.history)
        self.average_, self.limits_ = WeightAverage(self.module_), Limits.of(self, rows)
        self._small_steps = 0 if self.optimizer_.state else WARM_UP
        data = ScoredRows(rows)
        self.watched_rows_ = Rows(thinned(rows, WATCHED)) if held_out is None else None
        self.train_split = None if held_out is None else predefined_split(ScoredRows(held_out))
        # With nobody else about, nothing that a step rests on changes before training ends.
        self._complete = data.is_complete and (held_out is None or held_out.is_complete)
        alone = self._complete and is_alone(self, VAENet) and not may_record(self)
        self._unseen = held_out is None and is_alone(self, VAENet, BLIND)
        self.ended_ = True
        try:
            with self._until_told():
                self._begin_training(data)
                self._written = step_for(self, None) if alone else None
                self.fit_loop(data, epochs=epochs)
                self.ended_ = False
            self.average_.show(True)
            with self._until_told():
                self.notify("on_train_end", X=data, y=None)
            return self
        finally:
            self._forget_training()

    def get_dataset(self, X: Any, y: Any = None) -> Dataset:
        """A dataset of X, rows as this net is trained on them, in an array or a tensor."""
        if isinstance(X, Batch):
            return ScoredRows(X)
        if is_dataset(X) or self.dataset is not Dataset:
            return super().get_dataset(X, y)
        # A copy has no strides that torch does not know.
        rows = X if isinstance(X, torch.Tensor) else np.array(X, dtype=np.float32, order="C")
        x = torch.as_tensor(rows, dtype=torch.float32, device=self.device)
        if x.ndim != 2 or x.shape[1] != self.module__n_features:
            raise ValueError(
                f"{type(self).__name__} takes rows of {self.module__n_features} features, scaled "
                f"as in training, but X is of shape {tuple(x.shape)}."
            )
        return ScoredRows(Batch(x))

    def evaluation_step(self, batch: tuple, training: bool = False) -> Tensor:
        """What `predict` and `forward` give for a batch: the posterior means of z, decoded.

        It draws nothing. All that the module knows of x is told by ``module_.encode(x)`` and
        ``module_.decode(z)``.
        """
        self.check_is_fitted()
        rows, _ = unpack_data(batch)
        self._mode = None  # whoever has switched by hand, it is switched anew
        self._set_training(training)
        try:
            with torch.set_grad_enabled(training):
                return self.module_.reconstruct(self._batch(rows))
        finally:
            self._set_training(False)

    def module_in(self, dtype: torch.dtype) -> VAE:
        """The module, with its numbers in float32 or float64.

        A conversion takes longer than the evaluation of a row, so it is kept while the module does
        not change. Its numbers are compared, since torch's version counters miss the writes of a
        fused optimizer.
        """
        if dtype is torch.float32:
            return self.module_
        if self._converted is None or not self._converted.is_of(self.module_):
            self._converted = Converted.of(self.module_)
        return self._converted.module

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "_converted": None}


def _number(loss: float | Tensor) -> float | Tensor:
    """A loss as a number where that takes no waiting: on a CPU.

    There a tensor that is kept would lie among the large ones of the step, and memory that is freed
    around it is not used again.
    """
    if isinstance(loss, float):
        return loss
    return loss.item() if loss.device.type == "cpu" else loss.detach()
