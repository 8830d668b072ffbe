"""The process that drives the jobs: one at a time per results folder, and no job outlives it.

A workflow may be killed at any moment. Then its lock must be free and its jobs must stop, or the next run would be
refused by a left-over lock file or write beside an orphan.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from pathlib import Path
from typing import TextIO

from sair.files import InputError

_VARIABLE = "SAIR_DRIVER"
_held: list[TextIO] = []  # a stream that nothing refers to is closed, and its lock with it


def announce() -> None:
    """Tell the jobs that this process will start who started them."""
    os.environ[_VARIABLE] = f"{os.getpid()}@{socket.gethostname()}"


def watch() -> None:
    """In a job: end soon after the driver died. A driver on another machine, or none, is not watched."""
    driver, _, host = os.environ.get(_VARIABLE, "").partition("@")
    if host == socket.gethostname():
        threading.Thread(target=_end_with, args=(int(driver),), daemon=True).start()


def _end_with(driver: int) -> None:
    while True:
        try:
            os.kill(driver, 0)
        except ProcessLookupError:
            os._exit(143)
        except PermissionError:
            pass  # it lives, as somebody else's
        time.sleep(0.5)


def lock(folder: str | Path) -> TextIO:
    """Hold a results folder until this process ends, however it ends.

    Raises:
        InputError: another process holds it.
    """
    path = Path(folder) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = open(path, "w")  # noqa: SIM115 - held for the life of the process
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise InputError(f"{folder}: another run is writing here. Wait for it, or stop it.") from None
    _held.append(stream)
    return stream
