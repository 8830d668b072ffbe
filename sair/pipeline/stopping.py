"""Make sure that a run ends after SIGTERM.

Snakemake's own handler takes a lock in the main thread. If the main thread holds that lock already, because it is
printing a job's error or because SIGTERM came twice, the run hangs forever. The handler also waits until the running
jobs are finished, which for a training takes hours.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

GRACE = 60.0  # seconds for the jobs to end; a training saves its state after the current step


def end_on_sigterm(grace: float = GRACE, cancel: Callable[[], None] | None = None) -> None:
    """Replace the handler of SIGTERM: end all jobs, and this process after them.

    Jobs of this machine get the signal. Those that still run after ``grace`` seconds are killed, and so is this
    process. Call it in the main thread, after Snakemake has set its own handler.

    Args:
        grace: seconds that the jobs have to end.
        cancel: ends the jobs of a cluster, which live on without this process. The signal of a log-out, SIGHUP, is
            then treated like SIGTERM, unless it is ignored (``nohup``).
    """
    scheduler = signal.getsignal(signal.SIGTERM)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    arguments = (reading, scheduler if callable(scheduler) else None, grace, cancel)
    # Start the thread here, not in the handler: a handler may interrupt the main thread anywhere, so it must not wait
    # for a lock, and starting a thread does wait for one.
    threading.Thread(target=_stop, args=arguments, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: _request(writing))
    if cancel is not None and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: _request(writing))


def _request(writing: int) -> None:
    with suppress(BlockingIOError):  # the pipe is full of earlier requests
        os.write(writing, b"\n")


def _stop(
    reading: int, scheduler: Callable[[int, Any], Any] | None, grace: float, cancel: Callable[[], None] | None
) -> None:
    """Wait for a request, tell Snakemake's scheduler to start nothing more, and end the jobs."""
    os.read(reading, 1)
    deadline = time.monotonic() + grace
    if scheduler is not None:  # in a thread, because it waits for the scheduler's lock
        threading.Thread(target=scheduler, args=(signal.SIGTERM, None), daemon=True).start()
    if cancel is not None:
        cancel()
    else:
        _signal_jobs(signal.SIGTERM)
    time.sleep(max(0.0, deadline - time.monotonic()))
    if cancel is not None:
        cancel()  # once more, for a job that was just being submitted
    _signal_jobs(signal.SIGKILL)
    os._exit(128 + signal.SIGTERM)


def _signal_jobs(which: signal.Signals) -> None:
    """Send a signal to all processes below this one, parents first."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(which)
