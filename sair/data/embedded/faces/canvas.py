"""Define the shapes that portraits consist of, and the canvas with the colour and class of every pixel.

A shape is given by the signed distance to its outline, negative inside. Several portraits are painted together, so
arrays have one portrait after the other along the first axis.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from sair.data.embedded.faces.colours import Colour
from sair.data.embedded.faces.looks import Looks

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

Number = float | np.ndarray  # one for all portraits, or one for each, (N, 1, 1)
Box = tuple[Number, Number, Number, Number]


def wave(turns: np.ndarray) -> np.ndarray:
    """Return a sine of the turns, up to sign, made of parabolas: exact in IEEE arithmetic, within 6 % of a sine."""
    half = turns - np.floor(turns) - 0.5
    return 8.0 * half * (1.0 - 2.0 * np.abs(half))


def unit(x: np.ndarray) -> np.ndarray:
    """Return the values limited to [0, 1]."""
    return x.clip(0.0, 1.0)


def ramp(x: np.ndarray) -> np.ndarray:
    """Return a smooth step from 0 at x <= 0 to 1 at x >= 1."""
    x = unit(x)
    fall = 2.0 * x
    np.subtract(3.0, fall, out=fall)
    x *= x
    x *= fall
    return x


def disc(u: np.ndarray, v: np.ndarray, radius: Number) -> np.ndarray:
    """Return the distance to a circle."""
    return np.sqrt(u * u + v * v) - radius


def ellipse(u: np.ndarray, v: np.ndarray, a: Number, b: Number) -> np.ndarray:
    """Return the first-order distance to an ellipse: its implicit function over the length of its gradient."""
    x, y = u / a, v / b
    level = _length(x, y, 1e-9)
    distance = level - 1.0
    distance *= level
    x /= a
    y /= b
    distance /= _length(x, y, 1e-9 / (a * b))
    return distance


def _length(x: np.ndarray, y: np.ndarray, least: Number) -> np.ndarray:
    """Return the root of the sum of both squares and ``least``."""
    total = x * x + y * y
    total += least
    return np.sqrt(total, out=total)


def rectangle(u: np.ndarray, v: np.ndarray, a: Number, b: float, corner: float) -> np.ndarray:
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


class Covered:
    """The K pixels of a patch that a shape covers.

    Attributes:
        index: their flat indices in the patch's arrays (N, H, W), (K,).
        places: their flat indices in the canvas, (K,).
    """

    def __init__(self, index: np.ndarray, window: Window) -> None:
        self.index, self._shape = index, window.shape
        self._row = index // window.shape[2]  # among the rows of all portraits
        self.places = index + window.shift.take(self._row, mode="clip")

    @cached_property
    def _portrait(self) -> np.ndarray:
        """Return the portrait that each pixel belongs to; of a single one, no value is looked up by it."""
        return self._row // self._shape[1]

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return the values at these pixels, (K,), or (1,) if all have the same.

        Args:
            values: of the portraits, (N, 1, 1), or of the pixels: an array that broadcasts to (N, H, W).
        """
        if values.size == 1:
            return values.reshape(1)
        if values.shape[1:] == (1, 1):
            return values.ravel().take(self._portrait, mode="clip")
        if values.shape == (*self._shape[:2], 1):
            return values.ravel().take(self._row, mode="clip")
        if values.shape != self._shape:
            values = np.broadcast_to(values, self._shape)
        return values.take(self.index, mode="clip")

    def colour(self, colour: Colour) -> np.ndarray:
        """Return the colour of each pixel, (3, K), or (3, 1) if all have the same."""
        return colour if colour.shape[1] == 1 else colour.take(self._portrait, axis=1, mode="clip")


Shade = Callable[[Covered], np.ndarray]  # returns the colour of each pixel, (3, K), or another value, (K,)


def shaded(colour: Colour, light: np.ndarray) -> Shade:
    """Return a shade: a colour multiplied by 1 + light.

    Args:
        colour: RGB in [0, 1].
        light: one number per pixel of the patch.
    """
    return lambda covered: covered.colour(colour) * (1.0 + covered.of(light))


class Patch:
    """A rectangle of each portrait in the coordinates of its head or of the image: u to the right, v downwards.

    Attributes:
        u, v: coordinates of the pixels: (N, H, W), or arrays that broadcast to it.
    """

    def __init__(self, canvas: Canvas, window: Window, u: np.ndarray, v: np.ndarray, pixel: np.ndarray) -> None:
        """Prepare to paint.

        Args:
            canvas: the canvas to paint on.
            window: the pixels of the canvas.
            u, v: the attributes.
            pixel: side of a pixel in these coordinates, (N, 1, 1).
        """
        self.u, self.v, self._pixel = u, v, pixel
        self._image, self._labels = canvas.image.reshape(3, -1), canvas.labels.reshape(-1)
        self._window = window

    def fill(
        self,
        distance: np.ndarray,
        colour: Colour | Shade,
        label: int | None = None,
        opacity: float = 1.0,
        blur: float = 0.0,
        within: Shade | None = None,
    ) -> None:
        """Paint where a distance is negative.

        Args:
            distance: signed distance to the outline, shape of the patch.
            colour: RGB in [0, 1], or a function that computes it for the covered pixels only.
            label: class of pixels that are covered by half or more; None leaves the classes unchanged.
            opacity: factor for the coverage.
            blur: additional width of the ramp at the outline.
            within: computes the distance to a second outline, for pixels inside the first only; the shape is in both.
        """
        width = self._pixel + blur
        # Most pixels of a patch are outside. The margin over half of the width is for rounding: the coverage is exactly
        # zero there, and painting with it changes nothing.
        inside = distance < 0.500001 * width
        if self._window.own is not None:
            inside = inside & self._window.own
        elif inside.shape != self._window.shape:
            inside = np.broadcast_to(inside, self._window.shape)
        covered = Covered(inside.ravel().nonzero()[0], self._window)
        depth = covered.of(distance)
        if within is not None:
            depth = np.maximum(depth, within(covered))
        coverage = unit(0.5 - depth / covered.of(width))
        if opacity != 1.0:
            coverage *= opacity
        places = covered.places
        if label is not None:
            self._labels[places.compress(coverage >= 0.5)] = label
        values = colour(covered) if callable(colour) else covered.colour(colour)
        # One channel after the other, because NumPy assigns to one several times as fast as to all.
        for channel, value in zip(self._image, values, strict=True):
            before = channel.take(places, mode="clip")
            painted = value - before
            painted *= coverage
            painted += before
            channel[places] = painted

    def line(self, offset: np.ndarray, thickness: Number, colour: Colour, **kwargs: Any) -> None:
        """Paint a line where ``offset`` changes sign.

        Args:
            offset: signed distance to the line.
            thickness: half the width of the line.
            colour, kwargs: same as in ``fill``.
        """
        self.fill(np.abs(offset) - thickness, colour, **kwargs)


