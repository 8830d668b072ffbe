"""How a process behaves on its machine: threads, memory, determinism and precision."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from sair.common.errors import InputError

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}  # docs/speed.md measures both
_conditions: dict[str, Any] = {}  # of this process; see ``conditions``


def set_up(threads: int) -> None:
    """Prepare this process: ``threads`` torch threads, kept memory, deterministic kernels."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # A debugging aid that comes with it and fills every new tensor with NaN first.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # PyTorch's defaults, declared: convolutions of float32 may round their inputs to TF32 on a GPU, matrices may not.
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _keep_memory()


def writes() -> bool:
    """Whether this process writes the results: of several that share a training, the first."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def for_all(draw: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Random numbers for a batch, as one process would draw them for the parts of all that share it.

    Args:
        draw: (B, ...) of the whole batch -> (B, ...), from torch's random state, which all processes share.
        batch: this process's part of the batch.

    Returns:
        This process's part of what was drawn.
    """
    if not distributed.is_initialized():
        return draw(batch)
    parts = [torch.empty_like(batch) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, batch.contiguous())
    return draw(torch.cat(parts)).split(len(batch))[distributed.get_rank()]


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


def fast_bfloat16(on: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 in hardware: a GPU from Ampere on, a CPU with AMX or AVX-512 BF16."""
    if on.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = CPUINFO.read_text().split()
    except OSError:
        return False
    return on.type == "cpu" and not BFLOAT16_FLAGS.isdisjoint(flags)


def precision(wanted: str, on: torch.device) -> str:
    """Return what a config's ``precision`` is on a device, ``bf16`` or ``fp32``; ``auto`` is bf16 where it is fast."""
    if wanted == "auto":
        return "bf16" if fast_bfloat16(on) else "fp32"
    return wanted


def autocast(wanted: str, on: torch.device) -> torch.autocast:
    """Return the context of a config's ``precision`` on a device."""
    _conditions["precision"] = precision(wanted, on)
    return torch.autocast(on.type, torch.bfloat16, enabled=_conditions["precision"] == "bf16")


def device(wanted: str) -> torch.device:
    """Return the device of a config's ``device``: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: ``cuda`` on a machine without a GPU that torch can use.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda, but torch finds no GPU on this machine. Use `device: auto`, or `device: cpu`.")
    _conditions["device_type"] = wanted
    return torch.device(wanted)


def conditions() -> dict[str, Any]:
    """Return under what this process has computed so far: type of device, precision, and on a GPU its name and TF32."""
    found = {"device_type": "cpu", "precision": "fp32"} | _conditions
    if found["device_type"] == "cuda" and torch.cuda.is_initialized():
        found |= {
            "device": torch.cuda.get_device_name(),
            "tf32": {
                "convolutions": torch.backends.cudnn.allow_tf32,
                "matrices": torch.backends.cuda.matmul.allow_tf32,
            },
            "peak_gpu_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20),
        }
    return found


def adopt(found: dict[str, Any]) -> None:
    """Take over the conditions of processes that computed for this one."""
    _conditions.update(found)
