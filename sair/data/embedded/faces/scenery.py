"""Paint the wall behind the person."""

from __future__ import annotations

import numpy as np

from sair.data.embedded.faces.canvas import Canvas, disc, ramp, wave
from sair.data.embedded.faces.colours import BLACK, WHITE, Colour, mix
from sair.data.embedded.faces.looks import Looks


def paint_background(canvas: Canvas, looks: Looks) -> None:
    """Paint the wall with its decoration, brighter on the side of the light."""
    patch = canvas.body(looks)
    x, y = patch.u, patch.v
    light, dark = mix(looks.wall, WHITE, 0.35), mix(looks.wall, BLACK, 0.16)
    fall = ramp(0.5 + 0.45 * looks.light * (x - 0.5) - 0.5 * (y - 0.4))
    for channel, low, high in zip(canvas.image, dark[:, :, None, None], light[:, :, None, None], strict=True):
        channel[looks.faces] = low + (high - low) * fall
    _WALLS[looks.words["wall"]](canvas, looks, light, dark)


def _wall_plain(canvas: Canvas, looks: Looks, light: Colour, dark: Colour) -> None:
    patch = canvas.body(looks)
    patch.fill(disc(patch.u - looks.x, patch.v - 0.42, 0.36), light, opacity=0.6, blur=0.35)


def _wall_spots(canvas: Canvas, looks: Looks, light: Colour, dark: Colour) -> None:
    spots = np.array([look.spots for look in looks.each]).transpose(1, 2, 0)[..., None, None]
    for index, (x, y, radius) in enumerate(spots):
        patch = canvas.body(looks, x - radius - 0.02, y - radius - 0.02, x + radius + 0.02, y + radius + 0.02)
        colour = dark if index % 3 == 0 else mix(light, WHITE, 0.4)
        patch.fill(disc(patch.u - x, patch.v - y, radius), colour, opacity=0.45, blur=0.02)


def _wall_stripes(canvas: Canvas, looks: Looks, light: Colour, dark: Colour) -> None:
    patch = canvas.body(looks)
    stripes = wave(patch.u * 6.0 + looks.phase[0]) * 0.04
    patch.fill(stripes, mix(light, WHITE, 0.3), opacity=0.4, blur=0.006)


def _wall_halves(canvas: Canvas, looks: Looks, light: Colour, dark: Colour) -> None:
    patch = canvas.body(looks)
    edge = 0.48 + 0.14 * looks.phase[0]
    patch.fill(edge - patch.v, dark, opacity=0.55)
    patch.fill(np.abs(patch.v - edge) - 0.012, mix(light, WHITE, 0.5))


_WALLS = {"plain": _wall_plain, "spots": _wall_spots, "stripes": _wall_stripes, "halves": _wall_halves}
