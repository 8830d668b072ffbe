"""What must hold of pictures before they are scored. Nothing is resized, skipped or guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from sair.files import LISTED, InputError, refuse
from sair.images import read_rgb
from sair.progress import progress

T = TypeVar("T")


def check_all(items: Sequence[T], load: Callable[[T], object], show: bool) -> None:
    """Load every item once and refuse all faults together, before hours are spent on the good ones."""
    faults = []
    for item in progress(items, desc="check", unit="picture", disable=not show):
        try:
            load(item)
        except InputError as error:
            faults.append(str(error))
    refuse(list(dict.fromkeys(faults)))  # a truth of three rows is one fault


def some_of(names: Iterable[str]) -> str:
    """Some names in order, and how many more there are."""
    names = sorted(names)
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def read_truth(path: Path, smallest: int) -> np.ndarray:
    """A picture, uint8 (H, W, 3), that is large enough for the metrics, or an InputError."""
    truth = read_rgb(path)
    if min(truth.shape[:2]) < smallest:
        raise InputError(
            f"{path}: {_size(truth)} pixels, but the metrics need at least {smallest} on each side. Use larger ones."
        )
    return truth


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def same_size(path: Path, pixels: np.ndarray, truth_path: Path, truth: np.ndarray, remedy: str) -> None:
    """Refuse a picture or mask that is not of its truth's size."""
    if pixels.shape[:2] != truth.shape[:2]:
        raise InputError(
            f"{path}: {_size(pixels)} pixels (width x height), but {truth_path} has {_size(truth)}. "
            f"Nothing is resized silently; {remedy}."
        )
