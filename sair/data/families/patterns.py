"""Draw boxes, halves, frames, lines and grids, which fit every size.

Facts of andreas128/RePaint at 8e2a0552 (its configs name the mask sets; the masks themselves are published as files),
affromero/NTIRE22_Inpainting at 9ac03b86 (``mask_generation/utils.py``) and DPS2022/diffusion-posterior-sampling at
effbde73 (``util/img_utils.py``).
"""

from __future__ import annotations

import numpy as np

from sair.data.families.drawing import integer, rectangle, uniform

DPS_MARGIN = 16 / 256  # of the side; the box of DPS keeps this distance from the border


def _empty(side: int) -> np.ndarray:
    return np.zeros((side, side), dtype=bool)


def box(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw the central square of half the side, 25 % of the pixels; nothing is random."""
    mask = _empty(side)
    rectangle(mask, side // 4, side // 4, side // 2, side // 2)
    return mask


def random_box(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw a square of half the side at a random place, at least a sixteenth of the side from the border."""
    mask, length, margin = _empty(side), side // 2, int(side * DPS_MARGIN)
    left, top = (integer(rng, margin, side - margin - length) for _ in range(2))
    rectangle(mask, left, top, length, length)
    return mask


def half(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw the left, right, upper or lower half."""
    return _turned(_part(side, side // 2), rng)


def completion(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw a part of 20 to 80 % of the image at one of its four borders."""
    return _turned(_part(side, int(side * uniform(rng, 0.2, 0.8))), rng)


def expand(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw everything but the central square of a quarter of the side, 94 % of the pixels; nothing is random."""
    return _frame(side, side // 4)


def expand_random(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw everything but a central square of a quarter, a third or half of the side."""
    return _frame(side, side // (4, 3, 2)[integer(rng, 0, 3)])


def second_lines(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw every second row, beginning with the first; nothing is random."""
    return _lines(side, 2)


def random_lines(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw every second, third, fourth or fifth row or column, beginning with the first."""
    mask = _lines(side, integer(rng, 2, 6))
    return mask if rng.random() < 0.5 else mask.T


def grid(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw everything but every second pixel of every second row, 75 % of the pixels; nothing is random."""
    return _grid(side, 2)


def random_grid(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw everything but every k-th pixel of every k-th row, k from 2 to 4."""
    return _grid(side, integer(rng, 2, 5))


def _part(side: int, rows: int) -> np.ndarray:
    """Return a mask of the first rows."""
    mask = _empty(side)
    mask[:rows] = True
    return mask


def _turned(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a mask turned by none to three right angles."""
    return np.ascontiguousarray(np.rot90(mask, integer(rng, 0, 4)))


def _frame(side: int, known: int) -> np.ndarray:
    """Return a mask of all but the central square; its side is rounded down to an even number, as in NTIRE's code."""
    mask, reach = ~_empty(side), known // 2
    mask[side // 2 - reach : side // 2 + reach, side // 2 - reach : side // 2 + reach] = False
    return mask


def _lines(side: int, step: int) -> np.ndarray:
    mask = _empty(side)
    mask[::step] = True
    return mask


def _grid(side: int, step: int) -> np.ndarray:
    mask = ~_empty(side)
    mask[::step, ::step] = False
    return mask
