"""Draw free-form masks as CoModGAN's generator does (Zhao et al., ICLR 2021), which MAT and MI-GAN use.

Facts of zsyzzsoft/co-mod-gan at c8b9ffe3 (``training/mask_generator.py``) and fenglinglwb/MAT at d273d891
(``datasets/mask_generator_*.py``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sair.data.families.drawing import integer, line, normal, rectangle, sine_cosine, uniform

FULL_TURN = 2 * math.pi
MEAN_ANGLE, ANGLE_RANGE = FULL_TURN / 5, FULL_TURN / 15
CORNERS = (4, 18)  # of a brush stroke, the second excluded
PILLOW_EXTRA = 0.25  # pixels; with it a line has as many pixels as Pillow's line with discs at its ends
WIDTHS = (12, 48)  # of a brush stroke in pixels, at every size of the mask


@dataclass(frozen=True)
class FreeForm:
    """Rectangles of two sizes and brush strokes: at most this number of each, the limit itself excluded.

    Attributes:
        small: rectangles with sides below half of the mask's.
        large: rectangles with sides below the mask's.
        strokes: brush strokes.
    """

    small: int
    large: int
    strokes: int

    def __call__(self, rng: np.random.Generator, side: int) -> np.ndarray:
        """Draw one mask, bool (side, side), True = hole; it has a hole and a known pixel."""
        while True:
            mask = np.zeros((side, side), dtype=bool)
            for most, limit in ((self.small, side // 2), (self.large, side)):
                for _ in range(integer(rng, 0, most)):
                    _draw_rectangle(mask, rng, limit)
            mask |= self._strokes(rng, side)
            if 0 < mask.sum() < mask.size:
                return mask

    def _strokes(self, rng: np.random.Generator, side: int) -> np.ndarray:
        mask = np.zeros((side, side), dtype=bool)
        for _ in range(integer(rng, 0, self.strokes)):
            _draw_stroke(mask, rng)
        # All strokes together are mirrored; the mirroring of single strokes in the published code has no effect.
        if rng.random() > 0.5:
            mask = mask[::-1]
        return mask[:, ::-1] if rng.random() > 0.5 else mask


def _draw_rectangle(mask: np.ndarray, rng: np.random.Generator, limit: int) -> None:
    """Set a rectangle whose sides are below ``limit`` and of which at most half is outside, in each direction."""
    side = len(mask)
    width, height = integer(rng, 0, limit), integer(rng, 0, limit)
    left = integer(rng, -(width // 2), side - width + width // 2)
    top = integer(rng, -(height // 2), side - height + height // 2)
    rectangle(mask, left, top, width, height)


def _draw_stroke(mask: np.ndarray, rng: np.random.Generator) -> None:
    side = len(mask)
    mean = math.sqrt(2 * side * side) / 8
    deviation = mean // 2
    corners = integer(rng, *CORNERS)
    smallest, largest = (
        MEAN_ANGLE - uniform(rng, 0, ANGLE_RANGE),
        MEAN_ANGLE + uniform(rng, 0, ANGLE_RANGE),
    )
    point = integer(rng, 0, side), integer(rng, 0, side)
    points = [point]
    for number in range(corners):
        angle = uniform(rng, smallest, largest)
        length = min(max(mean + deviation * normal(rng), 0.0), 2 * mean)
        sine, cosine = sine_cosine(FULL_TURN - angle if number % 2 == 0 else angle)
        x, y = point[0] + length * cosine, point[1] + length * sine
        point = int(min(max(x, 0.0), side)), int(min(max(y, 0.0), side))
        points.append(point)
    radius = int(uniform(rng, *WIDTHS)) // 2 + PILLOW_EXTRA
    for start, end in pairwise(points):
        line(mask, start, end, radius)


COMODGAN = FreeForm(10, 5, 20)
MAT_LARGE_512, MAT_SMALL_512 = FreeForm(5, 3, 9), FreeForm(3, 2, 4)
MAT_LARGE_256, MAT_SMALL_256 = FreeForm(4, 2, 8), FreeForm(2, 2, 3)
