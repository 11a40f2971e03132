"""Where tensors live and what they are drawn from.

Devices by name, threads for a while, initialisation by an explicit generator.
"""

import inspect
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

_FIRST_PROCESS = os.getpid()
_this_thread = threading.local()
_one_at_a_time = threading.Lock()
_blas = threading.Lock()


def one_thread_after_fork() -> None:
    """In a process forked from the one that loaded this: let torch compute in one thread.

    A fork copies a process without its threads, and torch would wait for them for good.
    """
    pid = os.getpid()
    # How many threads there are is known to each thread on its own.
    if pid != _FIRST_PROCESS and getattr(_this_thread, "pid", None) != pid:
        _this_thread.pid = pid
        torch.set_num_threads(1)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Within this context torch computes with n threads, in the calling thread alone.

    Afterwards there are as many as before. Other threads of Python keep the number that they have,
    and those born meanwhile get the number that they would have got.
    """
    before, around = _set_threads_here(n), getattr(_this_thread, "usual", None)
    _this_thread.usual = around or before
    try:
        yield
    finally:
        _set_threads_here(before)
        _this_thread.usual = around


def usual_threads() -> int:
    """With how many threads torch computes here outside of all contexts of `threads`."""
    return getattr(_this_thread, "usual", None) or torch.get_num_threads()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within this context NumPy and SciPy compute in one thread.

    Their libraries have one number for the whole process. The first of several contexts that are
    open at once sets it and puts it back; the others leave it alone.
    """
    if not _blas.acquire(blocking=False):
        yield
        return
    try:
        with _blas_libraries().limit(limits=1):
            yield
    finally:
        _blas.release()


@cache
def _blas_libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _set_threads_here(n: int) -> int:
    """Set the number of threads in this thread only; return what it was.

    `torch.set_num_threads` sets that of the calling thread, and what threads born later begin with.
    The second is put back by a thread that was just born.
    """
    if n == torch.get_num_threads() and threading.current_thread() is threading.main_thread():
        return n
    with _one_at_a_time:
        before, usual = torch.get_num_threads(), _in_a_new_thread(torch.get_num_threads)
        if before == n and not getattr(_this_thread, "is_known", False):
            before = usual  # a thread that was born just when another was here
        _this_thread.is_known = True
        torch.set_num_threads(n)
        _in_a_new_thread(lambda: torch.set_num_threads(usual))
    return before


def _in_a_new_thread(function: Callable) -> Any:
    """What a function returns there."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


def available_devices() -> list[str]:
    """Names of the devices that this machine has, best first."""
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if hasattr(torch, "xpu"):
        names += [f"xpu:{i}" for i in range(torch.xpu.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(name: str) -> torch.device:
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
            f"Available: {', '.join(available_devices())}; or device='auto' to take the best of "
            "them."
        ) from error
    return device


class SeededInit(TorchDispatchMode):
    """Within this context torch draws from `generator` wherever a call names no other.

    It lets modules initialise themselves, whoever wrote them, without touching the global stream.
    Such a mode belongs to one thread, so concurrent fits do not meet.

    Parameters
    ----------
    generator : torch.Generator
    """

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.generator = generator

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not self._takes_generator(func):  # torch.randn and its like have an overload that does
            name = (
                "generator"
                if func._overloadname == "default"
                else func._overloadname + "_generator"
            )
            func = (
                getattr(func.overloadpacket, name)
                if name in func.overloadpacket.overloads()
                else func
            )
        if self._takes_generator(func) and kwargs.get("generator") is None:
            kwargs["generator"] = self.generator
        return func(*args, **kwargs)

    @staticmethod
    def _takes_generator(func: OpOverload) -> bool:
        return any(argument.name == "generator" for argument in func._schema.arguments)


# torch wraps it in what loads its compiler, which takes longer than most fits.
SeededInit.__torch_dispatch__ = inspect.unwrap(SeededInit.__torch_dispatch__)
