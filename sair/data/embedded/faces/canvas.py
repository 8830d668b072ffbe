"""Define the shapes that portraits consist of, and the canvas with the colour and class of every pixel.

A shape is given by the signed distance to its outline, negative inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sair.data.embedded.faces.colours import Colour, Shade, column
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


def unit(x: np.ndarray) -> np.ndarray:
    """Return the values limited to [0, 1]; on small arrays several times as fast as ``np.clip``."""
    return np.minimum(np.maximum(x, 0.0), 1.0)


def ramp(x: np.ndarray) -> np.ndarray:
    """Return a smooth step from 0 at x <= 0 to 1 at x >= 1."""
    x = unit(x)
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
    along = unit((x * du + y * dv) / (du * du + dv * dv))
    return disc(x - along * du, y - along * dv, thickness)


class Patch:
    """A rectangle of the canvas in the coordinates of the head or the body: u to the right, v downwards."""

    def __init__(self, canvas: Canvas, window: tuple[slice, slice], u: np.ndarray, v: np.ndarray, pixel: float) -> None:
        """Prepare to paint.

        Args:
            canvas: the canvas to paint on.
            window: rows and columns of the canvas.
            u, v: coordinates of the window's pixels, or arrays that broadcast to them.
            pixel: side of a pixel in these coordinates.
        """
        self.u, self.v, self._pixel = u, v, pixel
        self._image, self._labels = canvas.image.reshape(3, -1), canvas.labels.reshape(-1)
        self._places = np.ascontiguousarray(canvas.places[window])

    def fill(
        self,
        distance: np.ndarray,
        colour: Colour | Shade,
        label: int | None = None,
        opacity: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Paint where a distance is negative.

        Args:
            distance: signed distance to the outline, shape of the patch.
            colour: RGB in [0, 1], or a function that computes it for the covered pixels only.
            label: class of pixels that are covered by half or more; None leaves the classes unchanged.
            opacity: factor for the coverage.
            blur: additional width of the ramp at the outline.
        """
        if distance.shape != self._places.shape:
            distance = np.broadcast_to(distance, self._places.shape)
        width = self._pixel + blur
        # Most pixels of a patch are outside. The margin over half of the width is for rounding: the coverage is exactly
        # zero there, and painting with it changes nothing.
        (covered,) = (distance < 0.500001 * width).ravel().nonzero()
        coverage = unit(0.5 - distance.take(covered, mode="clip") / width)
        if opacity != 1.0:
            coverage *= opacity
        places = self._places.take(covered, mode="clip")
        if label is not None:
            self._labels[places[coverage >= 0.5]] = label
        values = colour(covered) if callable(colour) else column(colour)
        before = self._image.take(places, axis=1, mode="clip")
        for channel, painted in zip(self._image, before + coverage * (values - before), strict=True):
            channel[places] = painted  # several times as fast as one assignment to all channels

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
        self.places = np.arange(size * size).reshape(size, size)  # of each pixel in the flat image
        self._x, self._y = centres[None, :], centres[:, None]
        self._pose = pose
        square = pose.tilt * pose.tilt
        self._cosine, self._sine = (1 - square) / (1 + square), 2 * pose.tilt / (1 + square)
        x, y = (self._x - pose.x) / pose.scale, (self._y - pose.y) / pose.scale
        self._u, self._v = self._cosine * x + self._sine * y, self._cosine * y - self._sine * x

    def body(self, x0: float = 0.0, y0: float = 0.0, x1: float = 1.0, y1: float = 1.0) -> Patch:
        """Return a patch in upright coordinates: unit is the image's side, origin its upper left corner."""
        rows, columns = self._window((x0, y0, x1, y1))
        return Patch(self, (rows, columns), self._x[:, columns], self._y[rows], 1.0 / self.size)

    def head(self, u0: float, v0: float, u1: float, v1: float) -> Patch:
        """Return a patch in the coordinates of the head, which move, scale and tilt with it."""
        pose = self._pose
        corners = [(u, v) for v in (v0, v1) for u in (u0, u1)]
        x = [pose.x + pose.scale * (self._cosine * u - self._sine * v) for u, v in corners]
        y = [pose.y + pose.scale * (self._cosine * v + self._sine * u) for u, v in corners]
        window = self._window((min(x), min(y), max(x), max(y)))
        u, v = np.ascontiguousarray(self._u[window]), np.ascontiguousarray(self._v[window])
        return Patch(self, window, u, v, 1.0 / (self.size * pose.scale))

    def _window(self, box: Box) -> tuple[slice, slice]:
        """Return the rows and columns of a box, given as left, upper, right and lower edge in image sides."""
        # Add two pixels on each side for the ramps of the outlines.
        x0, y0 = (max(0, int(edge * self.size) - 2) for edge in box[:2])
        x1, y1 = (max(0, int(edge * self.size) + 3) for edge in box[2:])
        return slice(y0, y1), slice(x0, x1)
