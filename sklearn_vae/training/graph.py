"""A whole training step as one CUDA graph.

A step of a small network is some hundred kernels of a few microseconds each. Launching them from
Python takes longer than running them. Recorded once - forward, backward, optimizer - they are
launched by a single call. What changes from step to step goes through two buffers at fixed
addresses: the rows and the deviates. They are filled outside the graph, by the same streams of
random numbers in the same order as without it. So the losses are the same, to rounding.

All else is frozen into the graph: the learning rate, the weight of the KL, whatever Python decides
during the step. Hence `may_record` asks for networks, objectives and hooks that are known to decide
nothing. An epoch is recorded only if its `settings` are those of the epoch before. That epoch ran
as usual. It also set up what is set up at first use and must not be set up while recording.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from ..batch import Batch
from ..objectives import ELBO, IWAE
from .batches import TensorBatches

DEVICES = ("cuda",)
STEP = "infer", "run_module", "get_loss", "train_step", "train_step_single", "on_grad_computed"
MODULE_HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
TENSOR_HOOKS = "_backward_hooks", "_post_accumulate_grad_hooks"
ONE_AT_A_TIME = threading.Lock()  # a process can record no more


def record(step: Callable[[], Tensor], device: torch.device) -> tuple[Callable[[], None], Tensor]:
    """Record what ``step()`` launches.

    Return a function that launches it again, and where its result will be.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
    with ONE_AT_A_TIME, torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        result = step()
    return graph.replay, result


def may_record(net: NeuralNet) -> bool:
    """Whether nothing in a net's steps changes but rows and deviates."""
    return (
        torch.device(net.device).type in DEVICES
        and is_known(net)
        and all(group.get("capturable") for group in net.optimizer_.param_groups)
    )


def is_known(net: NeuralNet) -> bool:
    """Whether who wrote a net's steps is known: nobody else takes part in them."""
    return (
        type(net.criterion_) in (ELBO, IWAE)
        and all(
            _is_from(type(module), "torch.nn.", "sklearn_vae.") and not _is_hooked(module)
            for module in net.module_.modules()
        )
        and all(_is_from(getattr(type(net), name), "skorch.net", "sklearn_vae.") for name in STEP)
        and all(
            type(callback).on_grad_computed is Callback.on_grad_computed
            for _, callback in net.callbacks_
        )
    )


def _is_hooked(module: nn.Module) -> bool:
    parameters = [p for p in module._parameters.values() if p is not None]
    return any(getattr(module, name) for name in MODULE_HOOKS) or any(
        getattr(p, name) for p in parameters for name in TENSOR_HOOKS
    )


def _is_from(what: Any, *packages: str) -> bool:
    return what.__module__.startswith(packages)


def settings(net: NeuralNet) -> str:
    """What would be frozen into a graph recorded now."""
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in net.optimizer_.param_groups
    ]
    return repr((net.criterion_.kl_weight, groups))


class RecordedStep:
    """A training step for batches of one size; others take the step that is given.

    Parameters
    ----------
    net : VAENet
        Which has trained for an epoch.
    step_fn : callable
        ``step_fn(batch) -> dict`` with the "loss" of a batch.
    n_rows : int
        The size of a batch.

    Raises
    ------
    RuntimeError
        If the step cannot be recorded.
    """

    def __init__(self, net: NeuralNet, step_fn: Callable[..., dict], n_rows: int):
        net._set_training(True)
        self.step_fn = step_fn
        self.generator = net.noise_generator
        self.x = torch.zeros(n_rows, net.module__n_features, device=net.device)
        self.eps = torch.zeros(net.shape_of_deviates(n_rows), device=net.device)

        def step() -> Tensor:
            # Gradients are made anew within the graph, at addresses that stay.
            net.optimizer_.zero_grad(set_to_none=True)
            rows = Batch(self.x)
            loss = net.get_loss(net.run_module(rows, self.eps), rows)
            loss.backward()
            net.optimizer_.step()
            return loss.detach()

        self.replay, self.loss = record(step, self.x.device)

    def __call__(self, batch: tuple[Batch, Tensor], **fit_params: Any) -> dict:
        """Train on a batch."""
        rows, _ = batch
        if rows.x.shape != self.x.shape or not rows.is_plain:
            return self.step_fn(batch, **fit_params)
        self.x.copy_(rows.x)
        torch.randn(self.eps.shape, generator=self.generator, out=self.eps)
        self.replay()
        # The next replay writes to the same address.
        return {"loss": self.loss.clone()}


def recorded_or(net: NeuralNet, step_fn: Callable, iterator: Iterable) -> Callable:
    """The training step of a net as a CUDA graph, or as it is.

    The latter where it cannot be recorded, and whenever settings have changed.
    """
    is_warm = isinstance(iterator, TensorBatches) and net.average_.steps >= net._small_steps
    if not (net.record_steps and is_warm and may_record(net)):
        return step_fn
    net._set_training(True)  # in evaluation the KL has its full weight
    before, net._settings = net._settings, settings(net)
    if before != net._settings:
        # A learning rate or a KL weight that changes would be frozen.
        net._recorded = None
        return step_fn
    if net._recorded is None:
        try:
            net._recorded = RecordedStep(net, step_fn, iterator.batch_size)
        except RuntimeError:
            net.record_steps = False
            net.optimizer_.zero_grad(set_to_none=True)
    return net._recorded or step_fn
