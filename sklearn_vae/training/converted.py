"""A module in float64, kept while the module that it was made of stays what it is."""

import copy
import operator
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Converted(NamedTuple):
    """A module in float64, and what the module that it was made of consisted of.

    Attributes
    ----------
    module : torch.nn.Module
    parts : list of object
        Layers, attributes, hooks and tensors.
    numbers : list of Tensor
        Copies of the tensors.
    """

    module: nn.Module
    parts: list
    numbers: list

    @classmethod
    def of(cls, module: nn.Module) -> "Converted":
        """Convert a module."""
        parts, tensors = _parts(module)
        with torch.inference_mode(False), torch.no_grad():
            numbers = [tensor.detach().clone() for tensor in tensors]
            return cls(copy.deepcopy(module).double(), parts, numbers)

    def is_of(self, module: nn.Module) -> bool:
        """Whether it was made of this: the same objects, holding the same numbers."""
        parts, tensors = _parts(module)
        return (
            len(parts) == len(self.parts)
            and all(map(operator.is_, parts, self.parts))
            and _all_equal(tensors, self.numbers)
        )


def _parts(module: nn.Module) -> tuple[list, list[Tensor]]:
    """All that a module's results depend on, and the tensors among it."""
    parts, tensors = [], []
    for layer in module.modules():
        tensors += layer._parameters.values()
        tensors += layer._buffers.values()
        parts.append(layer)
        parts += vars(layer).values()
        parts += layer._forward_hooks.values()
        parts += layer._forward_pre_hooks.values()
    tensors = [tensor for tensor in tensors if tensor is not None]
    return parts + tensors, tensors


def _all_equal(tensors: list[Tensor], others: list[Tensor]) -> bool:
    try:
        return all(map(torch.equal, tensors, others))
    except RuntimeError:  # of another dtype or on another device
        return False
