"""Check images before they are scored. Nothing is resized, skipped or guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from sair.common.errors import InputError, refuse
from sair.common.images import read_rgb

T = TypeVar("T")
Loaded = TypeVar("Loaded")


def checked(items: Iterable[T], load: Callable[[T], Loaded], faults: list[str]) -> Iterator[tuple[T, Loaded]]:
    """Load every item once and yield it with what was loaded; after the first fault, only check the other items.

    Args:
        items: what to load.
        load: reads an item, and raises ``InputError`` for a fault.
        faults: gets the messages. The caller refuses them after the last item (``refuse_all``). Threads may share one.
    """
    for item in items:
        try:
            loaded = load(item)
        except InputError as error:
            faults.append(str(error))
        else:
            if not faults:
                yield item, loaded


def refuse_all(faults: Iterable[str]) -> None:
    """Refuse the faults of ``checked`` together, in alphabetical order, each once.

    A faulty ground truth that is used in three rows is reported once.

    Raises:
        InputError: there is a fault.
    """
    refuse(sorted(set(faults)))


def read_truth(path: Path, smallest: int) -> np.ndarray:
    """Read a ground-truth image, uint8 (H, W, 3), whose sides are at least ``smallest`` pixels.

    Raises:
        InputError: the file is not a readable image, or too small for the metrics.
    """
    truth = read_rgb(path)
    large_enough(path, truth, smallest)
    return truth


def large_enough(path: Path, pixels: np.ndarray, smallest: int) -> None:
    """Refuse an image (H, W, 3) with a side below ``smallest`` pixels."""
    if min(pixels.shape[:2]) < smallest:
        raise InputError(
            f"{path}: {_size(pixels)} pixels, but the metrics need at least {smallest} on each side. Use larger ones."
        )


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def same_size(path: Path, pixels: np.ndarray, truth_path: Path, truth: np.ndarray, remedy: str) -> None:
    """Refuse an image or mask that does not have the size of its ground truth."""
    if pixels.shape[:2] != truth.shape[:2]:
        raise InputError(
            f"{path}: {_size(pixels)} pixels (width x height), but {truth_path} has {_size(truth)}. "
            f"Nothing is resized silently; {remedy}."
        )
