"""What Ctrl-C does in a fit."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType


@contextmanager
def at_ctrl_c(end: Callable[[], None] | None) -> Iterator[None]:
    """Within this context the first Ctrl-C calls a function; the next does what it did before.

    With None it does what it did before from the start. So it does in threads other than the main
    one, since Python sends Ctrl-C to no other.
    """
    if end is None or current_thread() is not main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler

    def call(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        end()

    signal.signal(signal.SIGINT, call)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
