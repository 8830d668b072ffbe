"""Paint clothes, glasses and hats."""

from __future__ import annotations

from collections.abc import Callable

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
    wave,
)
from sair.data.embedded.faces.colours import BLACK, CLOTH_COLOURS, WHITE, Colour, mix, rgb, shaded
from sair.data.embedded.faces.head import EYE_V, eye_place, neck_foot, outline
from sair.data.embedded.faces.traits import Look


def paint_clothes(canvas: Canvas, look: Look) -> None:
    """Paint the clothes: their pattern, the neckline and its hem or collar."""
    x, y = neck_foot(look)
    patch = canvas.body(0.0, y - 0.06, 1.0, 1.0)
    u, v = patch.u - x, patch.v - y
    torso = ellipse(u, v - 0.27, 0.45 if look.kind == "man" else 0.40, 0.31)
    opening = _NECKLINES[look.collar](u, v, look)
    shape = np.maximum(torso, -opening)
    base, trim = CLOTH_COLOURS[look.clothes_name], CLOTH_COLOURS[look.trim_name]
    light = 0.08 + 0.5 * look.pose.light * u - 0.6 * np.maximum(v, 0.0)
    patch.fill(shape, shaded(base, light), CLOTHES)
    if look.pattern == "striped":
        bands = wave((v + 0.5 * u * u) * 12.0) * 0.02
        patch.fill(np.maximum(shape, bands), shaded(trim, light))
    elif look.pattern == "dotted":
        dots = 0.012 - 0.02 * (wave(u * 9.0) * wave(v * 9.0 + 0.1))
        patch.fill(np.maximum(shape + 0.008, dots), shaded(trim, light))
    if look.collar == "shirt":
        _paint_collar(patch, u, v, look)
    else:
        hem = np.maximum(np.abs(opening - 0.007) - 0.009, torso - 0.004)
        patch.fill(hem, shaded(mix(base, trim, 0.5), light), CLOTHES)


def _neckline_round(u: np.ndarray, v: np.ndarray, look: Look) -> np.ndarray:
    return ellipse(u, v + 0.02, 0.125 * look.pose.scale, 0.07)


def _neckline_v(u: np.ndarray, v: np.ndarray, look: Look) -> np.ndarray:
    return np.maximum(0.8 * np.abs(u) + 0.6 * v - 0.072 * look.pose.scale, -v - 0.1)


_NECKLINES = {"round": _neckline_round, "v": _neckline_v, "shirt": _neckline_v}


def _paint_collar(patch: Patch, u: np.ndarray, v: np.ndarray, look: Look) -> None:
    """Paint the two flaps of a shirt's collar, lighter than the shirt."""
    colour = mix(CLOTH_COLOURS[look.clothes_name], WHITE, 0.55)
    x = np.abs(u)
    inner = 0.072 * look.pose.scale - (0.8 * x + 0.6 * v)
    flap = np.maximum(np.maximum(inner, 0.8 * x + 0.6 * v - 0.118), np.maximum(0.55 * x - 0.8 * v - 0.075, -v - 0.045))
    flap = np.maximum(flap, v - 0.115 + 0.35 * x)
    patch.fill(flap - 0.006, mix(colour, BLACK, 0.35), CLOTHES, blur=0.008)
    patch.fill(flap, colour, CLOTHES)


def paint_glasses(canvas: Canvas, look: Look) -> None:
    """Paint the glasses, if there are any, with glare and their shadow on the cheeks."""
    if not look.glasses:
        return
    patch = canvas.head(-0.26, -0.1, 0.26, 0.09)
    lenses = [eye_place(look, side)[0] for side in (-1.0, 1.0)]
    y = patch.v - EYE_V - 0.004
    shapes = [_lens(patch.u - u, y, look) for u in lenses]
    lens = np.minimum(*shapes)
    glare = np.abs(np.minimum(np.abs(patch.u - lenses[0] - 0.5 * y), np.abs(patch.u - lenses[1] - 0.5 * y)) - 0.02)
    patch.fill(lens, rgb(0xE4F1FF), opacity=0.10)
    patch.fill(np.maximum(lens + 0.012, glare - 0.008), WHITE, opacity=0.16, blur=0.004)
    # The frame's shadow on the cheek, the bridge and the arms, then the rims.
    patch.line(lens - 0.012, 0.01, look.shadow, opacity=0.35, blur=0.015)
    bridge = segment(patch.u, y, (lenses[0] + 0.064, -0.012, lenses[1] - 0.064, -0.012), 0.0095)
    frame = np.minimum(np.abs(lens) - 0.0115, bridge)
    for side, u in zip((-1.0, 1.0), lenses, strict=True):
        temple = side * (look.half_width - 0.006) + 0.008 * look.pose.yaw
        frame = np.minimum(frame, segment(patch.u, y, (u + side * 0.07, -0.02, temple, -0.026), 0.0095))
    patch.fill(frame, shaded(look.frame_colour, 0.15 - 4.0 * y), GLASSES)


