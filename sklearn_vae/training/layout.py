"""Parameters that lie one after the other in memory.

A step updates and averages every parameter of two networks, and an epoch copies them. On small
tensors most of that is the time of a call. Those that follow each other are one tensor to it.
"""

import torch
from torch import Tensor, nn


def tensors_of(module: nn.Module) -> list[Tensor]:
    """The parameters of a module and then its buffers, found in one walk through it."""
    layers = list(module.modules())
    tensors = [tensor for layer in layers for tensor in layer._parameters.values()]
    tensors += [tensor for layer in layers for tensor in layer._buffers.values()]
    return list({id(tensor): tensor for tensor in tensors if tensor is not None}.values())


def lay_out(module: nn.Module) -> None:
    """Let the parameters of a module, of one type and device, follow each other in memory."""
    params = list(module.parameters())
    for p, own in zip(params, zeros_like(params), strict=True):
        p.data = own.copy_(p.detach())


def zeros_like(
    tensors: list[Tensor], memory_format: torch.memory_format = torch.preserve_format
) -> list[Tensor]:
    """Zeros of the shapes of tensors, one after the other unless their format forbids it."""
    is_kept = memory_format is torch.preserve_format
    if not tensors or (is_kept and not all(tensor.is_contiguous() for tensor in tensors)):
        return [torch.zeros_like(tensor) for tensor in tensors]
    sizes = [tensor.numel() for tensor in tensors]
    parts = tensors[0].new_zeros(sum(sizes)).split(sizes)
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def joined(tensors: list[Tensor]) -> list[Tensor]:
    """The same numbers in fewer tensors: one for all that follow each other in memory."""
    runs = []
    for tensor in tensors:
        if runs and _follows(tensor, runs[-1][-1]):
            runs[-1].append(tensor)
        else:
            runs.append([tensor])
    return [run[0] if len(run) == 1 else _as_one(run) for run in runs]


def _follows(tensor: Tensor, other: Tensor) -> bool:
    return (
        tensor.is_contiguous()
        and other.is_contiguous()
        and (tensor.dtype, tensor.device) == (other.dtype, other.device)
        and tensor.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
        and tensor.storage_offset() == other.storage_offset() + other.numel()
    )


def _as_one(run: list[Tensor]) -> Tensor:
    return run[0].as_strided((sum(tensor.numel() for tensor in run),), (1,))
