"""Paint clothes, glasses and hats."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from sair.data.embedded.faces.canvas import (
    CLOTHES,
    GLASSES,
    HAT,
    Canvas,
    Patch,
    disc,
    ellipse,
    rectangle,
    segment,
    shaded,
    wave,
)
from sair.data.embedded.faces.colours import BLACK, CLOTH_COLOURS, WHITE, mix, rgb
from sair.data.embedded.faces.head import EYE_V, eye_place, neck_foot, outline, outline_at
from sair.data.embedded.faces.looks import Looks


def paint_clothes(canvas: Canvas, looks: Looks) -> None:
    """Paint the clothes: their pattern, the neckline and its hem or collar."""
    x, y = neck_foot(looks)
    patch = canvas.body(looks, 0.0, y - 0.06)
    u, v = patch.u - x, patch.v - y
    torso = ellipse(u, v - 0.27, np.where(looks.man, 0.45, 0.40), 0.31)
    opening = _NECKLINES[looks.words["collar"]](u, v, looks)
    shape = np.maximum(torso, -opening)
    light = 0.08 + 0.5 * looks.light * u - 0.6 * np.maximum(v, 0.0)
    patch.fill(shape, shaded(looks.clothes, light), CLOTHES)
    if looks.words["pattern"] == "striped":
        bands = wave((v + 0.5 * u * u) * 12.0) * 0.02
        patch.fill(np.maximum(shape, bands), shaded(looks.trim, light))
    elif looks.words["pattern"] == "dotted":
        dots = 0.012 - 0.02 * (wave(u * 9.0) * wave(v * 9.0 + 0.1))
        patch.fill(np.maximum(shape + 0.008, dots), shaded(looks.trim, light))
    if looks.words["collar"] == "shirt":
        _paint_collar(patch, u, v, looks)
    else:
        hem = np.maximum(np.abs(opening - 0.007) - 0.009, torso - 0.004)
        patch.fill(hem, shaded(mix(looks.clothes, looks.trim, 0.5), light), CLOTHES)


def _neckline_round(u: np.ndarray, v: np.ndarray, looks: Looks) -> np.ndarray:
    return ellipse(u, v + 0.02, 0.125 * looks.scale, 0.07)


def _neckline_v(u: np.ndarray, v: np.ndarray, looks: Looks) -> np.ndarray:
    return np.maximum(0.8 * np.abs(u) + 0.6 * v - 0.072 * looks.scale, -v - 0.1)


_NECKLINES = {"round": _neckline_round, "v": _neckline_v, "shirt": _neckline_v}


def _paint_collar(patch: Patch, u: np.ndarray, v: np.ndarray, looks: Looks) -> None:
    """Paint the two flaps of a shirt's collar, lighter than the shirt."""
    colour = mix(looks.clothes, WHITE, 0.55)
    x = np.abs(u)
    inner = 0.072 * looks.scale - (0.8 * x + 0.6 * v)
    flap = np.maximum(np.maximum(inner, 0.8 * x + 0.6 * v - 0.118), np.maximum(0.55 * x - 0.8 * v - 0.075, -v - 0.045))
    flap = np.maximum(flap, v - 0.115 + 0.35 * x)
    patch.fill(flap - 0.006, mix(colour, BLACK, 0.35), CLOTHES, blur=0.008)
    patch.fill(flap, colour, CLOTHES)


def paint_glasses(canvas: Canvas, looks: Looks) -> None:
    """Paint the glasses, if there are any, with glare and their shadow on the cheeks."""
    if not looks.words["glasses"]:
        return
    patch = canvas.head(looks, -0.26, -0.1, 0.26, 0.09)
    lenses = [eye_place(looks, side)[0] for side in (-1.0, 1.0)]
    y = patch.v - EYE_V - 0.004
    shapes = [_lens(patch.u - u, y, looks) for u in lenses]
    lens = np.minimum(*shapes)
    glare = np.abs(np.minimum(np.abs(patch.u - lenses[0] - 0.5 * y), np.abs(patch.u - lenses[1] - 0.5 * y)) - 0.02)
    patch.fill(lens, rgb(0xE4F1FF), opacity=0.10)
    patch.fill(np.maximum(lens + 0.012, glare - 0.008), WHITE, opacity=0.16, blur=0.004)
    # The frame's shadow on the cheek, the bridge and the arms, then the rims.
    patch.line(lens - 0.012, 0.01, looks.shadow, opacity=0.35, blur=0.015)
    bridge = segment(patch.u, y, (lenses[0] + 0.064, -0.012, lenses[1] - 0.064, -0.012), 0.0095)
    frame = np.minimum(np.abs(lens) - 0.0115, bridge)
    for side, u in zip((-1.0, 1.0), lenses, strict=True):
        temple = side * (looks.half_width - 0.006) + 0.008 * looks.yaw
        frame = np.minimum(frame, segment(patch.u, y, (u + side * 0.07, -0.02, temple, -0.026), 0.0095))
    patch.fill(frame, shaded(looks.frame, 0.15 - 4.0 * y), GLASSES)


