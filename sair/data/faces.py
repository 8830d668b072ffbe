"""The embedded set ``faces``: portraits drawn from a seed, with class labels and captions.

Inpainting with semantics needs pictures whose missing parts follow from what is left: a second eye has the first one's
colour and gaze, both lenses of a pair of glasses are alike, light falls from one side on everything. These portraits
have that, at any resolution and without a download.

A portrait is a list of shapes painted from back to front. Every shape is an implicit function: the signed distance to
its outline, in units of the picture's side, turned into a coverage by a ramp one pixel wide. Geometry and texture live
in [0, 1] and never ask for the resolution, so a larger picture shows the same face more finely. Traits are drawn with
``Generator.random`` alone and pixels computed with sums, products, quotients and square roots alone (the sines are
parabolas), all of which IEEE 754 rounds in one way: a seed gives the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

CLASSES: tuple[str, ...] = (
    "background",
    "skin",
    "hair",
    "brows",
    "eyes",
    "nose",
    "mouth",
    "ears",
    "neck",
    "glasses",
    "hat",
    "clothes",
    "beard",
)
BACKGROUND, SKIN, HAIR, BROWS, EYES, NOSE, MOUTH, EARS, NECK, GLASSES, HAT, CLOTHES, BEARD = range(len(CLASSES))

Colour = tuple[float, float, float]
Box = tuple[float, float, float, float]
T = TypeVar("T")


@dataclass(frozen=True)
class Face:
    """A portrait.

    Attributes:
        image: uint8 (S, S, 3) RGB.
        labels: uint8 (S, S), index into ``CLASSES`` of what covers the pixel's centre.
        caption: one English sentence of visible traits.
    """

    image: np.ndarray
    labels: np.ndarray
    caption: str


def draw_face(seed: int, size: int = 64) -> Face:
    """Draw the portrait of a seed.

    Args:
        seed: non-negative; names the person, the pose and everything else.
        size: side of the square picture in pixels, at least 1; the face reads well from 48 on.

    Raises:
        ValueError: a size below 1 or a negative seed.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    look = _draw_look(seed)
    canvas = _Canvas(size, look)
    for part in _PARTS:
        part(canvas, look)
    pixels = np.floor(np.clip(canvas.image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return Face(np.ascontiguousarray(pixels.transpose(1, 2, 0)), canvas.labels, _caption(look))


# ----------------------------------------------------------------------------------------------------------- traits


def _rgb(code: int) -> Colour:
    return (code >> 16 & 255) / 255, (code >> 8 & 255) / 255, (code & 255) / 255


SKIN_TONES = tuple(
    map(_rgb, (0xFFE3D0, 0xF8D2B6, 0xEFC09A, 0xDDA67C, 0xC68C60, 0xA56F48, 0x835437, 0x633E2A, 0x482D21))
)
HAIR_COLOURS = {
    "black": _rgb(0x2A2427),
    "brown": _rgb(0x60402B),
    "blond": _rgb(0xDDB266),
    "red": _rgb(0xB0502A),
    "grey": _rgb(0xA9A8AC),
}
EYE_COLOURS = {"brown": _rgb(0x6B4226), "blue": _rgb(0x4F8FC9), "green": _rgb(0x5C9554), "grey": _rgb(0x8A99A3)}
CLOTH_COLOURS = {
    "red": _rgb(0xC8413B),
    "blue": _rgb(0x3566AE),
    "green": _rgb(0x3F8A5C),
    "yellow": _rgb(0xE9B93E),
    "purple": _rgb(0x7A529C),
    "black": _rgb(0x35363D),
    "white": _rgb(0xF0EEE9),
    "orange": _rgb(0xE27F35),
}
WALL_COLOURS = {
    "blue": _rgb(0x8FB8DE),
    "green": _rgb(0x9CC7A2),
    "pink": _rgb(0xEDB3BC),
    "yellow": _rgb(0xF2DA98),
    "purple": _rgb(0xB9A5D6),
    "grey": _rgb(0xB9BEC4),
    "orange": _rgb(0xF0B586),
}
WHITE, BLACK = _rgb(0xFFFFFF), _rgb(0x17141A)
EYE_V = -0.012  # the eyes' height in the head's frame

HAIR_STYLES = {
    "woman": ("long", "long", "long", "long", "curly", "curly", "bun", "bun", "short", "short"),
    "man": ("short", "short", "short", "short", "short", "short", "curly", "curly", "long", "bald"),
}


class _Dice:
    """Draws that use ``Generator.random`` only, the one primitive whose stream NumPy has never changed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.Generator(np.random.PCG64(seed))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._rng.random()

    def chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self._rng.random() * len(items))]


@dataclass(frozen=True)
class _Pose:
    """Where the head is: centre and scale in picture sides, tilt (tangent of half the angle), yaw and light in [-1, 1].

    Positive yaw turns the face, and positive light comes, towards the right edge of the picture.
    """

    x: float
    y: float
    scale: float
    tilt: float
    yaw: float
    light: float


@dataclass(frozen=True)
class _Look:
    """Everything that distinguishes a portrait. Lengths in head units: picture sides at scale 1."""

    kind: str
    pose: _Pose
    # Head and skin.
    half_width: float
    half_height: float
    jaw: float
    skin: Colour
    skin_name: str
    # Hair.
    hair: str
    hair_name: str
    hair_colour: Colour
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
    frame_colour: Colour
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
    def shadow(self) -> Colour:
        """The skin where the light does not reach: darker and warmer."""
        return _times(self.skin, (0.80, 0.68, 0.66))

    @property
    def glow(self) -> Colour:
        """The skin where the light falls straight."""
        return _mix(self.skin, _rgb(0xFFF4E6), 0.22)


def _draw_look(seed: int) -> _Look:
    dice = _Dice(seed)
    kind = dice.pick(("woman", "man"))
    traits = {"kind": kind, "pose": _draw_pose(dice)}
    for draw in (_draw_head, _draw_hair, _draw_features, _draw_dress, _draw_surroundings):
        traits |= draw(dice, kind)
    if traits["hat"] and traits["hair"] == "bun":
        traits["hair"] = "long"  # a bun on the crown and a hat exclude each other
    return _Look(**traits)


def _draw_pose(dice: _Dice) -> _Pose:
    return _Pose(
        x=dice.between(0.45, 0.55),
        y=dice.between(0.48, 0.52),
        scale=dice.between(1.2, 1.45),
        tilt=dice.between(-0.06, 0.06),
        yaw=dice.between(-1.0, 1.0),
        light=dice.pick((-1.0, 1.0)) * dice.between(0.4, 1.0),
    )


def _draw_head(dice: _Dice, kind: str) -> dict:
    place = dice.between(0.0, len(SKIN_TONES) - 1.001)
    tone = int(place)
    name = "light" if place < 2.3 else "tan" if place < 4.6 else "dark"
    broad = 0.006 if kind == "man" else 0.0
    return {
        "half_width": broad + dice.between(0.188, 0.212),
        "half_height": broad + dice.between(0.252, 0.278),
        "jaw": dice.between(0.0, 0.12) if kind == "man" else dice.between(0.1, 0.24),
        "skin": _mix(SKIN_TONES[tone], SKIN_TONES[tone + 1], place - tone),
        "skin_name": name,
    }


def _draw_hair(dice: _Dice, kind: str) -> dict:
    name = dice.pick(tuple(HAIR_COLOURS))
    colour = _times(HAIR_COLOURS[name], (dice.between(0.9, 1.1),) * 3)
    hair = dice.pick(HAIR_STYLES[kind])
    return {
        "hair": hair,
        "hair_name": name,
        "hair_colour": colour,
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
        "frame_colour": dice.pick((_rgb(0x24222A), _rgb(0xC08A35), _rgb(0xB5384A), _rgb(0x3568B0))),
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


def _caption(look: _Look) -> str:
    """Always tells glasses, hat, beard and hair; tells the rest in some captions, so that each word is learnt apart."""
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
        "visible ears" if ears and _shows_ears(look) else "",
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
    return f"{who} with {_listing(having)}, wearing {_listing(wearing)}, in front of {_a(look.wall_name)} background"


_HAIR_WORDS = {"short": "short", "long": "long", "curly": "curly", "bun": "tied up"}


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _listing(words: Sequence[str]) -> str:
    words = [word for word in words if word]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _shows_ears(look: _Look) -> bool:
    return look.hair != "long"


# --------------------------------------------------------------------------------------------------- shapes and paint


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    """``share`` 0 gives one colour, 1 the other."""
    return tuple(a + share * (b - a) for a, b in zip(one, other, strict=True))


def _times(colour: Colour, factor: Colour) -> Colour:
    return tuple(a * b for a, b in zip(colour, factor, strict=True))


def _wave(turns: np.ndarray) -> np.ndarray:
    """A sine of the given turns, up to sign, made of parabolas: exact in IEEE arithmetic and within 6 % of the sine."""
    half = turns - np.floor(turns) - 0.5
    return 8.0 * half * (1.0 - 2.0 * np.abs(half))


def _ramp(x: np.ndarray) -> np.ndarray:
    """Smooth step from 0 at x <= 0 to 1 at x >= 1."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _disc(u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    return np.sqrt(u * u + v * v) - radius


def _ellipse(u: np.ndarray, v: np.ndarray, a: float, b: float) -> np.ndarray:
    """First-order distance to an ellipse: its implicit function over the length of its gradient."""
    x, y = u / a, v / b
    level = np.sqrt(x * x + y * y + 1e-9)
    return (level - 1.0) * level / np.sqrt((x / a) * (x / a) + (y / b) * (y / b) + 1e-9 / (a * b))


def _rectangle(u: np.ndarray, v: np.ndarray, a: float, b: float, corner: float) -> np.ndarray:
    """Distance to a rectangle of half sides a, b with rounded corners."""
    x, y = np.abs(u) - (a - corner), np.abs(v) - (b - corner)
    outside_x, outside_y = np.maximum(x, 0.0), np.maximum(y, 0.0)
    outside = np.sqrt(outside_x * outside_x + outside_y * outside_y)
    return outside + np.minimum(np.maximum(x, y), 0.0) - corner


def _segment(u: np.ndarray, v: np.ndarray, ends: Box, thickness: float) -> np.ndarray:
    """Distance to a bar with round ends from (ends[0], ends[1]) to (ends[2], ends[3])."""
    du, dv = ends[2] - ends[0], ends[3] - ends[1]
    x, y = u - ends[0], v - ends[1]
    along = np.clip((x * du + y * dv) / (du * du + dv * dv), 0.0, 1.0)
    return _disc(x - along * du, y - along * dv, thickness)


class _Patch:
    """A rectangle of the canvas seen in a frame of its own (the head's or the body's): u to the right, v downwards."""

    def __init__(self, image: np.ndarray, labels: np.ndarray, u: np.ndarray, v: np.ndarray, pixel: float) -> None:
        self.image, self.labels, self.u, self.v, self.pixel = image, labels, u, v, pixel

    def fill(
        self,
        distance: np.ndarray,
        colour: Colour | np.ndarray,
        label: int | None = None,
        opacity: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Paint where ``distance`` is negative; ``label`` goes to the pixels that are covered by half or more."""
        coverage = np.clip(0.5 - distance / (self.pixel + blur), 0.0, 1.0)
        if opacity != 1.0:
            coverage *= opacity
        if label is not None:
            self.labels[coverage >= 0.5] = label
        for channel, value in zip(self.image, colour, strict=True):
            channel += coverage * (value - channel)

    def line(self, offset: np.ndarray, thickness: np.ndarray | float, colour: Colour, **kwargs: float) -> None:
        """Paint a line where ``offset`` changes sign; ``thickness`` is half its width."""
        self.fill(np.abs(offset) - thickness, colour, **kwargs)


class _Canvas:
    """The picture in the making and its two frames."""

    def __init__(self, size: int, look: _Look) -> None:
        self.size = size
        self.image = np.zeros((3, size, size))
        self.labels = np.zeros((size, size), dtype=np.uint8)
        centres = (np.arange(size) + 0.5) / size
        self._x, self._y = np.broadcast_arrays(centres, centres[:, None])
        self._pose = pose = look.pose
        square = pose.tilt * pose.tilt
        self._cosine, self._sine = (1 - square) / (1 + square), 2 * pose.tilt / (1 + square)
        x, y = (self._x - pose.x) / pose.scale, (self._y - pose.y) / pose.scale
        self._u, self._v = self._cosine * x + self._sine * y, self._cosine * y - self._sine * x

    def body(self, x0: float = 0.0, y0: float = 0.0, x1: float = 1.0, y1: float = 1.0) -> _Patch:
        """A window of the upright frame, whose unit is the picture's side and whose origin its upper left corner."""
        return self._patch(self._x, self._y, (x0, y0, x1, y1), 1.0)

    def head(self, u0: float, v0: float, u1: float, v1: float) -> _Patch:
        """A window of the head's frame, which moves, scales and tilts with the head."""
        pose = self._pose
        u, v = np.array([u0, u1, u0, u1]), np.array([v0, v0, v1, v1])
        x = pose.x + pose.scale * (self._cosine * u - self._sine * v)
        y = pose.y + pose.scale * (self._cosine * v + self._sine * u)
        return self._patch(self._u, self._v, (x.min(), y.min(), x.max(), y.max()), pose.scale)

    def _patch(self, u: np.ndarray, v: np.ndarray, box: Box, scale: float) -> _Patch:
        # Two pixels more on each side, for the ramps of the outlines.
        x0, y0 = (max(0, int(edge * self.size) - 2) for edge in box[:2])
        x1, y1 = (max(0, int(edge * self.size) + 3) for edge in box[2:])
        window = np.s_[y0:y1, x0:x1]
        return _Patch(self.image[:, *window], self.labels[window], u[window], v[window], 1.0 / (self.size * scale))


# ------------------------------------------------------------------------------------------------------------ scenery


def _paint_background(canvas: _Canvas, look: _Look) -> None:
    patch = canvas.body()
    x, y = patch.u, patch.v
    base = WALL_COLOURS[look.wall_name]
    light, dark = _mix(base, WHITE, 0.35), _mix(base, BLACK, 0.16)
    # The wall is brighter on the side that the light comes from.
    fall = _ramp(0.5 + 0.45 * look.pose.light * (x - 0.5) - 0.5 * (y - 0.4))
    for channel, low, high in zip(canvas.image, dark, light, strict=True):
        channel[...] = low + (high - low) * fall
    _WALLS[look.wall](canvas, look, light, dark)


def _wall_plain(canvas: _Canvas, look: _Look, light: Colour, dark: Colour) -> None:
    patch = canvas.body()
    patch.fill(_disc(patch.u - look.pose.x, patch.v - 0.42, 0.36), light, opacity=0.6, blur=0.35)


def _wall_spots(canvas: _Canvas, look: _Look, light: Colour, dark: Colour) -> None:
    for index, (x, y, radius) in enumerate(look.spots):
        patch = canvas.body(x - radius - 0.02, y - radius - 0.02, x + radius + 0.02, y + radius + 0.02)
        colour = dark if index % 3 == 0 else _mix(light, WHITE, 0.4)
        patch.fill(_disc(patch.u - x, patch.v - y, radius), colour, opacity=0.45, blur=0.02)


def _wall_stripes(canvas: _Canvas, look: _Look, light: Colour, dark: Colour) -> None:
    patch = canvas.body()
    stripes = _wave(patch.u * 6.0 + look.phase[0]) * 0.04
    patch.fill(stripes, _mix(light, WHITE, 0.3), opacity=0.4, blur=0.006)


def _wall_halves(canvas: _Canvas, look: _Look, light: Colour, dark: Colour) -> None:
    patch = canvas.body()
    edge = 0.48 + 0.14 * look.phase[0]
    patch.fill(edge - patch.v, dark, opacity=0.55)
    patch.fill(np.abs(patch.v - edge) - 0.012, _mix(light, WHITE, 0.5))


_WALLS = {"plain": _wall_plain, "spots": _wall_spots, "stripes": _wall_stripes, "halves": _wall_halves}


# --------------------------------------------------------------------------------------------------------------- body


def _neck_foot(look: _Look) -> tuple[float, float]:
    """Where the neck meets the collar, in the upright frame."""
    pose = look.pose
    return 0.5 + 0.6 * (pose.x - 0.5), pose.y + pose.scale * 0.335


def _paint_neck(canvas: _Canvas, look: _Look) -> None:
    pose = look.pose
    foot_x, foot_y = _neck_foot(look)
    patch = canvas.body(foot_x - 0.3, pose.y, foot_x + 0.3, 1.0)
    fall = (patch.v - pose.y) / (foot_y - pose.y)
    middle = pose.x + (foot_x - pose.x) * fall
    flare = np.maximum(patch.v - (foot_y - 0.05), 0.0)
    half = (0.104 if look.kind == "man" else 0.086) * pose.scale + 5.0 * flare * flare
    distance = np.abs(patch.u - middle) - half
    side = look.pose.light * (patch.u - middle) / half
    # The chin's shadow falls away from the light.
    chin = _ramp((foot_y - 0.01 - 0.25 * pose.light * (patch.u - middle) - patch.v) / 0.035)
    patch.fill(distance, _lit(look, 0.5 + 0.6 * side - 0.6 * chin), NECK)


def _paint_clothes(canvas: _Canvas, look: _Look) -> None:
    x, y = _neck_foot(look)
    patch = canvas.body(0.0, y - 0.06, 1.0, 1.0)
    u, v = patch.u - x, patch.v - y
    torso = _ellipse(u, v - 0.27, 0.45 if look.kind == "man" else 0.40, 0.31)
    opening = _NECKLINES[look.collar](u, v, look)
    shape = np.maximum(torso, -opening)
    base, trim = CLOTH_COLOURS[look.clothes_name], CLOTH_COLOURS[look.trim_name]
    light = 0.08 + 0.5 * look.pose.light * u - 0.6 * np.maximum(v, 0.0)
    patch.fill(shape, _shaded(base, light), CLOTHES)
    if look.pattern == "striped":
        bands = _wave((v + 0.5 * u * u) * 12.0) * 0.02
        patch.fill(np.maximum(shape, bands), _shaded(trim, light))
    elif look.pattern == "dotted":
        dots = 0.012 - 0.02 * (_wave(u * 9.0) * _wave(v * 9.0 + 0.1))
        patch.fill(np.maximum(shape + 0.008, dots), _shaded(trim, light))
    if look.collar == "shirt":
        _paint_collar(patch, u, v, look)
    else:
        hem = np.maximum(np.abs(opening - 0.007) - 0.009, torso - 0.004)
        patch.fill(hem, _shaded(_mix(base, trim, 0.5), light), CLOTHES)


def _neckline_round(u: np.ndarray, v: np.ndarray, look: _Look) -> np.ndarray:
    return _ellipse(u, v + 0.02, 0.125 * look.pose.scale, 0.07)


def _neckline_v(u: np.ndarray, v: np.ndarray, look: _Look) -> np.ndarray:
    return np.maximum(0.8 * np.abs(u) + 0.6 * v - 0.072 * look.pose.scale, -v - 0.1)


_NECKLINES = {"round": _neckline_round, "v": _neckline_v, "shirt": _neckline_v}


def _paint_collar(patch: _Patch, u: np.ndarray, v: np.ndarray, look: _Look) -> None:
    """Two flaps of a shirt's collar, lighter than the shirt."""
    colour = _mix(CLOTH_COLOURS[look.clothes_name], WHITE, 0.55)
    x = np.abs(u)
    inner = 0.072 * look.pose.scale - (0.8 * x + 0.6 * v)
    flap = np.maximum(np.maximum(inner, 0.8 * x + 0.6 * v - 0.118), np.maximum(0.55 * x - 0.8 * v - 0.075, -v - 0.045))
    flap = np.maximum(flap, v - 0.115 + 0.35 * x)
    patch.fill(flap - 0.006, _mix(colour, BLACK, 0.35), CLOTHES, blur=0.008)
    patch.fill(flap, colour, CLOTHES)


# --------------------------------------------------------------------------------------------------------------- head


def _outline(u: np.ndarray, v: np.ndarray, look: _Look, aside: float = 0.0, above: float = 0.0) -> np.ndarray:
    """Distance to the head's outline, grown by ``aside`` at the temples and by ``above`` at crown and chin."""
    a, b = look.half_width + aside, look.half_height + above
    y = v / b
    chin = np.maximum(y, 0.0)
    # The lower half narrows towards the chin, which moves to where the face is turned.
    x = (u - 0.022 * look.pose.yaw * (0.4 + y)) / (a * (1.0 - look.jaw * chin * chin))
    return (np.sqrt(x * x + y * y) - 1.0) * (0.5 * (a + b))


def _shaded(colour: Colour, light: np.ndarray) -> list[np.ndarray]:
    """A colour multiplied by 1 + light."""
    return [value * (1.0 + light) for value in colour]


def _lit(look: _Look, light: np.ndarray) -> list[np.ndarray]:
    """Skin between shadow (light 0) and glow (light 1)."""
    share = _ramp(light)
    return [low + (high - low) * share for low, high in zip(look.shadow, look.glow, strict=True)]


def _paint_ears(canvas: _Canvas, look: _Look) -> None:
    if not _shows_ears(look):
        return
    for side in (-1.0, 1.0):
        # The ear of the side that the face turns to disappears behind the cheek.
        u = side * (look.half_width + 0.012 - 0.03 * max(0.0, side * look.pose.yaw)) - 0.012 * look.pose.yaw
        patch = canvas.head(u - 0.05, -0.07, u + 0.05, 0.11)
        x, y = patch.u - u + side * 0.12 * (patch.v - 0.02), patch.v - 0.02
        light = 0.5 + 0.4 * side * look.pose.light
        patch.fill(_ellipse(x, y, 0.034, 0.062), _mix(look.shadow, look.glow, light), EARS)
        patch.fill(_ellipse(x - side * 0.004, y + 0.004, 0.018, 0.038), look.shadow, opacity=0.8, blur=0.008)


def _paint_head(canvas: _Canvas, look: _Look) -> None:
    patch = canvas.head(-0.27, -0.32, 0.27, 0.32)
    u, v = patch.u, patch.v
    distance = _outline(u, v, look)
    # A sphere's shading, roughly: brightest up on the light's side, darkest along the far cheek and the jaw.
    light = 0.62 + look.pose.light * 2.0 * u - 0.55 * v - 14.0 * (u * u * u * u + v * v * v * v) / 0.25
    patch.fill(distance, _lit(look, light), SKIN)
    blush = _mix(look.skin, _rgb(0xE0554F), 0.45)
    for side in (-1.0, 1.0):
        cheek = canvas.head(side * 0.115 - 0.12, -0.03, side * 0.115 + 0.12, 0.2)
        x = cheek.u - side * 0.115 - 0.03 * look.pose.yaw
        cheek.fill(_disc(x, cheek.v - 0.085, 0.04), blush, opacity=0.3, blur=0.07)


def _paint_beard(canvas: _Canvas, look: _Look) -> None:
    if not look.beard:
        return
    patch = canvas.head(-0.27, -0.08, 0.27, 0.34)
    x = patch.u - 0.035 * look.pose.yaw
    # Round the chin and up to the temples, with a moustache.
    jaw = np.maximum(_outline(patch.u, patch.v, look, 0.004, 0.02), 0.132 - 3.6 * x * x - patch.v)
    shape = np.minimum(jaw, _ellipse(x, patch.v - 0.127, 0.072, 0.022))
    bend = x * (1.0 - 1.2 * patch.v)
    strands = 0.05 * _wave(12.0 * bend + look.phase[1]) + 0.05 * _wave(19.0 * bend + look.phase[2])
    strands += 0.5 * look.pose.light * patch.u
    patch.fill(shape, _shaded(_mix(look.hair_colour, BLACK, 0.22), strands), BEARD, blur=0.006)


# ----------------------------------------------------------------------------------------------------------- features


def _eye_place(look: _Look, side: float) -> tuple[float, float]:
    """Horizontal centre and half width of an eye; the far one is foreshortened."""
    turned = max(0.0, side * look.pose.yaw)
    return side * look.eye_gap * (1.0 - 0.1 * turned) + 0.03 * look.pose.yaw, look.eye_width * (1.0 - 0.12 * turned)


def _paint_eyes(canvas: _Canvas, look: _Look) -> None:
    for side in (-1.0, 1.0):
        u, width = _eye_place(look, side)
        patch = canvas.head(u - 0.085, EYE_V - 0.075, u + 0.085, EYE_V + 0.06)
        _paint_eye(patch, patch.u - u, patch.v - EYE_V, side, width, look)


def _paint_eye(patch: _Patch, x: np.ndarray, y: np.ndarray, side: float, width: float, look: _Look) -> None:
    gaze_x, gaze_y = x - 0.013 * look.gaze[0], y + 0.004 - 0.006 * look.gaze[1]
    y = y + side * 0.06 * x  # only the lids slant: both irises are the same picture
    upper_height, lower_height = 0.034 * look.eye_open, 0.022 * (0.5 + 0.5 * look.eye_open)
    bow = 1.0 - (x / width) * (x / width)
    slope = 2.0 * upper_height * x / (width * width)
    steep = np.sqrt(1.0 + slope * slope)
    upper, lower = (-y - upper_height * bow) / steep, (y - lower_height * bow) / steep
    almond = np.maximum(upper, lower)
    patch.fill(_ellipse(x, y + 0.008, 1.25 * width, 0.042), look.shadow, opacity=0.45, blur=0.03)
    patch.fill(almond, _rgb(0xF7F4F0), EYES)

    iris = np.maximum(_disc(gaze_x, gaze_y, 0.0265), almond)
    colour = EYE_COLOURS[look.eye_name]
    patch.fill(iris, _mix(colour, BLACK, 0.45), EYES)
    patch.fill(iris + 0.004, _shaded(colour, 0.12 + 10.0 * gaze_y), EYES)
    patch.fill(np.maximum(_disc(gaze_x, gaze_y, 0.0125), almond), BLACK)
    patch.fill(np.maximum(almond, -upper - 0.012), _rgb(0x53444A), opacity=0.35, blur=0.008)
    patch.fill(_disc(gaze_x - 0.009 * look.pose.light, gaze_y + 0.009, 0.0075), WHITE)

    line = _mix(_mix(look.hair_colour, look.skin, 0.1), BLACK, 0.65)
    lash = 0.0062 if look.kind == "woman" else 0.0042
    # The thickness turns negative beyond the corners, which ends the line there.
    patch.line(upper, lash * np.minimum(0.35 + 1.2 * bow, 1.0), line, label=EYES)
    if look.kind == "woman":
        wing = (side * width * 0.93, -0.002, side * (width + 0.014), -0.016)
        patch.fill(_segment(x, y, wing, 0.0038), line, EYES)
    crease = (-y - 0.013 - upper_height * bow) / steep
    patch.line(crease, 0.003 * np.minimum(2.5 * bow, 1.0), look.shadow, opacity=0.8, blur=0.002)


def _paint_brows(canvas: _Canvas, look: _Look) -> None:
    colour = _mix(look.hair_colour, BLACK, 0.3 if look.hair_name != "black" else 0.1)
    for side in (-1.0, 1.0):
        u, width = _eye_place(look, side)
        half = 1.3 * width
        patch = canvas.head(u - 0.1, -0.14, u + 0.1, -0.02)
        x = side * (patch.u - u) / half  # -1 at the nose, 1 at the temple
        arc = patch.v + 0.082 - look.brow_tilt * 0.1 * x + look.brow_arch * (1.0 - x * x) - 0.006
        thickness = look.brow_thick * np.clip(0.95 - 0.55 * np.maximum(x, 0.0), 0.0, 1.0)
        distance = np.maximum(np.abs(arc) - thickness, (np.abs(x) - 1.0) * half)
        patch.fill(distance, colour, BROWS, blur=0.003)


def _paint_nose(canvas: _Canvas, look: _Look) -> None:
    patch = canvas.head(-0.12, -0.06, 0.12, 0.15)
    light, yaw = look.pose.light, look.pose.yaw
    tip, width = look.nose_length - 0.005, look.nose_width
    along = np.clip((patch.v + 0.03) / (tip + 0.03), 0.0, 1.0)
    x = patch.u - yaw * (0.03 + 0.022 * along)
    y = patch.v - tip
    bridge = np.maximum(np.abs(x) - 0.013 - (0.6 * width - 0.013) * along * along, np.maximum(y, -0.03 - patch.v))
    wings = _ellipse(x, y - 0.004, width, 0.021)
    nose = np.minimum(bridge, np.minimum(wings, _disc(x, y, 0.027)))
    # The side plane in shadow and the cast shadow below, both away from the light.
    patch.fill(_ellipse(x + 0.012 * light, y - 0.022, 1.05 * width, 0.016), look.shadow, opacity=0.6, blur=0.022)
    patch.fill(nose, _lit(look, 0.62 + light * 14.0 * x - 3.0 * np.maximum(y, 0.0)), NOSE, blur=0.006)
    patch.fill(np.maximum(nose, 0.002 + light * x), look.shadow, opacity=0.5, blur=0.014)
    tinge = _mix(look.skin, _rgb(0xD9544D), 0.4)
    patch.fill(_ellipse(x, y - 0.002, 0.8 * width, 0.02), tinge, opacity=0.35, blur=0.02)
    dark = _mix(look.shadow, BLACK, 0.5)
    for side in (-1.0, 1.0):
        patch.fill(_ellipse(x - side * 0.45 * width, y - 0.016, 0.0095, 0.0055), dark, opacity=0.8, blur=0.003)
    patch.fill(_disc(x - 0.006 * light, y + 0.006, 0.008), _mix(look.glow, WHITE, 0.6), opacity=0.6, blur=0.012)


def _paint_mouth(canvas: _Canvas, look: _Look) -> None:
    patch = canvas.head(-0.14, 0.08, 0.14, 0.23)
    width = look.mouth_width * (1.0 - 0.06 * abs(look.pose.yaw)) * (0.8 if look.mouth == "open" else 1.0)
    x = (patch.u - 0.036 * look.pose.yaw) / width
    bow = 1.0 - x * x
    curl = {"smiling": 0.021, "closed": 0.004, "open": 0.008}[look.mouth]
    y = patch.v - 0.152 - curl * (bow - 0.5)
    gap = {"smiling": 0.0, "closed": 0.0, "open": 0.024}[look.mouth]
    ends = (np.abs(x) - 1.0) * width
    lip = _mix(_mix(look.skin, _rgb(0xB8323F), 0.6 if look.kind == "woman" else 0.38), BLACK, 0.05)

    # Cupid's bow dips in the middle; both lips vanish at the corners.
    dip = 1.0 - 0.35 * np.maximum(1.0 - 9.0 * x * x, 0.0)
    upper = -y - (0.4 * gap + look.lip * dip) * bow
    lower = y - (gap + 1.25 * look.lip) * bow
    shape = np.maximum(np.maximum(upper, lower), ends)
    patch.fill(_ellipse(x * width, y - gap - 0.034, 0.04, 0.008), look.shadow, opacity=0.5, blur=0.018)
    patch.fill(shape - 0.001, _shaded(lip, -0.12 + 6.0 * y), MOUTH)
    shine = _ellipse(x * width - 0.012 * look.pose.light, y - gap - 0.6 * look.lip, 0.018, 0.003)
    patch.fill(shine, _mix(lip, WHITE, 0.6), opacity=0.6, blur=0.008)
    if gap:
        inside = np.maximum(np.maximum(-y - 0.4 * gap * bow, y - gap * bow), ends)
        patch.fill(inside, _rgb(0x5A1A22), MOUTH)
        patch.fill(np.maximum(inside, y - 0.3 * gap), _rgb(0xFBF8F3))
        patch.fill(np.maximum(inside, _ellipse(x * width, y - gap * 1.1, 0.032, 0.014)), _rgb(0xCC5F66))
    else:
        patch.line(y, 0.0034 * np.minimum(2.0 * bow + 0.3, 1.0), _mix(lip, BLACK, 0.6))


# --------------------------------------------------------------------------------------------------------------- hair


def _strands(u: np.ndarray, v: np.ndarray, look: _Look) -> list[np.ndarray]:
    """Hair colour: strands that run from the parting over the crown and down, with a band of shine."""
    one, two, three = look.phase
    if look.hair == "curly":
        curls = _wave(u * 9.0 + 0.25 * _wave(v * 6.0 + one) + two) * _wave(v * 9.0 + 0.25 * _wave(u * 6.0) + three)
        light = 0.16 * curls
    else:
        spread = (u - look.part) / (0.42 + np.clip(v + 0.34, 0.0, 0.5))
        bend = spread + 0.04 * _wave(2.2 * v + one)
        light = 0.07 * _wave(5.0 * bend + two) + 0.06 * _wave(9.5 * bend + three)
        shine = _ramp(1.0 - np.abs(v + 0.2 - 1.6 * u * u) / 0.09)
        light += (0.12 + 0.8 * light) * shine - 0.06
    light += 0.6 * look.pose.light * u
    # Black hair hardly changes when multiplied: the second term lifts it.
    return [value * (1.0 + light) + 0.08 * light for value in look.hair_colour]


def _fall(u: np.ndarray, v: np.ndarray, look: _Look, aside: float) -> np.ndarray:
    """Outline of long hair: round on top, falling straight to a wavy end."""
    crown = _outline(u, np.minimum(v, 0.0), look, aside, 0.04)
    flare = 0.03 * np.maximum(v, 0.0) / 0.4
    lock = np.abs(u) - 0.17
    return np.maximum(crown - flare, v - look.hair_length - 0.01 * _wave(6.0 * u + look.phase[0]) + 9.0 * lock * lock)


def _paint_hair_back(canvas: _Canvas, look: _Look) -> None:
    if look.hair not in ("long", "curly", "bun"):
        return
    patch = canvas.head(-0.4, -0.46, 0.4, 0.56)
    u, v = patch.u, patch.v
    if look.hair == "long":
        distance = _fall(u, v, look, 0.045)
    elif look.hair == "curly":
        distance = _ellipse(u, v + 0.06, 0.295, 0.29) - 0.011 * _wave(u * 7.0 + look.phase[0]) * _wave(v * 7.0)
    else:
        distance = _disc(u - 0.5 * look.part, v + look.half_height + 0.07, 0.085)
    if look.hat:
        distance = np.maximum(distance, _under_hat(u, v))
    # What hangs behind the head lies in its shadow.
    dark = 0.78 if look.hair != "bun" else 0.95
    patch.fill(distance, [dark * value for value in _strands(u, v, look)], HAIR)


def _paint_hair_front(canvas: _Canvas, look: _Look) -> None:
    if look.hair == "bald":
        return
    patch = canvas.head(-0.32, -0.36, 0.32, 0.56)
    u, v = patch.u, patch.v
    volume = _outline(u, v, look, 0.035 if look.hair == "long" else 0.018, 0.03 if look.hat else 0.045)
    if look.hair == "short" and not look.hat:
        # Combed over from the parting: fuller on the other side, with a tousled edge.
        tuft = _ellipse(u + 0.4 * look.part, v + 0.1, look.half_width + 0.008, look.half_height - 0.055)
        volume = np.minimum(volume, tuft) - 0.005 * _wave(7.0 * u + look.phase[0]) * _ramp(-6.0 * v - 0.4)
    shape = np.maximum(volume, _hairline(u, v, look))
    if look.hair == "long":
        shape = np.minimum(shape, _locks(u, v, look))
    if look.hat:
        shape = np.maximum(shape, _under_hat(u, v))
    # A soft shadow on the forehead first.
    patch.fill(np.maximum(shape - 0.016, _outline(u, v, look) + 0.01), look.shadow, opacity=0.5, blur=0.02)
    patch.fill(shape, _strands(u, v, look), HAIR)


def _under_hat(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Negative where a hat leaves the hair free: below its rim and, bulging, at the sides."""
    return 2.0 * u * u - 0.225 - v


def _hairline(u: np.ndarray, v: np.ndarray, look: _Look) -> np.ndarray:
    """Negative above the line where the forehead begins."""
    if look.fringe:
        line, slope = -0.108 + 2.6 * u * u + 0.008 * _wave(7.0 * u + look.phase[2]), 5.2 * u
    else:
        x = u - 0.02 * look.pose.yaw + 0.45 * look.part
        line, slope = look.hairline + 4.4 * x * x, 8.8 * x
    if look.hair == "curly":
        line = line + 0.012 * _wave(9.0 * u + look.phase[1])
    return (v - line) / np.sqrt(1.0 + slope * slope)


def _locks(u: np.ndarray, v: np.ndarray, look: _Look) -> np.ndarray:
    """The two locks that frame the face and fall over the shoulders."""
    x = np.abs(u - 0.02 * look.pose.yaw)
    down = np.maximum(v, 0.0)
    inner = look.half_width - 0.018 - 0.16 * down * (0.6 - down) - 0.35 * np.maximum(-v, 0.0)
    return np.maximum(_fall(u, v, look, 0.035), np.maximum(inner - x, -0.2 - v))


# -------------------------------------------------------------------------------------------------------- accessories


def _paint_glasses(canvas: _Canvas, look: _Look) -> None:
    if not look.glasses:
        return
    patch = canvas.head(-0.26, -0.1, 0.26, 0.09)
    lenses = [_eye_place(look, side)[0] for side in (-1.0, 1.0)]
    y = patch.v - EYE_V - 0.004
    shapes = [_lens(patch.u - u, y, look) for u in lenses]
    lens = np.minimum(*shapes)
    glare = np.abs(np.minimum(np.abs(patch.u - lenses[0] - 0.5 * y), np.abs(patch.u - lenses[1] - 0.5 * y)) - 0.02)
    patch.fill(lens, _rgb(0xE4F1FF), opacity=0.10)
    patch.fill(np.maximum(lens + 0.012, glare - 0.008), WHITE, opacity=0.16, blur=0.004)
    # The frame's shadow on the cheek, the bridge and the arms, then the rims.
    patch.line(lens - 0.012, 0.01, look.shadow, opacity=0.35, blur=0.015)
    bridge = _segment(patch.u, y, (lenses[0] + 0.064, -0.012, lenses[1] - 0.064, -0.012), 0.0095)
    frame = np.minimum(np.abs(lens) - 0.0115, bridge)
    for side, u in zip((-1.0, 1.0), lenses, strict=True):
        temple = side * (look.half_width - 0.006) + 0.008 * look.pose.yaw
        frame = np.minimum(frame, _segment(patch.u, y, (u + side * 0.07, -0.02, temple, -0.026), 0.0095))
    patch.fill(frame, _shaded(look.frame_colour, 0.15 - 4.0 * y), GLASSES)


def _lens(x: np.ndarray, y: np.ndarray, look: _Look) -> np.ndarray:
    return _disc(x, y, 0.066) if look.glasses == "round" else _rectangle(x, y, 0.07, 0.053, 0.022)


def _paint_hat(canvas: _Canvas, look: _Look) -> None:
    if look.hat:
        _HATS[look.hat](canvas, look, CLOTH_COLOURS[look.hat_name])


def _hat_light(u: np.ndarray, v: np.ndarray, look: _Look) -> np.ndarray:
    return 0.04 + 0.7 * look.pose.light * u - 0.5 * (v + 0.25)


def _cast_shadow(canvas: _Canvas, look: _Look, line: float) -> None:
    """Darken the forehead below a brim at height ``line``."""
    patch = canvas.head(-0.27, line - 0.02, 0.27, line + 0.12)
    shape = np.maximum(_outline(patch.u, patch.v, look) + 0.02, patch.v - line - 0.03)
    patch.fill(shape, look.shadow, opacity=0.6, blur=0.04)


def _hat_woolly(canvas: _Canvas, look: _Look, colour: Colour) -> None:
    _cast_shadow(canvas, look, -0.12)
    top = canvas.head(-0.1, -0.48, 0.1, -0.24)
    bobble = _disc(top.u, top.v + look.half_height + 0.085, 0.05)
    bobble -= 0.004 * _wave(top.u * 20.0) * _wave(top.v * 20.0)
    top.fill(bobble, _shaded(_mix(colour, WHITE, 0.55), _hat_light(top.u, top.v, look)), HAT)
    patch = canvas.head(-0.28, -0.38, 0.28, -0.05)
    u, v = patch.u, patch.v
    light = _hat_light(u, v, look)
    dome = np.maximum(_outline(u, v, look, 0.03, 0.065), v + 0.15)
    patch.fill(dome, _shaded(colour, light + 0.06 * _wave(u / (0.45 - v) * 7.0)), HAT)
    fold = _rectangle(u, v + 0.16 - 0.25 * u * u, look.half_width + 0.028, 0.04, 0.022)
    patch.fill(np.maximum(fold - 0.01, dome), _mix(colour, BLACK, 0.55), opacity=0.5, blur=0.012)
    patch.fill(fold, _shaded(_mix(colour, WHITE, 0.18), light + 0.08 * _wave(u * 14.0)), HAT)


def _hat_baseball(canvas: _Canvas, look: _Look, colour: Colour) -> None:
    _cast_shadow(canvas, look, -0.1)
    patch = canvas.head(-0.3, -0.38, 0.3, -0.04)
    u, v = patch.u, patch.v
    light = _hat_light(u, v, look)
    dome = np.maximum(_outline(u, v, look, 0.025, 0.05), v + 0.125 - 0.4 * u * u)
    patch.fill(dome, _shaded(colour, light), HAT)
    seam = np.maximum(np.abs(np.abs(u - 0.02 * look.pose.yaw) - 0.085 - 0.25 * (v + 0.13)) - 0.003, dome + 0.004)
    patch.fill(seam, _mix(colour, BLACK, 0.4), opacity=0.6)
    badge = _disc(u - 0.035 * look.pose.yaw, v + 0.215, 0.038)
    patch.fill(badge, CLOTH_COLOURS["blue" if look.hat_name in ("white", "yellow") else "white"])
    x = u - 0.05 * look.pose.yaw
    visor = np.maximum(_ellipse(x, v + 0.125, 0.19, 0.058), -(v + 0.15 - 1.3 * x * x))
    patch.fill(visor, _shaded(_mix(colour, BLACK, 0.22), light + 3.0 * np.maximum(-v - 0.12, -0.05)), HAT)


def _hat_sun(canvas: _Canvas, look: _Look, colour: Colour) -> None:
    _cast_shadow(canvas, look, -0.09)
    patch = canvas.head(-0.42, -0.42, 0.42, -0.03)
    u, v = patch.u, patch.v
    light = _hat_light(u, v, look)
    crown = _rectangle(u, v + 0.22, look.half_width - 0.02 + 0.12 * (v + 0.22), 0.12, 0.07)
    weave = 0.05 * _wave(v * 16.0 + 3.0 * u * u)
    patch.fill(crown, _shaded(colour, light + weave), HAT)
    band = np.maximum(crown - 0.002, np.abs(v + 0.175 + 0.4 * u * u) - 0.024)
    patch.fill(band, _mix(colour, BLACK, 0.5) if look.hat_name != "black" else _rgb(0xC8413B), HAT)
    brim = _ellipse(u, v + 0.135 - 0.5 * u * u, 0.36, 0.042)
    patch.fill(np.maximum(brim - 0.008, crown), BLACK, opacity=0.3, blur=0.015)
    patch.fill(brim, _shaded(_mix(colour, WHITE, 0.08), light + weave), HAT)


_HATS: dict[str, Callable[[_Canvas, _Look, Colour], None]] = {
    "woolly": _hat_woolly,
    "baseball": _hat_baseball,
    "sun": _hat_sun,
}

_PARTS: tuple[Callable[[_Canvas, _Look], None], ...] = (
    _paint_background,
    _paint_hair_back,
    _paint_neck,
    _paint_clothes,
    _paint_ears,
    _paint_head,
    _paint_beard,
    _paint_nose,
    _paint_mouth,
    _paint_eyes,
    _paint_brows,
    _paint_glasses,
    _paint_hair_front,
    _paint_hat,
)
