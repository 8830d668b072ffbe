"""Draw the embedded set ``faces``: portraits from a seed, with class labels and captions.

Inpainting with semantics needs images whose missing parts follow from the visible ones: both eyes have the same colour
and gaze, both lenses of a pair of glasses are alike, and light comes from one side. These portraits have such
properties, at any resolution and without a download.

A portrait is a list of shapes painted from back to front. Every shape is an implicit function: the signed distance to
its outline, in units of the image's side, turned into a coverage by a ramp one pixel wide. Geometry and texture are
defined on [0, 1] and do not depend on the resolution, so a larger image shows the same face in more detail. Traits are
drawn with ``Generator.random`` only, and pixels are computed with sums, products, quotients and square roots only
(parabolas replace sines). IEEE 754 defines their rounding, so a seed gives the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sair.common.memory import keep_memory
from sair.data.embedded.faces.canvas import CLASSES, Canvas
from sair.data.embedded.faces.clothing import paint_clothes, paint_glasses, paint_hat
from sair.data.embedded.faces.hair import paint_beard, paint_hair_back, paint_hair_front
from sair.data.embedded.faces.head import (
    paint_brows,
    paint_ears,
    paint_eyes,
    paint_head,
    paint_mouth,
    paint_neck,
    paint_nose,
)
from sair.data.embedded.faces.looks import Looks
from sair.data.embedded.faces.scenery import paint_background
from sair.data.embedded.faces.traits import describe, draw_look

__all__ = ["CLASSES", "Face", "draw_face", "draw_faces"]


@dataclass(frozen=True)
class Face:
    """A portrait.

    Attributes:
        image: uint8 (S, S, 3) RGB.
        labels: uint8 (S, S), index into ``CLASSES`` of the class at the pixel's centre.
        caption: one English sentence about visible traits.
    """

    image: np.ndarray
    labels: np.ndarray
    caption: str


def draw_face(seed: int, size: int = 64) -> Face:
    """Draw the portrait of a seed.

    Args:
        seed: non-negative; decides everything in the portrait.
        size: side of the square image in pixels, at least 1; a face is recognisable from 48 on.

    Raises:
        ValueError: the size is below 1 or the seed negative.
    """
    return draw_faces([seed], size)[0]


def draw_faces(seeds: Sequence[int], size: int = 64) -> list[Face]:
    """Draw the portraits of several seeds, in order: the same as one by one, but up to four times as fast.

    Args:
        seeds: same as in ``draw_face``. Memory grows with their number: about 150 bytes per pixel.
        size: same as in ``draw_face``.

    Raises:
        ValueError: same as in ``draw_face``.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    looks = [draw_look(seed) for seed in seeds]
    if not looks:
        return []
    keep_memory()  # otherwise asking the system for it takes an eighth of a drawing
    canvas, everyone = Canvas(size, len(looks)), Looks.of(looks)
    for paint, words in _PARTS:
        for group in everyone.groups(words):
            paint(canvas, group)
    # Copies, so that one face does not keep the memory of all.
    return [
        Face(image.copy(), labels.copy(), describe(look))
        for image, labels, look in zip(canvas.pixels(), canvas.labels, looks, strict=True)
    ]


# Painters, from back to front, with the traits that decide what they paint.
_PARTS: tuple[tuple[Callable[[Canvas, Looks], None], tuple[str, ...]], ...] = (
    (paint_background, ("wall",)),
    (paint_hair_back, ("hair", "covered")),
    (paint_neck, ()),
    (paint_clothes, ("collar", "pattern")),
    (paint_ears, ("shows_ears",)),
    (paint_head, ()),
    (paint_beard, ("beard",)),
    (paint_nose, ()),
    (paint_mouth, ("mouth",)),
    (paint_eyes, ("kind",)),
    (paint_brows, ()),
    (paint_glasses, ("glasses",)),
    (paint_hair_front, ("hair", "covered", "fringe")),
    (paint_hat, ("hat",)),
)