def _lens(x: np.ndarray, y: np.ndarray, looks: Looks) -> np.ndarray:
    return disc(x, y, 0.066) if looks.words["glasses"] == "round" else rectangle(x, y, 0.07, 0.053, 0.022)


def paint_hat(canvas: Canvas, looks: Looks) -> None:
    """Paint the hat, if there is one."""
    if looks.words["hat"]:
        _HATS[looks.words["hat"]](canvas, looks)


def _hat_light(u: np.ndarray, v: np.ndarray, looks: Looks) -> np.ndarray:
    return 0.04 + 0.7 * looks.light * u - 0.5 * (v + 0.25)


def _cast_shadow(canvas: Canvas, looks: Looks, line: float) -> None:
    """Darken the forehead below a brim at height ``line``."""
    patch = canvas.head(looks, -0.27, line - 0.02, 0.27, line + 0.12)
    forehead = partial(outline_at, patch=patch, looks=looks, inner=0.02)
    patch.fill(patch.v - line - 0.03, looks.shadow, opacity=0.6, blur=0.04, within=forehead)


def _hat_woolly(canvas: Canvas, looks: Looks) -> None:
    _cast_shadow(canvas, looks, -0.12)
    top = canvas.head(looks, -0.1, -0.48, 0.1, -0.24)
    bobble = disc(top.u, top.v + looks.half_height + 0.085, 0.05)
    bobble -= 0.004 * wave(top.u * 20.0) * wave(top.v * 20.0)
    top.fill(bobble, shaded(mix(looks.hat, WHITE, 0.55), _hat_light(top.u, top.v, looks)), HAT)
    patch = canvas.head(looks, -0.28, -0.38, 0.28, -0.05)
    u, v = patch.u, patch.v
    light = _hat_light(u, v, looks)
    dome = np.maximum(outline(u, v, looks, 0.03, 0.065), v + 0.15)
    patch.fill(dome, shaded(looks.hat, light + 0.06 * wave(u / (0.45 - v) * 7.0)), HAT)
    fold = rectangle(u, v + 0.16 - 0.25 * u * u, looks.half_width + 0.028, 0.04, 0.022)
    patch.fill(np.maximum(fold - 0.01, dome), mix(looks.hat, BLACK, 0.55), opacity=0.5, blur=0.012)
    patch.fill(fold, shaded(mix(looks.hat, WHITE, 0.18), light + 0.08 * wave(u * 14.0)), HAT)


def _hat_baseball(canvas: Canvas, looks: Looks) -> None:
    _cast_shadow(canvas, looks, -0.1)
    patch = canvas.head(looks, -0.3, -0.38, 0.3, -0.04)
    u, v = patch.u, patch.v
    light = _hat_light(u, v, looks)
    dome = np.maximum(outline(u, v, looks, 0.025, 0.05), v + 0.125 - 0.4 * u * u)
    patch.fill(dome, shaded(looks.hat, light), HAT)
    seam = np.maximum(np.abs(np.abs(u - 0.02 * looks.yaw) - 0.085 - 0.25 * (v + 0.13)) - 0.003, dome + 0.004)
    patch.fill(seam, mix(looks.hat, BLACK, 0.4), opacity=0.6)
    badge = disc(u - 0.035 * looks.yaw, v + 0.215, 0.038)
    bright = [look.hat_name in ("white", "yellow") for look in looks.each]
    patch.fill(badge, np.where(bright, CLOTH_COLOURS["blue"], CLOTH_COLOURS["white"]))
    x = u - 0.05 * looks.yaw
    visor = np.maximum(ellipse(x, v + 0.125, 0.19, 0.058), -(v + 0.15 - 1.3 * x * x))
    patch.fill(visor, shaded(mix(looks.hat, BLACK, 0.22), light + 3.0 * np.maximum(-v - 0.12, -0.05)), HAT)


def _hat_sun(canvas: Canvas, looks: Looks) -> None:
    _cast_shadow(canvas, looks, -0.09)
    patch = canvas.head(looks, -0.42, -0.42, 0.42, -0.03)
    u, v = patch.u, patch.v
    light = _hat_light(u, v, looks)
    crown = rectangle(u, v + 0.22, looks.half_width - 0.02 + 0.12 * (v + 0.22), 0.12, 0.07)
    weave = 0.05 * wave(v * 16.0 + 3.0 * u * u)
    patch.fill(crown, shaded(looks.hat, light + weave), HAT)
    band = np.maximum(crown - 0.002, np.abs(v + 0.175 + 0.4 * u * u) - 0.024)
    black = [look.hat_name == "black" for look in looks.each]
    patch.fill(band, np.where(black, rgb(0xC8413B), mix(looks.hat, BLACK, 0.5)), HAT)
    brim = ellipse(u, v + 0.135 - 0.5 * u * u, 0.36, 0.042)
    patch.fill(np.maximum(brim - 0.008, crown), BLACK, opacity=0.3, blur=0.015)
    patch.fill(brim, shaded(mix(looks.hat, WHITE, 0.08), light + weave), HAT)


_HATS: dict[str, Callable[[Canvas, Looks], None]] = {
    "woolly": _hat_woolly,
    "baseball": _hat_baseball,
    "sun": _hat_sun,
}
