"""Find before a training which difference a design of seeds and images could detect. Imports nothing heavy itself."""

from __future__ import annotations

import math
from typing import NamedTuple

POWER = 0.8  # probability with which a difference of the stated size is detected
_POINTS = 200  # of the distribution of a measured seed spread


class Design(NamedTuple):
    """A planned comparison of two methods.

    seeds: trainings of each method.
    images: independent test images per bucket (clusters, where images belong together).
    family: comparisons that are printed together, for Holm's correction.
    """

    seeds: int
    images: int
    family: int


def smallest_difference(design: Design, least: float, image_spread: float) -> float:
    """Return the difference of two methods' means that the rule (``decide``) detects with probability ``POWER``.

    It is the difference that alone in its family has to pass the whole correction, as the first of Holm's steps.

    Args:
        design: numbers of seeds, images and comparisons.
        least: 95 % bound of the change of a mean that another seed causes.
        image_spread: standard deviation over images of the paired difference of two methods.

    Returns:
        In the unit of ``least``; infinite if so few images decide nothing.
    """
    import numpy as np
    from scipy import special

    from sair.evaluation.statistics_seeds import BOUND, LEVEL

    # The smallest p of a two-sided sign-flip test of n images is 2 / 2^n.
    if design.images < 2 or design.family * 2.0 ** (1 - design.images) >= LEVEL:
        return math.inf
    seeds, images = (least / BOUND) ** 2 / design.seeds, image_spread**2 / design.images
    error = math.sqrt(seeds + images)
    if error == 0:
        return 0.0
    tail = 1 - LEVEL / (2 * max(1, design.family))
    known = special.stdtrit((seeds + images) / max(images / (design.images - 1), 1e-300), tail) * error
    bounds = np.array([known])
    if design.seeds > 1:
        # The spread that so few seeds will show varies, and with it the interval that has to exclude zero.
        df = design.seeds - 1
        shown = seeds * special.chdtri(df, (np.arange(_POINTS) + 0.5) / _POINTS) / df
        measured = 1 / ((shown / df + images / (design.images - 1)) / (shown + images))
        bounds = np.maximum(known, special.stdtrit(measured, 1 - LEVEL / 2) * np.sqrt(shown + images))
    low, high = 0.0, float(bounds.max()) + 10 * error
    for _ in range(60):
        middle = (low + high) / 2
        detected = float(special.ndtr((middle - bounds) / error).mean())
        low, high = (low, middle) if detected > POWER else (middle, high)
    return high
