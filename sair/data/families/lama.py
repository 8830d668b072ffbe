"""Draw thin, medium and thick masks as LaMa's generator does (Suvorov et al., WACV 2022).

Facts of advimman/lama at 786f5936: ``configs/data_gen/random_*.yaml`` and ``saicinpainting/training/data/masks.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sair.data.families.drawing import integer, line, rectangle, sine_cosine

BOX_SHARE = 0.3 / 1.3  # `irregular_proba: 1` and `box_proba: 0.3`, normalised
MOST_HOLE = 0.5  # `max_tamper_area`
# Pixels; with it a line has as many pixels as OpenCV's, which is one wider than asked for, or two at odd widths.
OPENCV_EXTRA = 0.4
TURN = 2 * 3.1415926  # the generator's own digits


@dataclass(frozen=True)
class Boxes:
    """Settings of the boxes: distance from the border, shortest and longest side in pixels, most boxes."""

    margin: int
    shortest: int
    longest: int
    most: int


@dataclass(frozen=True)
class LamaMasks:
    """One configuration of LaMa's generator, in pixels at its size.

    A mask has strokes or, in 3 of 13 cases, boxes. Masks with more than half of their pixels in the hole are drawn
    again.

    Attributes:
        least, most: numbers of strokes in the configuration. The generator draws up to ``most + 1``.
        width, length: a segment is 5 to ``width + 4`` pixels wide and 10 to ``length + 9`` long.
        boxes: of a mask of boxes; None if there are none.
    """

    least: int
    most: int
    width: int
    length: int
    boxes: Boxes | None = None

    def __call__(self, rng: np.random.Generator, side: int) -> np.ndarray:
        """Draw one mask, bool (side, side), True = hole."""
        while True:
            mask = np.zeros((side, side), dtype=bool)
            if self.boxes is not None and rng.random() < BOX_SHARE:
                _draw_boxes(mask, rng, self.boxes)
            else:
                self._draw_strokes(mask, rng)
            if mask.mean() <= MOST_HOLE:
                return mask

    def _draw_strokes(self, mask: np.ndarray, rng: np.random.Generator) -> None:
        side = len(mask)
        for number in range(integer(rng, self.least, self.most + 2)):
            x, y = integer(rng, 0, side), integer(rng, 0, side)
            for _ in range(1 + integer(rng, 0, 5)):
                angle = 0.01 + integer(rng, 0, 4)
                sine, cosine = sine_cosine(TURN - angle if number % 2 == 0 else angle)
                length, width = 10 + integer(rng, 0, self.length), 5 + integer(rng, 0, self.width)
                end = min(max(int(x + length * sine), 0), side), min(max(int(y + length * cosine), 0), side)
                line(mask, (x, y), end, (width + 1) // 2 + OPENCV_EXTRA)
                x, y = end


def _draw_boxes(mask: np.ndarray, rng: np.random.Generator, boxes: Boxes) -> None:
    side = len(mask)
    longest = min(boxes.longest + 1, side - 2 * boxes.margin)
    for _ in range(integer(rng, 1, boxes.most + 1)):
        width, height = integer(rng, boxes.shortest, longest), integer(rng, boxes.shortest, longest)
        left = integer(rng, boxes.margin, side - boxes.margin - width + 1)
        top = integer(rng, boxes.margin, side - boxes.margin - height + 1)
        rectangle(mask, left, top, width, height)


THIN_256 = LamaMasks(4, 50, 10, 40)
MEDIUM_256 = LamaMasks(4, 5, 50, 100, Boxes(0, 10, 50, 5))
THICK_256 = LamaMasks(1, 5, 100, 200, Boxes(10, 30, 150, 3))
THIN_512 = LamaMasks(4, 70, 20, 100)
MEDIUM_512 = LamaMasks(4, 10, 100, 200, Boxes(0, 30, 150, 5))
THICK_512 = LamaMasks(1, 5, 250, 450, Boxes(10, 30, 300, 4))