class Window:
    """A rectangle of pixels of each portrait: each has its own corner, and all have the size of the largest.

    Attributes:
        rows, columns: of the canvas, (N, H) and (N, W).
        shape: (N, H, W).
        shift: for each row of pixels, (N H,), what is added to an index in an array (N, H, W) for that in the canvas.
        own: False for pixels by which the window is larger than the portrait's own, bool (N, H, W); None if there are
            none.
    """

    def __init__(self, size: int, portraits: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """Find the pixels.

        Args:
            size: side of the canvas in pixels.
            portraits: their places in the canvas, (N,).
            low, high: first pixel and the one after the last, (2, N): column and row, inside the canvas.
        """
        width, height = (int(side) for side in (high - low).max(axis=1))
        # A window that is larger than the portrait's own must not leave the canvas.
        x, y = np.minimum(low, [[size - width], [size - height]])[:, :, None]
        self.columns, self.rows = x + np.arange(width), y + np.arange(height)
        self.shape = len(portraits), height, width
        first = (portraits[:, None] * size + self.rows) * size + x
        self.shift = first.ravel() - np.arange(first.size) * width
        self.own = None
        if ((high - low) != [[width], [height]]).any():
            (x0, y0), (x1, y1) = low[:, :, None], high[:, :, None]
            across = (self.columns >= x0) & (self.columns < x1)
            down = (self.rows >= y0) & (self.rows < y1)
            self.own = down[:, :, None] & across[:, None, :]


class Canvas:
    """The images while they are painted, with the coordinates of the heads and of the images.

    Attributes:
        size: side of the images in pixels.
        image: colours, float64 (3, N, S, S).
        labels: classes, uint8 (N, S, S).
    """

    def __init__(self, size: int, count: int = 1) -> None:
        self.size = size
        self.image = np.zeros((3, count, size, size))
        self.labels = np.zeros((count, size, size), dtype=np.uint8)
        self._centres = (np.arange(size) + 0.5) / size

    def pixels(self) -> np.ndarray:
        """Return the images as 8-bit RGB, uint8 (N, S, S, 3)."""
        pixels = np.empty((*self.labels.shape, 3), dtype=np.uint8)
        for channel, colours in enumerate(self.image):
            scaled = unit(colours)
            scaled *= 255.0
            scaled += 0.5
            pixels[..., channel] = scaled
        return pixels

    def body(self, looks: Looks, x0: Number = 0.0, y0: Number = 0.0, x1: Number = 1.0, y1: Number = 1.0) -> Patch:
        """Return a patch in upright coordinates: unit is the image's side, origin its upper left corner."""
        window = self._window(looks, *(np.broadcast_to(edge, looks.x.shape) for edge in (x0, y0, x1, y1)))
        x, y = self._centres[window.columns][:, None, :], self._centres[window.rows][:, :, None]
        return Patch(self, window, x, y, np.full((1, 1, 1), 1.0 / self.size))

    def head(self, looks: Looks, u0: Number, v0: Number, u1: Number, v1: Number) -> Patch:
        """Return a patch in the coordinates of the head, which move, scale and tilt with it."""
        # The corners of the rectangle; the window is the upright one that contains them.
        u, v = np.empty((2, 4, *looks.x.shape))
        u[0], u[1], u[2], u[3] = u0, u1, u0, u1
        v[0], v[1], v[2], v[3] = v0, v0, v1, v1
        x = looks.x + looks.scale * (looks.cosine * u - looks.sine * v)
        y = looks.y + looks.scale * (looks.cosine * v + looks.sine * u)
        window = self._window(looks, x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0))
        x = (self._centres[window.columns][:, None, :] - looks.x) / looks.scale
        y = (self._centres[window.rows][:, :, None] - looks.y) / looks.scale
        u, v = looks.cosine * x + looks.sine * y, looks.cosine * y - looks.sine * x
        return Patch(self, window, u, v, 1.0 / (self.size * looks.scale))

    def _window(self, looks: Looks, *box: np.ndarray) -> Window:
        """Return the pixels of a box, given as left, upper, right and lower edge in image sides, each (N, 1, 1)."""
        # Add two pixels on each side for the ramps of the outlines.
        edges = (np.stack(box)[:, :, 0, 0] * self.size).astype(np.intp)
        edges += [[-2], [-2], [3], [3]]
        np.minimum(np.maximum(edges, 0, out=edges), self.size, out=edges)
        return Window(self.size, looks.faces, edges[:2], edges[2:])
