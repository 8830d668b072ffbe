"""Draw the traits of a portrait from a seed, and describe them in a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from sair.data.embedded.faces.colours import (
    CLOTH_COLOURS,
    EYE_COLOURS,
    FRAME_COLOURS,
    HAIR_COLOURS,
    SKIN_TONES,
    WALL_COLOURS,
)

T = TypeVar("T")

HAIR_STYLES = {
    "woman": ("long", "long", "long", "long", "curly", "curly", "bun", "bun", "short", "short"),
    "man": ("short", "short", "short", "short", "short", "short", "curly", "curly", "long", "bald"),
}


DRAWS = 82  # random numbers that a portrait takes


class _Dice:
    """Random draws that use only ``Generator.random``, whose stream NumPy has never changed."""

    def __init__(self, seed: int) -> None:
        # All at once: one call for each takes several times as long.
        self._draws = iter(np.random.Generator(np.random.PCG64(seed)).random(DRAWS).tolist())

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * next(self._draws)

    def chance(self, probability: float) -> bool:
        return next(self._draws) < probability

    def pick(self, items: Sequence[T]) -> T:
        return items[int(next(self._draws) * len(items))]


@dataclass(frozen=True)
class Pose:
    """The position of the head and the direction of the light.

    Attributes:
        x, y, scale: centre and scale of the head, in sides of the image.
        tilt: tangent of half the angle.
        yaw: -1 to 1; positive values turn the face to the right edge of the image.
        light: -1 to 1; positive values put the light on the right.
    """

    x: float
    y: float
    scale: float
    tilt: float
    yaw: float
    light: float


@dataclass(frozen=True)
class Look:
    """All traits of a portrait. Lengths are in head units: sides of the image at scale 1."""

    kind: str
    pose: Pose
    # Head and skin.
    half_width: float
    half_height: float
    jaw: float
    tone: float  # place between the first of ``SKIN_TONES``, 0, and the last
    skin_name: str
    # Hair.
    hair: str
    hair_name: str
    hair_tint: float  # factor of the hair's colour
    fringe: bool
    part: float
    hairline: float
    hair_length: float
    beard: bool
    phase: tuple[float, float, float]
    # Features.
    eye_name: str
    eye_gap: float
    eye_width: float
    eye_open: float
    gaze: tuple[float, float]
    brow_thick: float
    brow_arch: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    mouth: str
    mouth_width: float
    lip: float
    # Dress.
    glasses: str
    frame_name: str
    hat: str
    hat_name: str
    clothes_name: str
    pattern: str
    collar: str
    trim_name: str
    # Surroundings.
    wall_name: str
    wall: str
    spots: tuple[tuple[float, float, float], ...]
    mentions: tuple[bool, ...]

    @property
    def shows_ears(self) -> bool:
        """Return whether the ears are visible, because the hair does not cover them."""
        return self.hair != "long"

    @property
    def covered(self) -> bool:
        """Return whether a hat covers the hair."""
        return bool(self.hat)


def draw_look(seed: int) -> Look:
    """Draw all traits of the portrait of a seed."""
    dice = _Dice(seed)
    kind = dice.pick(("woman", "man"))
    traits: dict[str, Any] = {"kind": kind, "pose": _draw_pose(dice)}
    for draw in (_draw_head, _draw_hair, _draw_features, _draw_dress, _draw_surroundings):
        traits |= draw(dice, kind)
    if traits["hat"] and traits["hair"] == "bun":
        traits["hair"] = "long"  # a bun and a hat exclude each other
    return Look(**traits)


def _draw_pose(dice: _Dice) -> Pose:
    return Pose(
        x=dice.between(0.45, 0.55),
        y=dice.between(0.48, 0.52),
        scale=dice.between(1.2, 1.45),
        tilt=dice.between(-0.06, 0.06),
        yaw=dice.between(-1.0, 1.0),
        light=dice.pick((-1.0, 1.0)) * dice.between(0.4, 1.0),
    )


def _draw_head(dice: _Dice, kind: str) -> dict:
    place = dice.between(0.0, SKIN_TONES.shape[1] - 1.001)
    name = "light" if place < 2.3 else "tan" if place < 4.6 else "dark"
    broad = 0.006 if kind == "man" else 0.0
    return {
        "half_width": broad + dice.between(0.188, 0.212),
        "half_height": broad + dice.between(0.252, 0.278),
        "jaw": dice.between(0.0, 0.12) if kind == "man" else dice.between(0.1, 0.24),
        "tone": place,
        "skin_name": name,
    }


def _draw_hair(dice: _Dice, kind: str) -> dict:
    name = dice.pick(tuple(HAIR_COLOURS))
    tint = dice.between(0.9, 1.1)
    hair = dice.pick(HAIR_STYLES[kind])
    return {
        "hair": hair,
        "hair_name": name,
        "hair_tint": tint,
        "fringe": dice.chance(0.4 if kind == "woman" else 0.15) and hair != "bald",
        "part": dice.between(-0.08, 0.08),
        "hairline": dice.between(-0.185, -0.155),
        "hair_length": dice.between(0.24, 0.5),
        "beard": dice.chance(0.5) and kind == "man",
        "phase": (dice.between(0, 1), dice.between(0, 1), dice.between(0, 1)),
    }


def _draw_features(dice: _Dice, kind: str) -> dict:
    man = kind == "man"
    return {
        "eye_name": dice.pick(tuple(EYE_COLOURS)),
        "eye_gap": dice.between(0.086, 0.096),
        "eye_width": dice.between(0.046, 0.054),
        "eye_open": dice.between(0.75, 1.1),
        "gaze": (dice.between(-1, 1), dice.between(-0.6, 0.6)),
        "brow_thick": dice.between(0.011, 0.016) if man else dice.between(0.0075, 0.011),
        "brow_arch": dice.between(0.008, 0.02),
        "brow_tilt": dice.between(-0.12, 0.16),
        "nose_length": dice.between(0.075, 0.1),
        "nose_width": dice.between(0.032, 0.046),
        "mouth": dice.pick(("smiling", "smiling", "closed", "open")),
        "mouth_width": dice.between(0.062, 0.082),
        "lip": dice.between(0.010, 0.014) if man else dice.between(0.013, 0.018),
    }


def _draw_dress(dice: _Dice, kind: str) -> dict:
    names = tuple(CLOTH_COLOURS)
    clothes, trim, hat = dice.pick(names), dice.pick(names), dice.pick(names)
    shape = dice.pick(("round", "square"))
    kinds = ("woolly", "baseball", "sun")
    hat_kind = dice.pick(kinds if kind == "woman" else kinds[:2] + kinds[:1])
    return {
        "glasses": shape if dice.chance(0.32) else "",
        "frame_name": dice.pick(tuple(FRAME_COLOURS)),
        "hat": hat_kind if dice.chance(0.32) else "",
        "hat_name": hat,
        "clothes_name": clothes,
        "pattern": dice.pick(("plain", "plain", "striped", "dotted")),
        "collar": dice.pick(("round", "v", "shirt")),
        "trim_name": trim if trim != clothes else ("white" if clothes != "white" else "blue"),
    }


def _draw_surroundings(dice: _Dice, kind: str) -> dict:
    return {
        "wall_name": dice.pick(tuple(WALL_COLOURS)),
        "wall": dice.pick(("plain", "spots", "stripes", "halves")),
        "spots": tuple((dice.between(0, 1), dice.between(0, 1), dice.between(0.05, 0.13)) for _ in range(9)),
        "mentions": tuple(dice.chance(0.5) for _ in range(6)),
    }


def describe(look: Look) -> str:
    """Return the caption of a portrait.

    Glasses, hat, beard and hair are always mentioned, other traits only in some captions, so that a model can learn
    each word separately.
    """
    skin, eyes, brows, nose, ears, neck = look.mentions
    hair = "no hair" if look.hair == "bald" else f"{_HAIR_WORDS[look.hair]} {look.hair_name} hair"
    if look.fringe and not look.hat:
        hair += " with a fringe"
    having = [
        f"{look.skin_name} skin" if skin else "",
        f"{look.eye_name} eyes" if eyes else "",
        f"{'thick' if look.brow_thick > 0.011 else 'thin'} brows" if brows else "",
        f"a {'long' if look.nose_length > 0.0875 else 'short'} nose" if nose else "",
        "a closed mouth" if look.mouth == "closed" else "an open mouth" if look.mouth == "open" else "",
        "visible ears" if ears and look.shows_ears else "",
        "a bare neck" if neck and look.collar == "v" else "",
        "a beard" if look.beard else "",
        "" if look.hat and look.hair == "bald" else hair,
    ]
    dress = {"plain": "", "striped": "striped ", "dotted": "dotted "}[look.pattern]
    wearing = [
        f"{look.glasses} glasses" if look.glasses else "",
        f"{_a(look.hat_name)} {look.hat} hat" if look.hat else "",
        f"{dress}{look.clothes_name} clothes",
    ]
    who = f"a portrait of a {'smiling ' if look.mouth == 'smiling' else ''}{look.kind}"
    # A smiling, bald portrait under a hat may have nothing to mention.
    traits = f" with {_listing(having)}," if any(having) else ""
    return f"{who}{traits} wearing {_listing(wearing)}, in front of {_a(look.wall_name)} background"


_HAIR_WORDS = {"short": "short", "long": "long", "curly": "curly", "bun": "tied up"}


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _listing(words: Sequence[str]) -> str:
    words = [word for word in words if word]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
