"""What Ctrl-C does in a fit."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType


@contextmanager
def at_ctrl_c(end: Callable[[], None] | None) -> Iterator[None]:
    """Within this context the first Ctrl-C calls a function; the next does what it did before.

    With None it does what it did before from the start. So it does where Ctrl-C is ignored, as in a
    background job, and in threads other than the main one, since Python sends Ctrl-C to no other.
    """
    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler
    if end is None or before is signal.SIG_IGN or current_thread() is not main_thread():
        yield
        return

    def call(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        end()

    signal.signal(signal.SIGINT, call)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
