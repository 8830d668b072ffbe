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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

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
from sair.data.embedded.faces.scenery import paint_background
from sair.data.embedded.faces.traits import Look, describe, draw_look

__all__ = ["CLASSES", "Face", "draw_face"]


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
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    look = draw_look(seed)
    canvas = Canvas(size, look.pose)
    for part in _PARTS:
        part(canvas, look)
    pixels = np.floor(np.clip(canvas.image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return Face(np.ascontiguousarray(pixels.transpose(1, 2, 0)), canvas.labels, describe(look))


_PARTS: tuple[Callable[[Canvas, Look], None], ...] = (
    paint_background,
    paint_hair_back,
    paint_neck,
    paint_clothes,
    paint_ears,
    paint_head,
    paint_beard,
    paint_nose,
    paint_mouth,
    paint_eyes,
    paint_brows,
    paint_glasses,
    paint_hair_front,
    paint_hat,
)
