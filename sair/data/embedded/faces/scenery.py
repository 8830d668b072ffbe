"""Paint the wall behind the person."""

from __future__ import annotations

import numpy as np

from sair.data.embedded.faces.canvas import Canvas, disc, ramp, wave
from sair.data.embedded.faces.colours import BLACK, WALL_COLOURS, WHITE, Colour, mix
from sair.data.embedded.faces.traits import Look


def paint_background(canvas: Canvas, look: Look) -> None:
    """Paint the wall with its decoration, brighter on the side of the light."""
    patch = canvas.body()
    x, y = patch.u, patch.v
    base = WALL_COLOURS[look.wall_name]
    light, dark = mix(base, WHITE, 0.35), mix(base, BLACK, 0.16)
    fall = ramp(0.5 + 0.45 * look.pose.light * (x - 0.5) - 0.5 * (y - 0.4))
    for channel, low, high in zip(canvas.image, dark, light, strict=True):
        channel[...] = low + (high - low) * fall
    _WALLS[look.wall](canvas, look, light, dark)


def _wall_plain(canvas: Canvas, look: Look, light: Colour, dark: Colour) -> None:
    patch = canvas.body()
    patch.fill(disc(patch.u - look.pose.x, patch.v - 0.42, 0.36), light, opacity=0.6, blur=0.35)


def _wall_spots(canvas: Canvas, look: Look, light: Colour, dark: Colour) -> None:
    for index, (x, y, radius) in enumerate(look.spots):
        patch = canvas.body(x - radius - 0.02, y - radius - 0.02, x + radius + 0.02, y + radius + 0.02)
        colour = dark if index % 3 == 0 else mix(light, WHITE, 0.4)
        patch.fill(disc(patch.u - x, patch.v - y, radius), colour, opacity=0.45, blur=0.02)


def _wall_stripes(canvas: Canvas, look: Look, light: Colour, dark: Colour) -> None:
    patch = canvas.body()
    stripes = wave(patch.u * 6.0 + look.phase[0]) * 0.04
    patch.fill(stripes, mix(light, WHITE, 0.3), opacity=0.4, blur=0.006)


def _wall_halves(canvas: Canvas, look: Look, light: Colour, dark: Colour) -> None:
    patch = canvas.body()
    edge = 0.48 + 0.14 * look.phase[0]
    patch.fill(edge - patch.v, dark, opacity=0.55)
    patch.fill(np.abs(patch.v - edge) - 0.012, mix(light, WHITE, 0.5))


_WALLS = {"plain": _wall_plain, "spots": _wall_spots, "stripes": _wall_stripes, "halves": _wall_halves}
