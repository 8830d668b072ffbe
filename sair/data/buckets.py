"""Assign masks to hole-ratio buckets in exact arithmetic: a mask of exactly 20 % is in 20-40 on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from sair.common.errors import InputError


class Bucket(NamedTuple):
    """A half-open interval of hole ratios in percent, [low, high); a mask without a hole is in no bucket."""

    low: float
    high: float

    @property
    def label(self) -> str:
        """Return the name used in tables and paths, such as ``20-40``."""
        return f"{self.low:g}-{self.high:g}"

    def holds(self, hole_pixels: int, pixels: int) -> bool:
        """Return whether the ratio ``hole_pixels / pixels`` lies in the interval, compared exactly."""
        if hole_pixels == 0:
            return False
        # Compare cross-multiplied fractions: a float such as 100 * 0.2 may fall on either side of 20. `str` keeps 12.5
        # or 0.1 as the decimal that was written.
        low, high = Fraction(str(self.low)), Fraction(str(self.high))
        return low * pixels <= 100 * hole_pixels < high * pixels


ALL = "all"  # in tables: the predictions of every bucket together
FAMILY, RATIO = "family", "ratio"  # what the test of a mask set of families is divided by
DEFAULT_BUCKETS = (Bucket(0, 20), Bucket(20, 40), Bucket(40, 60))


def as_buckets(buckets: Iterable[tuple[float, float]]) -> tuple[Bucket, ...]:
    """Check limits in percent and return them as buckets.

    Args:
        buckets: (low, high) pairs in percent, half-open.

    Raises:
        InputError: a limit is outside [0, 100], an interval is empty, or two overlap.
    """
    made = tuple(Bucket(low, high) for low, high in buckets)
    for bucket in made:
        if not 0 <= bucket.low < bucket.high <= 100:
            raise InputError(f"buckets: {bucket.label} is not an interval; expected 0 <= low < high <= 100 percent.")
    ordered = sorted(made)
    for left, right in pairwise(ordered):
        if right.low < left.high:
            raise InputError(
                f"buckets: {left.label} and {right.label} overlap. A mask must fall into one at most: change a limit."
            )
    return made


def bucket_of(hole_pixels: int, pixels: int, buckets: Iterable[tuple[float, float]] = DEFAULT_BUCKETS) -> str:
    """Return the label of the bucket that contains a mask.

    Args:
        hole_pixels, pixels: counts of the mask at the evaluated resolution, 0 <= hole_pixels <= pixels.
        buckets: (low, high) pairs in percent, half-open.

    Returns:
        For example ``"0-20"``, or ``""`` if no bucket contains the mask.

    Raises:
        ValueError: the counts are impossible.
    """
    if not 0 <= hole_pixels <= pixels or pixels == 0:
        raise ValueError(f"{hole_pixels} hole pixels of {pixels}: expected 0 <= hole pixels <= pixels, pixels > 0")
    return next((b.label for b in as_buckets(buckets) if b.holds(hole_pixels, pixels)), "")


def families_of(masks: Mapping[str, Any]) -> list[str]:
    """Return the names of a mask set's families, published ones and folders; empty for another source."""
    return [family if isinstance(family, str) else _folder_name(family) for family in _families(masks)]


def folders_of(masks: Mapping[str, Any]) -> list[tuple[str, Mapping[str, str]]]:
    """Return the families of a mask set that are folders of masks: name, and ``path`` and ``hole``."""
    return [(_folder_name(family), family) for family in _families(masks) if not isinstance(family, str)]


def _families(masks: Mapping[str, Any]) -> list[str | Mapping[str, str]]:
    named = masks.get("family", [])
    return [named] if isinstance(named, str) else list(named)


def _folder_name(family: Mapping[str, str]) -> str:
    return family.get("name") or Path(family["path"]).name


def labels_of(masks: Mapping[str, Any], buckets: Sequence[tuple[float, float]]) -> list[str]:
    """Return the labels of a mask set's buckets, which tables and paths use.

    Args:
        masks: a mask set of the config.
        buckets: hole-ratio intervals of the config in percent.

    Returns:
        The names of its families, or hole ratios such as ``20-40``.
    """
    if by_family(masks):
        return families_of(masks)
    return [Bucket(low, high).label for low, high in buckets]


def by_family(masks: Mapping[str, Any]) -> bool:
    """Return whether the buckets of a mask set are its families, and not hole ratios."""
    return bool(families_of(masks)) and masks.get("by", FAMILY) == FAMILY


def holes(label: str, percent: str = " %") -> str:
    """Return a bucket's label for readers: ``20-40 %``; a family's name has no percent sign."""
    return f"{label}{percent}" if label[:1].isdigit() else label


def title_of(label: str, percent: str = " %") -> str:
    """Return the heading of a bucket's column, which for ``all`` is ``all mask ratios``."""
    return "all mask ratios" if label == ALL else holes(label, percent)
