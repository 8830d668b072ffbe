"""The process that drives the jobs: it plans them, one at a time per results folder, and no job outlives it.

A workflow may be killed at any moment. Then its lock must be free and its jobs must stop, or the next run would be
refused by a left-over lock file or write beside an orphan.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from sair.common.errors import InputError
from sair.common.files import read_mapping

if TYPE_CHECKING:  # every job imports this module before anything else
    from sair.pipeline.project import Project

_VARIABLE = "SAIR_DRIVER"
_held: list[TextIO] = []  # a stream that nothing refers to is closed, and its lock with it


def plan(config: dict[str, Any], schema: str, files: Iterable[str | Path]) -> Project:
    """Check the config that Snakemake has read, and plan the run.

    Args:
        config: Snakemake's config.
        schema: path of config.schema.yaml.
        files: the config's files, which are read again: Snakemake silently takes the last of two equal keys.

    Raises:
        SystemExit: the config is wrong; what a user can mend is printed.
    """
    from sair.pipeline.project import Project

    with one_line():
        for file in files:
            read_mapping(file)
        return Project(config, schema, list(files))


def start(project: Project, local: bool) -> None:
    """Hold the results folder of a run that starts, and refuse a device that this machine lacks.

    Args:
        project: what ``plan`` returned.
        local: whether the jobs run on this machine; elsewhere each looks for its device itself.

    Raises:
        SystemExit: another run holds the folder, or there is no such device; what a user can mend is printed.
    """
    with one_line():
        if project.config["device"] == "cuda" and local:
            from sair.common.runtime import device

            device("cuda")
        lock(project.results)


@contextmanager
def one_line() -> Iterator[None]:
    """End with the message alone of an error that a user can mend; Snakemake would add the lines of code behind it."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


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
        InputError: another process holds it, or it cannot be written to.
    """
    path = Path(folder) / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path, "w")  # noqa: SIM115 - held for the life of the process
    except OSError as error:
        raise InputError(
            f"{folder}: not a folder that results can be written to ({error.strerror}). Change `results` in the config."
        ) from None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise InputError(f"{folder}: another run is writing here. Wait for it, or stop it.") from None
    _held.append(stream)
    return stream
