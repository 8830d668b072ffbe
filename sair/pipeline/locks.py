"""Lock files of this machine; the system releases a lock when its process ends, even after ``kill -9``."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO

_held: list[TextIO] = []  # keeps streams open: closing a stream releases its lock


def try_lock(path: Path) -> TextIO | None:
    """Lock a file, which is created if needed.

    Returns:
        An open stream, whose closing releases the lock; None if another process holds it.

    Raises:
        OSError: the file cannot be opened for writing.
    """
    stream = open(path, "w")  # noqa: SIM115 - the caller closes it
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    return stream


def hold(stream: TextIO) -> None:
    """Keep a lock until this process ends."""
    _held.append(stream)