def _lens(x: np.ndarray, y: np.ndarray, look: Look) -> np.ndarray:
    return disc(x, y, 0.066) if look.glasses == "round" else rectangle(x, y, 0.07, 0.053, 0.022)


def paint_hat(canvas: Canvas, look: Look) -> None:
    """Paint the hat, if there is one."""
    if look.hat:
        _HATS[look.hat](canvas, look, CLOTH_COLOURS[look.hat_name])


def _hat_light(u: np.ndarray, v: np.ndarray, look: Look) -> np.ndarray:
    return 0.04 + 0.7 * look.pose.light * u - 0.5 * (v + 0.25)


def _cast_shadow(canvas: Canvas, look: Look, line: float) -> None:
    """Darken the forehead below a brim at height ``line``."""
    patch = canvas.head(-0.27, line - 0.02, 0.27, line + 0.12)
    shape = np.maximum(outline(patch.u, patch.v, look) + 0.02, patch.v - line - 0.03)
    patch.fill(shape, look.shadow, opacity=0.6, blur=0.04)


def _hat_woolly(canvas: Canvas, look: Look, colour: Colour) -> None:
    _cast_shadow(canvas, look, -0.12)
    top = canvas.head(-0.1, -0.48, 0.1, -0.24)
    bobble = disc(top.u, top.v + look.half_height + 0.085, 0.05)
    bobble -= 0.004 * wave(top.u * 20.0) * wave(top.v * 20.0)
    top.fill(bobble, shaded(mix(colour, WHITE, 0.55), _hat_light(top.u, top.v, look)), HAT)
    patch = canvas.head(-0.28, -0.38, 0.28, -0.05)
    u, v = patch.u, patch.v
    light = _hat_light(u, v, look)
    dome = np.maximum(outline(u, v, look, 0.03, 0.065), v + 0.15)
    patch.fill(dome, shaded(colour, light + 0.06 * wave(u / (0.45 - v) * 7.0)), HAT)
    fold = rectangle(u, v + 0.16 - 0.25 * u * u, look.half_width + 0.028, 0.04, 0.022)
    patch.fill(np.maximum(fold - 0.01, dome), mix(colour, BLACK, 0.55), opacity=0.5, blur=0.012)
    patch.fill(fold, shaded(mix(colour, WHITE, 0.18), light + 0.08 * wave(u * 14.0)), HAT)


def _hat_baseball(canvas: Canvas, look: Look, colour: Colour) -> None:
    _cast_shadow(canvas, look, -0.1)
    patch = canvas.head(-0.3, -0.38, 0.3, -0.04)
    u, v = patch.u, patch.v
    light = _hat_light(u, v, look)
    dome = np.maximum(outline(u, v, look, 0.025, 0.05), v + 0.125 - 0.4 * u * u)
    patch.fill(dome, shaded(colour, light), HAT)
    seam = np.maximum(np.abs(np.abs(u - 0.02 * look.pose.yaw) - 0.085 - 0.25 * (v + 0.13)) - 0.003, dome + 0.004)
    patch.fill(seam, mix(colour, BLACK, 0.4), opacity=0.6)
    badge = disc(u - 0.035 * look.pose.yaw, v + 0.215, 0.038)
    patch.fill(badge, CLOTH_COLOURS["blue" if look.hat_name in ("white", "yellow") else "white"])
    x = u - 0.05 * look.pose.yaw
    visor = np.maximum(ellipse(x, v + 0.125, 0.19, 0.058), -(v + 0.15 - 1.3 * x * x))
    patch.fill(visor, shaded(mix(colour, BLACK, 0.22), light + 3.0 * np.maximum(-v - 0.12, -0.05)), HAT)


def _hat_sun(canvas: Canvas, look: Look, colour: Colour) -> None:
    _cast_shadow(canvas, look, -0.09)
    patch = canvas.head(-0.42, -0.42, 0.42, -0.03)
    u, v = patch.u, patch.v
    light = _hat_light(u, v, look)
    crown = rectangle(u, v + 0.22, look.half_width - 0.02 + 0.12 * (v + 0.22), 0.12, 0.07)
    weave = 0.05 * wave(v * 16.0 + 3.0 * u * u)
    patch.fill(crown, shaded(colour, light + weave), HAT)
    band = np.maximum(crown - 0.002, np.abs(v + 0.175 + 0.4 * u * u) - 0.024)
    patch.fill(band, mix(colour, BLACK, 0.5) if look.hat_name != "black" else rgb(0xC8413B), HAT)
    brim = ellipse(u, v + 0.135 - 0.5 * u * u, 0.36, 0.042)
    patch.fill(np.maximum(brim - 0.008, crown), BLACK, opacity=0.3, blur=0.015)
    patch.fill(brim, shaded(mix(colour, WHITE, 0.08), light + weave), HAT)


_HATS: dict[str, Callable[[Canvas, Look, Colour], None]] = {
    "woolly": _hat_woolly,
    "baseball": _hat_baseball,
    "sun": _hat_sun,
}
