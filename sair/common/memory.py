"""Measure the memory that a process has used, and let it keep what it has freed."""

from __future__ import annotations

import ctypes
import resource
import sys
from functools import cache
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MiB.

    On Linux this is the kernel's high-water mark of the running program. ``ru_maxrss`` would not do: a process that is
    started by a fork begins with the resident memory of its parent, so a small job of a large driver counts the driver.
    Elsewhere, and where ``/proc`` has no such line, it is ``ru_maxrss``.
    """
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return _mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak_memory_of_children() -> float:
    """Return the largest resident memory of a child process that has ended, in MiB.

    It may count what this process had when it started the child, so it is of use only beside ``peak_memory``.
    """
    return _mebibytes(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def _mebibytes(maximum: int) -> float:
    return maximum / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux counts KiB


@cache
def keep_memory() -> None:
    """Tell glibc to keep freed memory: returning large arrays to the system costs 2-10x on some virtual machines."""
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except OSError:
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 256 * 2**20)
