"""React to the signal by which a cluster, a shutdown or a user asks a process to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_sigterm(react: Callable[[], None]) -> Iterator[None]:
    """Call a function at SIGTERM, which then does not end the process, while the body runs.

    In another thread than the main one signals cannot be caught: nothing changes there.

    Args:
        react: is called in the main thread, between any two of its instructions, so it must not wait for a lock.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: react())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def ignore_sigterm(*_: object) -> None:
    """Ignore SIGTERM in this process: one that works for another, which ends it, when a whole group gets the signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
