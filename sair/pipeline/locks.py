"""Lock files, which the system releases when their process ends, even after ``kill -9``.

A file system that several machines share may keep locks to one machine, or refuse them. So ``claim`` also writes into
the file which process holds it, and asks Slurm whether a holder on another machine still runs.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from sair.common.errors import InputError

WAIT = 120.0  # seconds that a job waits for the job of an earlier run to end
SLURM_JOB = "SLURM_JOB_ID"  # the environment variable that Slurm sets in a job
_LARGEST_PROCESS = 2**31 - 1  # that the system can be asked for
_SLURM_NUMBER = re.compile(r"([0-9][0-9A-Za-z_.+-]*)?")  # of a job, also one of an array or of a federation
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # the file system, or how it is mounted, has no locks

_held: list[TextIO] = []  # keeps streams open: closing a stream releases its lock


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as it is written into the lock file.

    Attributes:
        host: name of its machine.
        process: its number there.
        slurm_job: number of its Slurm job; empty outside Slurm.
        since: date and time.
    """

    host: str
    process: int
    slurm_job: str = ""
    since: str = ""

    def __str__(self) -> str:
        job = f", Slurm job {self.slurm_job}" if self.slurm_job else ""
        return f"process {self.process} on {self.host}{job}, since {self.since or 'an unknown time'}"


class Held(Exception):
    """Another process holds a lock.

    Attributes:
        holder: that process; None if the lock file does not name it.
    """

    def __init__(self, holder: Holder | None, path: Path) -> None:
        super().__init__(str(holder or f"{path} does not name it; `fuser {path}` does"))
        self.holder = holder


def try_lock(path: Path) -> TextIO | None:
    """Lock a file, which is created if needed; its content is kept.

    Returns:
        An open stream, whose closing releases the lock; None if another process holds it.

    Raises:
        OSError: the file cannot be opened for writing, or the file system has no locks.
    """
    stream = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - the caller closes it
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    except OSError:
        stream.close()
        raise
    return stream


def hold(stream: TextIO) -> None:
    """Keep a lock until this process ends."""
    _held.append(stream)


def claim(path: Path) -> TextIO:
    """Lock a file for all machines that share it, and write into it which process holds it.

    Args:
        path: the lock file, which is created if needed.

    Returns:
        An open stream, whose closing releases the lock.

    Raises:
        Held: another process holds the lock.
        OSError: the file cannot be opened for writing.
    """
    while True:
        locks = True
        try:
            stream = try_lock(path)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            stream, locks = open(path, "a+", encoding="utf-8"), False  # noqa: SIM115 - the caller closes it
        if stream is None:
            raise Held(_holder(path), path)
        if _is_file(stream, path):  # and not one that its last holder has removed in the meantime
            break
        stream.close()
    holder = _holder(path)
    if holder is not None and _lives(holder, locks):
        stream.close()
        raise Held(holder, path)
    stream.truncate(0)
    stream.write(json.dumps(asdict(_this_process())) + "\n")
    stream.flush()
    return stream


@contextmanager
def claimed(path: Path, wait: float) -> Iterator[None]:
    """Hold a lock file while the body runs, and remove the file then; wait for another holder to end.

    Args:
        path: the lock file, in a folder that exists.
        wait: seconds to wait at most.

    Raises:
        InputError: another process still holds the lock.
    """
    stream = _claim_within(path, wait)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        stream.close()


def _claim_within(path: Path, wait: float) -> TextIO:
    deadline, told = time.monotonic() + wait, False
    while True:
        try:
            return claim(path)
        except Held as held:
            if not told:
                print(f"waiting for another process that makes the same files ({held})", file=sys.stderr)
                told = True
            if time.monotonic() > deadline:
                raise InputError(
                    f"{path.with_suffix('.log')}: another process makes the files of this job ({held}). "
                    f"{_remedy(held, path)}"
                ) from None
        time.sleep(0.5)


def _remedy(held: Held, path: Path) -> str:
    if held.holder is not None and held.holder.slurm_job:
        return f"Wait for it, or end it with `scancel {held.holder.slurm_job}`, then start again."
    return f"Wait for it, or end it, then start again. If it has ended already, delete {path}."


def _this_process() -> Holder:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(socket.gethostname(), os.getpid(), os.environ.get(SLURM_JOB, ""), since)


def _holder(path: Path) -> Holder | None:
    """Return the holder that a lock file names; None if it names none, for example because the file is damaged."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        holder = Holder(facts["host"], facts["process"], facts["slurm_job"], facts["since"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # not text, not JSON, or nested too deeply
        return None
    texts = (holder.host, holder.slurm_job, holder.since)
    if not all(isinstance(text, str) and text.isprintable() for text in texts) or type(holder.process) is not int:
        return None
    # For the system, 0 and negative numbers are groups of processes.
    is_process = 0 < holder.process <= _LARGEST_PROCESS
    return holder if is_process and _SLURM_NUMBER.fullmatch(holder.slurm_job) else None


def _is_file(stream: TextIO, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    return False


def _lives(holder: Holder, locks: bool) -> bool:
    """Return whether a holder that its lock file names still runs, though its lock was not seen.

    Args:
        holder: the process.
        locks: whether the file system has locks, at least between the processes of one machine.
    """
    if holder.host == socket.gethostname():
        return not locks and holder.process != os.getpid() and _is_process(holder.process)
    if holder.slurm_job:
        from sair.pipeline.slurm import is_running

        return is_running(holder.slurm_job)
    return not locks


def _is_process(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it belongs to another user
    return True
