"""Paint hair and beard."""

from __future__ import annotations

from functools import partial

import numpy as np

from sair.data.embedded.faces.canvas import (
    BEARD,
    HAIR,
    Canvas,
    Covered,
    Patch,
    Shade,
    disc,
    ellipse,
    ramp,
    shaded,
    wave,
)
from sair.data.embedded.faces.colours import BLACK, mix
from sair.data.embedded.faces.head import outline, outline_at
from sair.data.embedded.faces.looks import Looks


def _strands(patch: Patch, looks: Looks, share: float = 1.0) -> Shade:
    """Return the shade of the hair, multiplied by ``share``."""
    return lambda covered: share * _strands_at(patch, covered, looks)


def _strands_at(patch: Patch, covered: Covered, looks: Looks) -> np.ndarray:
    """Return the colour of the hair, (3, K): strands from the parting downwards, with a band of shine."""
    u, v = covered.of(patch.u), covered.of(patch.v)
    one, two, three = map(covered.of, looks.phase)
    if looks.words["hair"] == "curly":
        curls = wave(u * 9.0 + 0.25 * wave(v * 6.0 + one) + two) * wave(v * 9.0 + 0.25 * wave(u * 6.0) + three)
        light = 0.16 * curls
    else:
        spread = (u - covered.of(looks.part)) / (0.42 + np.minimum(np.maximum(v + 0.34, 0.0), 0.5))
        bend = spread + 0.04 * wave(2.2 * v + one)
        light = 0.07 * wave(5.0 * bend + two) + 0.06 * wave(9.5 * bend + three)
        shine = ramp(1.0 - np.abs(v + 0.2 - 1.6 * u * u) / 0.09)
        light += (0.12 + 0.8 * light) * shine - 0.06
    light += covered.of(0.6 * looks.light) * u
    # Multiplication hardly changes black hair, so the second term brightens it.
    return covered.colour(looks.hair) * (1.0 + light) + 0.08 * light


def _fall(u: np.ndarray, v: np.ndarray, looks: Looks, aside: float) -> np.ndarray:
    """Return the distance to long hair: round on top, straight down to a wavy end."""
    crown = outline(u, np.minimum(v, 0.0), looks, aside, 0.04)
    flare = 0.03 * np.maximum(v, 0.0) / 0.4
    lock = np.abs(u) - 0.17
    return np.maximum(crown - flare, v - looks.hair_length - 0.01 * wave(6.0 * u + looks.phase[0]) + 9.0 * lock * lock)


def paint_hair_back(canvas: Canvas, looks: Looks) -> None:
    """Paint the hair behind the head."""
    hair = looks.words["hair"]
    if hair not in ("long", "curly", "bun"):
        return
    patch = canvas.head(looks, *((-0.16, -0.46, 0.16, -0.2) if hair == "bun" else (-0.4, -0.46, 0.4, 0.56)))
    u, v = patch.u, patch.v
    if hair == "long":
        distance = _fall(u, v, looks, 0.045)
    elif hair == "curly":
        distance = ellipse(u, v + 0.06, 0.295, 0.29) - 0.011 * wave(u * 7.0 + looks.phase[0]) * wave(v * 7.0)
    else:
        distance = disc(u - 0.5 * looks.part, v + looks.half_height + 0.07, 0.085)
    if looks.words["covered"]:
        distance = np.maximum(distance, _under_hat(u, v))
    # Hair behind the head lies in its shadow.
    dark = 0.78 if hair != "bun" else 0.95
    patch.fill(distance, _strands(patch, looks, dark), HAIR)


def paint_hair_front(canvas: Canvas, looks: Looks) -> None:
    """Paint the hair over the forehead and beside the face, except under a hat."""
    hair, covered = looks.words["hair"], looks.words["covered"]
    if hair == "bald":
        return
    patch = canvas.head(looks, -0.32, -0.36, 0.32, 0.56 if hair == "long" else 0.3)
    u, v = patch.u, patch.v
    volume = outline(u, v, looks, 0.035 if hair == "long" else 0.018, 0.03 if covered else 0.045)
    if hair == "short" and not covered:
        # Combed over from the parting: fuller on the other side, with a tousled edge.
        tuft = ellipse(u + 0.4 * looks.part, v + 0.1, looks.half_width + 0.008, looks.half_height - 0.055)
        volume = np.minimum(volume, tuft) - 0.005 * wave(7.0 * u + looks.phase[0]) * ramp(-6.0 * v - 0.4)
    shape = np.maximum(volume, _hairline(u, v, looks))
    if hair == "long":
        shape = np.minimum(shape, _locks(u, v, looks))
    if covered:
        shape = np.maximum(shape, _under_hat(u, v))
    # A soft shadow on the forehead first.
    forehead = partial(outline_at, patch=patch, looks=looks, inner=0.01)
    patch.fill(shape - 0.016, looks.shadow, opacity=0.5, blur=0.02, within=forehead)
    patch.fill(shape, _strands(patch, looks), HAIR)


def _under_hat(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return values that are negative where a hat does not cover the hair: below its rim and at the sides."""
    return 2.0 * u * u - 0.225 - v


def _hairline(u: np.ndarray, v: np.ndarray, looks: Looks) -> np.ndarray:
    """Return values that are negative above the hairline."""
    if looks.words["fringe"]:
        line, slope = -0.108 + 2.6 * u * u + 0.008 * wave(7.0 * u + looks.phase[2]), 5.2 * u
    else:
        x = u - 0.02 * looks.yaw + 0.45 * looks.part
        line, slope = looks.hairline + 4.4 * x * x, 8.8 * x
    if looks.words["hair"] == "curly":
        line = line + 0.012 * wave(9.0 * u + looks.phase[1])
    return (v - line) / np.sqrt(1.0 + slope * slope)


def _locks(u: np.ndarray, v: np.ndarray, looks: Looks) -> np.ndarray:
    """Return the distance to the two locks beside the face, which reach over the shoulders."""
    x = np.abs(u - 0.02 * looks.yaw)
    down = np.maximum(v, 0.0)
    inner = looks.half_width - 0.018 - 0.16 * down * (0.6 - down) - 0.35 * np.maximum(-v, 0.0)
    return np.maximum(_fall(u, v, looks, 0.035), np.maximum(inner - x, -0.2 - v))


def paint_beard(canvas: Canvas, looks: Looks) -> None:
    """Paint the beard, if there is one, round the chin and up to the temples, with a moustache."""
    if not looks.words["beard"]:
        return
    patch = canvas.head(looks, -0.27, -0.08, 0.27, 0.34)
    x = patch.u - 0.035 * looks.yaw
    jaw = np.maximum(outline(patch.u, patch.v, looks, 0.004, 0.02), 0.132 - 3.6 * x * x - patch.v)
    shape = np.minimum(jaw, ellipse(x, patch.v - 0.127, 0.072, 0.022))
    bend = x * (1.0 - 1.2 * patch.v)
    strands = 0.05 * wave(12.0 * bend + looks.phase[1]) + 0.05 * wave(19.0 * bend + looks.phase[2])
    strands += 0.5 * looks.light * patch.u
    patch.fill(shape, shaded(mix(looks.hair, BLACK, 0.22), strands), BEARD, blur=0.006)
