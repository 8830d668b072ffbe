"""Set up a process for its machine: threads, memory, determinism, device and precision."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from sair.common.errors import InputError
from sair.common.memory import keep_memory

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}  # docs/speed.md measures both
# Whether float32 on a GPU may be computed in TF32, with 10 bits of mantissa, as PyTorch's convolutions do by default.
# Off, so that float32 means the same on a CPU and on a GPU: emulated on a CPU, TF32 moved StructureFlow's images by 17
# grey levels. Training is little affected, because a GPU trains in bfloat16 unless `precision: fp32` is set.
TF32 = False
_conditions: dict[str, Any] = {}  # what this process has computed with so far; see ``conditions``


def set_up(threads: int) -> None:
    """Set torch to ``threads`` threads and deterministic kernels, and keep freed memory in the process."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Turn off the debugging option that deterministic mode enables: it fills new tensors with NaN.
    deterministic: Any = torch.utils.deterministic  # its class defines the option as a property, which stubs lack
    deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = TF32
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    keep_memory()


def writes() -> bool:
    """Return whether this process writes results: the first process of a distributed training, or the only one."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def for_all(draw: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Draw random numbers for this process's part of a batch, equal to those that a single process would draw.

    Args:
        draw: maps the whole batch (B, ...) to (B, ...), using torch's random state, which is equal in all processes.
        batch: this process's part of the batch.

    Returns:
        The result for this process's part.
    """
    if not distributed.is_initialized():
        return draw(batch)
    parts = [torch.empty_like(batch) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, batch.contiguous())
    return draw(torch.cat(parts)).split(len(batch))[distributed.get_rank()]


def fast_bfloat16(on: torch.device) -> bool:
    """Return whether a device has bfloat16 arithmetic: a GPU since Ampere, a CPU with AMX or AVX-512 BF16."""
    if on.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = CPUINFO.read_text().split()
    except OSError:
        return False
    return on.type == "cpu" and not BFLOAT16_FLAGS.isdisjoint(flags)


def precision(wanted: str, on: torch.device) -> str:
    """Return ``bf16`` or ``fp32`` for a config's ``precision``; ``auto`` is ``bf16`` on devices where that is fast."""
    if wanted == "auto":
        return "bf16" if fast_bfloat16(on) else "fp32"
    return wanted


def autocast(wanted: str, on: torch.device) -> torch.autocast:
    """Return the autocast context for a config's ``precision`` on a device, and note the precision."""
    _conditions["precision"] = precision(wanted, on)
    return torch.autocast(on.type, torch.bfloat16, enabled=_conditions["precision"] == "bf16")


def device(wanted: str) -> torch.device:
    """Return the torch device for a config's ``device``, which is ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: ``cuda`` was requested, but torch finds no GPU.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda, but torch finds no GPU on this machine. Use `device: auto`, or `device: cpu`.")
    _conditions["device_type"] = wanted
    return torch.device(wanted)


def conditions() -> dict[str, Any]:
    """Return what this process has computed with so far: device type, precision, and GPU name, TF32 and memory."""
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
    """Record the conditions of processes that computed on behalf of this one."""
    _conditions.update(found)
