"""List the mask families: how each is drawn, at which size, and where it is published (docs/masks.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sair.common.errors import InputError, near
from sair.data.families import freeform, lama, patterns

Draw = Callable[[np.random.Generator, int], np.ndarray]  # (random numbers, side) -> mask, bool (side, side)

OBJECTS = "objects"


@dataclass(frozen=True)
class Family:
    """One family of masks.

    Attributes:
        draw: draws one mask.
        sides: the sides in pixels at which its parameters are published; empty if it fits every size.
        used_by: the papers that test on it.
        fixed: whether all of its masks are equal.
    """

    draw: Draw
    used_by: str
    sides: tuple[int, ...] = ()
    fixed: bool = False


_LAMA = "LaMa, RePaint, NTIRE 2022"
# Families of several published sizes: base name -> side -> how it is drawn.
_SIZED: dict[str, tuple[str, dict[int, Draw]]] = {
    "lama_thin": (_LAMA, {256: lama.THIN_256, 512: lama.THIN_512}),
    "lama_medium": ("LaMa, NTIRE 2022", {256: lama.MEDIUM_256, 512: lama.MEDIUM_512}),
    "lama_thick": (_LAMA, {256: lama.THICK_256, 512: lama.THICK_512}),
    "comodgan": ("CoModGAN, MI-GAN", {256: freeform.COMODGAN, 512: freeform.COMODGAN}),
    "mat_small": ("MAT", {256: freeform.MAT_SMALL_256, 512: freeform.MAT_SMALL_512}),
    "mat_large": ("MAT", {256: freeform.MAT_LARGE_256, 512: freeform.MAT_LARGE_512}),
}
FAMILIES: dict[str, Family] = {
    f"{name}_{side}": Family(draw, used_by, (side,))
    for name, (used_by, draws) in _SIZED.items()
    for side, draw in draws.items()
} | {
    "box": Family(patterns.box, "many", fixed=True),
    "box_random": Family(patterns.random_box, "DPS"),
    "half": Family(patterns.half, "RePaint"),
    "half_ntire": Family(patterns.completion, "NTIRE 2022 (Completion)"),
    "expand": Family(patterns.expand, "RePaint", fixed=True),
    "expand_ntire": Family(patterns.expand_random, "NTIRE 2022 (Expand)"),
    "lines": Family(patterns.second_lines, "RePaint", fixed=True),
    "lines_ntire": Family(patterns.random_lines, "NTIRE 2022 (Every_N_Lines)"),
    "grid": Family(patterns.grid, "RePaint (super-resolution 2x)", fixed=True),
    "grid_ntire": Family(patterns.random_grid, "NTIRE 2022 (Nearest_Neighbor)"),
}
NAMES = [*_SIZED, *FAMILIES, OBJECTS]  # the names that a config may use


def resolve(name: str, size: int) -> Family:
    """Return a family by its name.

    Args:
        name: one of ``NAMES`` except ``objects``. A name without a size, such as ``lama_thick``, takes the largest
            published size that is not above ``size``, else the smallest.
        size: side of the finished masks in pixels.

    Raises:
        InputError: there is no such family; the message lists similar names.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    if name not in _SIZED:
        raise InputError(f"there is no mask family {name!r}. {near(name, NAMES)}")
    sides = sorted(_SIZED[name][1])
    side = max((side for side in sides if side <= size), default=sides[0])
    return FAMILIES[f"{name}_{side}"]
