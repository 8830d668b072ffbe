"""How a process behaves on its machine: threads, memory, determinism and precision."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import torch


def set_up(threads: int) -> None:
    """Prepare this process: ``threads`` torch threads, kept memory, deterministic kernels."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # A debugging aid that comes with it and fills every new tensor with NaN first.
    torch.utils.deterministic.fill_uninitialized_memory = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _keep_memory()


def _keep_memory() -> None:
    """Tell glibc to keep freed memory: handing large tensors back at each call costs 2-10x on some virtual machines."""
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except OSError:
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 256 * 2**20)


def fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 matrices in hardware (a GPU, or a CPU with AMX)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    try:
        return " amx_bf16 " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def autocast(precision: str, on: torch.device) -> torch.autocast:
    """The context of a config's ``precision``: ``bf16``, ``fp32``, or ``auto``, bfloat16 where it is fast."""
    wanted = fast_bfloat16() if precision == "auto" else precision == "bf16"
    return torch.autocast(on.type, torch.bfloat16, enabled=wanted)


def device(wanted: str) -> torch.device:
    """The device of a config's ``device``: ``auto``, ``cpu`` or ``cuda``."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
