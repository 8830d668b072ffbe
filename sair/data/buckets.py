"""Hole-ratio buckets, decided by integers: a mask of exactly 20 % belongs to 20-40 on every machine."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from sair.common.errors import InputError


class Bucket(NamedTuple):
    """A half-open interval of hole ratios in percent, [low, high); a mask without any hole is in no bucket."""

    low: float
    high: float

    @property
    def label(self) -> str:
        """Name in tables and paths, such as ``20-40``."""
        return f"{self.low:g}-{self.high:g}"

    def holds(self, hole_pixels: int, pixels: int) -> bool:
        """Whether ``hole_pixels`` of ``pixels`` lie in the interval, compared exactly."""
        if hole_pixels == 0:
            return False
        # Cross-multiplied fractions: a float such as 100 * 0.2 may fall on either side of 20. `str` reads 12.5 or 0.1
        # as the decimal that was written.
        low, high = Fraction(str(self.low)), Fraction(str(self.high))
        return low * pixels <= 100 * hole_pixels < high * pixels


DEFAULT_BUCKETS = (Bucket(0, 20), Bucket(20, 40), Bucket(40, 60))


def as_buckets(buckets: Iterable[tuple[float, float]]) -> tuple[Bucket, ...]:
    """Check limits in percent and make them buckets.

    Raises:
        InputError: a limit outside [0, 100], an empty interval, or two that overlap.
    """
    made = tuple(Bucket(low, high) for low, high in buckets)
    for bucket in made:
        if not 0 <= bucket.low < bucket.high <= 100:
            raise InputError(f"buckets: {bucket.label} is no interval; expected 0 <= low < high <= 100 percent.")
    ordered = sorted(made)
    for left, right in pairwise(ordered):
        if right.low < left.high:
            raise InputError(
                f"buckets: {left.label} and {right.label} overlap. A mask must fall into one at most: change a limit."
            )
    return made


def bucket_of(hole_pixels: int, pixels: int, buckets: Iterable[tuple[float, float]] = DEFAULT_BUCKETS) -> str:
    """Label of the bucket that a mask falls into.

    Args:
        hole_pixels, pixels: counts of the mask at the evaluated resolution, 0 <= hole_pixels <= pixels.
        buckets: (low, high) pairs in percent, half-open.

    Returns:
        Such as ``"0-20"``, or ``""`` where no bucket holds the mask.
    """
    if not 0 <= hole_pixels <= pixels or pixels == 0:
        raise ValueError(f"{hole_pixels} hole pixels of {pixels}: expected 0 <= hole pixels <= pixels, pixels > 0")
    return next((b.label for b in as_buckets(buckets) if b.holds(hole_pixels, pixels)), "")
