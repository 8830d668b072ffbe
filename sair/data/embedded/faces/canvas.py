"""Define the shapes that portraits consist of, and the canvas with the colour and class of every pixel.

A shape is given by the signed distance to its outline, negative inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sair.data.embedded.faces.colours import Colour
from sair.data.embedded.faces.traits import Pose

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

Box = tuple[float, float, float, float]


def wave(turns: np.ndarray) -> np.ndarray:
    """Return a sine of the turns, up to sign, made of parabolas: exact in IEEE arithmetic, within 6 % of a sine."""
    half = turns - np.floor(turns) - 0.5
    return 8.0 * half * (1.0 - 2.0 * np.abs(half))


def ramp(x: np.ndarray) -> np.ndarray:
    """Return a smooth step from 0 at x <= 0 to 1 at x >= 1."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def disc(u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    """Return the distance to a circle."""
    return np.sqrt(u * u + v * v) - radius


def ellipse(u: np.ndarray, v: np.ndarray, a: float, b: float) -> np.ndarray:
    """Return the first-order distance to an ellipse: its implicit function over the length of its gradient."""
    x, y = u / a, v / b
    level = np.sqrt(x * x + y * y + 1e-9)
    return (level - 1.0) * level / np.sqrt((x / a) * (x / a) + (y / b) * (y / b) + 1e-9 / (a * b))


def rectangle(u: np.ndarray, v: np.ndarray, a: float | np.ndarray, b: float, corner: float) -> np.ndarray:
    """Return the distance to a rectangle of half sides a, b with rounded corners."""
    x, y = np.abs(u) - (a - corner), np.abs(v) - (b - corner)
    outside_x, outside_y = np.maximum(x, 0.0), np.maximum(y, 0.0)
    outside = np.sqrt(outside_x * outside_x + outside_y * outside_y)
    return outside + np.minimum(np.maximum(x, y), 0.0) - corner


def segment(u: np.ndarray, v: np.ndarray, ends: Box, thickness: float) -> np.ndarray:
    """Return the distance to a bar with round ends from (ends[0], ends[1]) to (ends[2], ends[3])."""
    du, dv = ends[2] - ends[0], ends[3] - ends[1]
    x, y = u - ends[0], v - ends[1]
    along = np.clip((x * du + y * dv) / (du * du + dv * dv), 0.0, 1.0)
    return disc(x - along * du, y - along * dv, thickness)


class Patch:
    """A rectangle of the canvas in the coordinates of the head or the body: u to the right, v downwards."""

    def __init__(self, image: np.ndarray, labels: np.ndarray, u: np.ndarray, v: np.ndarray, pixel: float) -> None:
        self.image, self.labels, self.u, self.v, self.pixel = image, labels, u, v, pixel

    def fill(
        self,
        distance: np.ndarray,
        colour: Colour | Sequence[np.ndarray],
        label: int | None = None,
        opacity: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Paint where a distance is negative.

        Args:
            distance: signed distance to the outline, shape of the patch.
            colour: RGB in [0, 1], one number or one array per channel.
            label: class of pixels that are covered by half or more; None leaves the classes unchanged.
            opacity: factor for the coverage.
            blur: additional width of the ramp at the outline.
        """
        coverage = np.clip(0.5 - distance / (self.pixel + blur), 0.0, 1.0)
        if opacity != 1.0:
            coverage *= opacity
        if label is not None:
            self.labels[coverage >= 0.5] = label
        for channel, value in zip(self.image, colour, strict=True):
            channel += coverage * (value - channel)

    def line(self, offset: np.ndarray, thickness: np.ndarray | float, colour: Colour, **kwargs: Any) -> None:
        """Paint a line where ``offset`` changes sign.

        Args:
            offset: signed distance to the line.
            thickness: half the width of the line.
            colour, kwargs: same as in ``fill``.
        """
        self.fill(np.abs(offset) - thickness, colour, **kwargs)


class Canvas:
    """The image while it is painted, with the coordinates of the head and of the body."""

    def __init__(self, size: int, pose: Pose) -> None:
        self.size = size
        self.image = np.zeros((3, size, size))
        self.labels = np.zeros((size, size), dtype=np.uint8)
        centres = (np.arange(size) + 0.5) / size
        self._x, self._y = np.broadcast_arrays(centres, centres[:, None])
        self._pose = pose
        square = pose.tilt * pose.tilt
        self._cosine, self._sine = (1 - square) / (1 + square), 2 * pose.tilt / (1 + square)
        x, y = (self._x - pose.x) / pose.scale, (self._y - pose.y) / pose.scale
        self._u, self._v = self._cosine * x + self._sine * y, self._cosine * y - self._sine * x

    def body(self, x0: float = 0.0, y0: float = 0.0, x1: float = 1.0, y1: float = 1.0) -> Patch:
        """Return a patch in upright coordinates: unit is the image's side, origin its upper left corner."""
        return self._patch(self._x, self._y, (x0, y0, x1, y1), 1.0)

    def head(self, u0: float, v0: float, u1: float, v1: float) -> Patch:
        """Return a patch in the coordinates of the head, which move, scale and tilt with it."""
        pose = self._pose
        u, v = np.array([u0, u1, u0, u1]), np.array([v0, v0, v1, v1])
        x = pose.x + pose.scale * (self._cosine * u - self._sine * v)
        y = pose.y + pose.scale * (self._cosine * v + self._sine * u)
        return self._patch(self._u, self._v, (x.min(), y.min(), x.max(), y.max()), pose.scale)

    def _patch(self, u: np.ndarray, v: np.ndarray, box: Box, scale: float) -> Patch:
        # Add two pixels on each side for the ramps of the outlines.
        x0, y0 = (max(0, int(edge * self.size) - 2) for edge in box[:2])
        x1, y1 = (max(0, int(edge * self.size) + 3) for edge in box[2:])
        window = np.s_[y0:y1, x0:x1]
        return Patch(self.image[:, *window], self.labels[window], u[window], v[window], 1.0 / (self.size * scale))
