"""AdamW as the fused kernel of torch, at less than half the cost of `torch.optim.AdamW.step`.

On small tensors, most of ``optimizer.step()`` is to look for its tensors and to sort them by device
and dtype. Here they are looked for once. They stay those of the optimizer: its state, its learning
rate and its other settings are read and written as by its own step.

torch loads its compiler, only to tell it to leave an optimizer's methods alone. That takes longer
than most fits. Nobody compiles the optimizers of this package, so theirs are the plain methods.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .layout import joined, zeros_like

MOMENTS = "exp_avg", "exp_avg_sq", "step"
ONE = torch.tensor(1.0)  # a number of Python would be made a tensor at each step
HOOKS = "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"


class Uncompiled(Optimizer):
    """An optimizer that does not load torch's compiler."""

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class AdamW(Uncompiled, torch.optim.AdamW):
    """The steps of `torch.optim.AdamW`."""

    _plain_step = inspect.unwrap(torch.optim.AdamW.step)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step by the gradients that the parameters have, or that `closure` gives them."""
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return self._plain_step(closure)


def adamw(optimizer: Optimizer) -> Callable:
    """What to call in the place of ``optimizer.step``, for the tensors that it has now.

    Where anything is out of the ordinary it is ``optimizer.step`` itself.
    """
    group = optimizer.param_groups[0]
    if not is_plain(optimizer) or group["amsgrad"] or group["capturable"] or not group["fused"]:
        return optimizer.step
    params = [p for p in group["params"] if p.grad is not None]
    states, counts = states_of(optimizer, params)
    means, squares, steps = ([state[name] for state in states] for name in MOMENTS)
    lists = [p.detach() for p in params], [p.grad for p in params], means, squares
    fewer = [joined(tensors) for tensors in lists]
    sizes = [[tensor.numel() for tensor in tensors] for tensors in fewer]
    if all(each == sizes[0] for each in sizes) and (counts == counts[0]).all():
        lists, steps = fewer, steps[: len(sizes[0])]
    tensors = *lists, [], steps

    def step() -> None:
        counts.add_(ONE)
        options = {name: group[name] for name in ("lr", "weight_decay", "eps", "maximize")}
        beta1, beta2 = group["betas"]
        torch._fused_adamw_(*tensors, beta1=beta1, beta2=beta2, amsgrad=False, **options)

    return step


def is_plain(optimizer: Optimizer) -> bool:
    """Whether an optimizer has one group of parameters, and nobody watches its steps."""
    hooked = any(getattr(optimizer, name) for name in HOOKS)
    hooked = hooked or "step" in vars(optimizer)  # as where a schedule counts its calls
    return len(optimizer.param_groups) == 1 and not hooked


def states_of(
    optimizer: torch.optim.Optimizer,
    params: list[Tensor],
    memory_format: torch.memory_format = torch.preserve_format,
) -> tuple[list[dict], Tensor]:
    """The states of parameters, made as Adam does before its first step, and their counts."""
    states = [optimizer.state[p] for p in params]
    new = [p for p in params if not optimizer.state[p]]
    for name in MOMENTS[:2]:
        for p, moment in zip(new, zeros_like(new, memory_format), strict=True):
            optimizer.state[p][name] = moment
    for p in new:
        optimizer.state[p]["step"] = torch.zeros((), dtype=torch.float32)
    counts = torch.stack([state["step"] for state in states])
    for state, count in zip(states, counts.unbind(), strict=True):
        state["step"] = count  # so that one addition counts for all
    return states, counts
