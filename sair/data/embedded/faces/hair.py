"""Paint hair and beard."""

from __future__ import annotations

import numpy as np

from sair.data.embedded.faces.canvas import BEARD, HAIR, Canvas, Patch, disc, ellipse, ramp, wave
from sair.data.embedded.faces.colours import BLACK, Shade, column, mix, shaded
from sair.data.embedded.faces.head import outline
from sair.data.embedded.faces.traits import Look


def _strands(patch: Patch, look: Look, share: float = 1.0) -> Shade:
    """Return the shade of the hair, multiplied by ``share``."""
    return lambda covered: share * _strands_at(patch.u.take(covered), patch.v.take(covered), look)


def _strands_at(u: np.ndarray, v: np.ndarray, look: Look) -> np.ndarray:
    """Return the colour of the hair, (3, n): strands from the parting downwards, with a band of shine."""
    one, two, three = look.phase
    if look.hair == "curly":
        curls = wave(u * 9.0 + 0.25 * wave(v * 6.0 + one) + two) * wave(v * 9.0 + 0.25 * wave(u * 6.0) + three)
        light = 0.16 * curls
    else:
        spread = (u - look.part) / (0.42 + np.minimum(np.maximum(v + 0.34, 0.0), 0.5))
        bend = spread + 0.04 * wave(2.2 * v + one)
        light = 0.07 * wave(5.0 * bend + two) + 0.06 * wave(9.5 * bend + three)
        shine = ramp(1.0 - np.abs(v + 0.2 - 1.6 * u * u) / 0.09)
        light += (0.12 + 0.8 * light) * shine - 0.06
    light += 0.6 * look.pose.light * u
    # Multiplication hardly changes black hair, so the second term brightens it.
    return column(look.hair_colour) * (1.0 + light) + 0.08 * light


def _fall(u: np.ndarray, v: np.ndarray, look: Look, aside: float) -> np.ndarray:
    """Return the distance to long hair: round on top, straight down to a wavy end."""
    crown = outline(u, np.minimum(v, 0.0), look, aside, 0.04)
    flare = 0.03 * np.maximum(v, 0.0) / 0.4
    lock = np.abs(u) - 0.17
    return np.maximum(crown - flare, v - look.hair_length - 0.01 * wave(6.0 * u + look.phase[0]) + 9.0 * lock * lock)


def paint_hair_back(canvas: Canvas, look: Look) -> None:
    """Paint the hair behind the head."""
    if look.hair not in ("long", "curly", "bun"):
        return
    patch = canvas.head(-0.4, -0.46, 0.4, 0.56)
    u, v = patch.u, patch.v
    if look.hair == "long":
        distance = _fall(u, v, look, 0.045)
    elif look.hair == "curly":
        distance = ellipse(u, v + 0.06, 0.295, 0.29) - 0.011 * wave(u * 7.0 + look.phase[0]) * wave(v * 7.0)
    else:
        distance = disc(u - 0.5 * look.part, v + look.half_height + 0.07, 0.085)
    if look.hat:
        distance = np.maximum(distance, _under_hat(u, v))
    # Hair behind the head lies in its shadow.
    dark = 0.78 if look.hair != "bun" else 0.95
    patch.fill(distance, _strands(patch, look, dark), HAIR)


def paint_hair_front(canvas: Canvas, look: Look) -> None:
    """Paint the hair over the forehead and beside the face, except under a hat."""
    if look.hair == "bald":
        return
    patch = canvas.head(-0.32, -0.36, 0.32, 0.56)
    u, v = patch.u, patch.v
    volume = outline(u, v, look, 0.035 if look.hair == "long" else 0.018, 0.03 if look.hat else 0.045)
    if look.hair == "short" and not look.hat:
        # Combed over from the parting: fuller on the other side, with a tousled edge.
        tuft = ellipse(u + 0.4 * look.part, v + 0.1, look.half_width + 0.008, look.half_height - 0.055)
        volume = np.minimum(volume, tuft) - 0.005 * wave(7.0 * u + look.phase[0]) * ramp(-6.0 * v - 0.4)
    shape = np.maximum(volume, _hairline(u, v, look))
    if look.hair == "long":
        shape = np.minimum(shape, _locks(u, v, look))
    if look.hat:
        shape = np.maximum(shape, _under_hat(u, v))
    # A soft shadow on the forehead first.
    patch.fill(np.maximum(shape - 0.016, outline(u, v, look) + 0.01), look.shadow, opacity=0.5, blur=0.02)
    patch.fill(shape, _strands(patch, look), HAIR)


def _under_hat(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return values that are negative where a hat does not cover the hair: below its rim and at the sides."""
    return 2.0 * u * u - 0.225 - v


def _hairline(u: np.ndarray, v: np.ndarray, look: Look) -> np.ndarray:
    """Return values that are negative above the hairline."""
    if look.fringe:
        line, slope = -0.108 + 2.6 * u * u + 0.008 * wave(7.0 * u + look.phase[2]), 5.2 * u
    else:
        x = u - 0.02 * look.pose.yaw + 0.45 * look.part
        line, slope = look.hairline + 4.4 * x * x, 8.8 * x
    if look.hair == "curly":
        line = line + 0.012 * wave(9.0 * u + look.phase[1])
    return (v - line) / np.sqrt(1.0 + slope * slope)


def _locks(u: np.ndarray, v: np.ndarray, look: Look) -> np.ndarray:
    """Return the distance to the two locks beside the face, which reach over the shoulders."""
    x = np.abs(u - 0.02 * look.pose.yaw)
    down = np.maximum(v, 0.0)
    inner = look.half_width - 0.018 - 0.16 * down * (0.6 - down) - 0.35 * np.maximum(-v, 0.0)
    return np.maximum(_fall(u, v, look, 0.035), np.maximum(inner - x, -0.2 - v))


def paint_beard(canvas: Canvas, look: Look) -> None:
    """Paint the beard, if there is one, round the chin and up to the temples, with a moustache."""
    if not look.beard:
        return
    patch = canvas.head(-0.27, -0.08, 0.27, 0.34)
    x = patch.u - 0.035 * look.pose.yaw
    jaw = np.maximum(outline(patch.u, patch.v, look, 0.004, 0.02), 0.132 - 3.6 * x * x - patch.v)
    shape = np.minimum(jaw, ellipse(x, patch.v - 0.127, 0.072, 0.022))
    bend = x * (1.0 - 1.2 * patch.v)
    strands = 0.05 * wave(12.0 * bend + look.phase[1]) + 0.05 * wave(19.0 * bend + look.phase[2])
    strands += 0.5 * look.pose.light * patch.u
    patch.fill(shape, shaded(mix(look.hair_colour, BLACK, 0.22), strands), BEARD, blur=0.006)
