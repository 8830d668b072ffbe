"""Explain in one line that a job ran out of memory: what ran, on what, and which settings to lower."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from sair.common.errors import InputError

_GPU = ("CUDA out of memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
_CPU = ("not enough memory", "can't allocate memory", "Cannot allocate memory")


def out_of_memory(error: BaseException, what: str, training: dict[str, Any] | None = None) -> InputError | None:
    """Return the error to show if memory ran out, on the GPU or on the machine; None for any other error.

    Args:
        error: the exception that the job raised.
        what: what ran, such as ``train sair, preset paper``.
        training: settings of the training; None if the job trains nothing.
    """
    text = str(error)
    # torch is not imported here: only a job that has imported it raises its error.
    on_gpu = type(error).__name__ == "OutOfMemoryError" or any(part in text for part in _GPU)
    on_cpu = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(part in text for part in _CPU)
    )
    if not on_gpu and not on_cpu:
        return None
    where = _card() if on_gpu else _machine()
    lower = [*_of_training(training), *_of_jobs(on_gpu), "Or lower `image_size`, which changes the results."]
    return InputError(f"{what}: out of memory on {where}. {' '.join(lower)} ({_beginning(text)})")


def _of_training(training: dict[str, Any] | None) -> list[str]:
    if training is None:
        return []
    batch, accumulate = training["batch"], training["accumulate"]
    if batch > 1:
        return [
            f"Lower the training's `batch` ({batch}) and raise `accumulate` ({accumulate}) so that their product stays "
            f"{batch * accumulate}."
        ]
    return ["The training's `batch` is already 1."]


def _of_jobs(on_gpu: bool) -> list[str]:
    if on_gpu:
        return ["If other jobs share the card, set a lower `gpu_jobs` (1: one job per card)."]
    return ["Run fewer jobs at once: lower `--cores`."]


def _card() -> str:
    """Return the name of the GPU in use, its memory, and how much of it is free and taken by this process."""
    torch: Any = sys.modules.get("torch")
    with suppress(Exception):  # after such an error, calls to the driver may fail
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info())
        own = torch.cuda.memory_reserved() / 2**30
        name = torch.cuda.get_device_name()
        return f"{name} ({total:.1f} GiB, of which {free:.1f} free and {own:.1f} taken by this job)"
    return "the GPU"


def _machine() -> str:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"this machine ({total:.1f} GiB)"


def _beginning(text: str) -> str:
    """Return the beginning of torch's message, whose end lists addresses and settings of its allocator."""
    line = " ".join(text.split())
    return f"{line[:160].rsplit(' ', 1)[0]} ..." if len(line) > 160 else line or "no details given"
