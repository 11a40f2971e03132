r"""The average of the weights over the steps of a training, and small steps at its beginning.

Steps on a few rows at a constant learning rate end in a cloud around the best weights. The average
of the cloud is nearer to the best weights than any of its points. Later weights count more
(polynomial-decay averaging, Shamir & Zhang 2013, section 4),

    mean_t = (1 - (gamma + 1) / (t + gamma)) mean_(t-1) + (gamma + 1) / (t + gamma) w_t,

so for gamma = 8 the average is over about the last tenth of the steps, however many there are.
After step `OFTEN` it counts every fourth of them, and those at which it is looked at: with k
steps since the last one the share is (gamma + 1) / (t / k + gamma). Weights that few steps lie
between tell nearly the same, and to count those of large networks takes a twentieth of a step.

During an epoch the module has the last weights, w_t. Between epochs, when it is evaluated, it has
their average. `WeightAverage` changes the one for the other.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from skorch import NeuralNet
from torch import nn

from .callbacks import StageIsOver
from .layout import joined, tensors_of

GAMMA = 8
OFTEN, EVERY = 100, 4  # steps of which all are counted; of the later ones every fourth is
WARM_UP = 30  # steps over which the learning rate grows to its value


class WeightAverage:
    """The average of what a module learns.

    Parameters
    ----------
    module : torch.nn.Module
        Whose weights and floating-point buffers are averaged.

    Attributes
    ----------
    steps : int
        How many were taken.
    """

    def __init__(self, module: nn.Module):
        tensors = [t.detach() for t in tensors_of(module) if t.is_floating_point()]
        self.shown = joined(tensors)
        self.average = [tensor.clone() for tensor in self.shown]
        self.last = [tensor.clone() for tensor in self.shown]
        self.steps, self.since, self.is_shown = 0, 0, False

    def add(self) -> None:
        """Tell that a step has led to the weights that the module has now."""
        self.steps += 1
        self.since += 1
        if self.since == EVERY or self.steps <= OFTEN:
            self._count()

    @torch.no_grad()
    def _count(self) -> None:
        """Let the average count the weights that the module has now."""
        share = (GAMMA + 1) / (self.steps / self.since + GAMMA)
        torch._foreach_lerp_(self.average, self.shown, share)
        self.since = 0

    @torch.no_grad()
    def show(self, average: bool) -> None:
        """Let the module have the average, or the last weights."""
        if average is not self.is_shown and self.steps:
            if self.since:
                self._count()
            pair = self.last, self.average
            kept, wanted = pair if average else pair[::-1]
            torch._foreach_copy_(kept, self.shown)
            torch._foreach_copy_(self.shown, wanted)
            self.is_shown = average


def warm_up(step_fn: Callable[[], dict], optimizer: torch.optim.Optimizer, steps: int) -> dict:
    """A training step at a share of the learning rate that grows with the steps before it."""
    groups = optimizer.param_groups
    rates = [group["lr"] for group in groups]
    share = min(1.0, (steps + 1) / WARM_UP)
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = share * rate
    try:
        return step_fn()
    finally:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate


def averaged(net: NeuralNet, step_fn: Callable) -> Callable:
    """A step after which the average of a net's weights counts it; the first ones are small.

    It ends the training where the net's time is over, or something else has ended the fit.
    """
    average, step_fn = net.average_, net.limits_.around(step_fn)

    def step(batch: tuple, **fit_params: Any) -> dict:
        if not net.ended_by_ and time.monotonic() > net.deadline_:
            net.ended_by_ = "max_time"
        if net.ended_by_:
            raise StageIsOver
        if average.steps < net._small_steps:
            result = warm_up(lambda: step_fn(batch, **fit_params), net.optimizer_, average.steps)
        else:
            result = step_fn(batch, **fit_params)
        average.add()
        return result

    return step
