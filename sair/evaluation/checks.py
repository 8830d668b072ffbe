"""Conditions on images before they are scored. Nothing is resized, skipped or guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from sair.common.errors import InputError, refuse
from sair.common.images import read_rgb
from sair.common.progress import progress

T = TypeVar("T")


def check_all(items: Sequence[T], load: Callable[[T], object], show: bool) -> None:
    """Load every item once and refuse all faults together, before hours are spent on the good ones."""
    faults = []
    for item in progress(items, desc="check", unit="image", disable=not show):
        try:
            load(item)
        except InputError as error:
            faults.append(str(error))
    refuse(list(dict.fromkeys(faults)))  # a ground truth used in three rows is reported once


def read_truth(path: Path, smallest: int) -> np.ndarray:
    """Read a ground-truth image, uint8 (H, W, 3), whose sides are at least ``smallest`` pixels.

    Raises:
        InputError: the file is no readable image, or too small for the metrics.
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
