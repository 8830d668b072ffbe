"""Score images in several threads: decoding, NumPy and torch compute without Python's lock, so all cores are used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from sair.evaluation.precision import full_precision

T = TypeVar("T")
PARTS = 16  # at least, where there are as many images. More would serve more cores, but small batches cost time


def in_parts(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Return items in parts of equal length, which depends on their number but not on the number of threads.

    Args:
        items: what to cut.
        most: length of the longest part.
    """
    length = max(1, min(most, len(items) // PARTS))
    return [items[start : start + length] for start in range(0, len(items), length)]


@contextmanager
def threads(jobs: int | None) -> Iterator[Executor]:
    """Provide threads in which torch computes with one thread and in full precision.

    Results do not depend on ``jobs``: a single thread computes in the same way.

    Args:
        jobs: number of threads; None for all cores that this process may use.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(jobs or _cores(), thread_name_prefix="score")
    try:
        # cuDNN's flags belong to the process. They are set here, or a thread that ends would reset them for the others.
        with full_precision(torch.device("cpu")):
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
