"""Define the colours of the portraits: palettes of skin, hair, eyes, cloth and walls, and how colours mix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Colour = tuple[float, float, float]
Shade = Callable[[np.ndarray], np.ndarray]  # from n flat indices of pixels in a patch to their colours, (3, n)


def rgb(code: int) -> Colour:
    """Return the colour of a number 0xRRGGBB."""
    return (code >> 16 & 255) / 255, (code >> 8 & 255) / 255, (code & 255) / 255


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Mix two colours: ``share`` 0 gives ``one``, 1 gives ``other``."""
    red, green, blue = (a + share * (b - a) for a, b in zip(one, other, strict=True))
    return red, green, blue


def times(colour: Colour, factor: Colour) -> Colour:
    """Multiply a colour by a factor for each channel."""
    red, green, blue = (a * b for a, b in zip(colour, factor, strict=True))
    return red, green, blue


def column(colour: Colour) -> np.ndarray:
    """Return a colour as an array (3, 1), one row per channel."""
    return np.array(colour)[:, None]


def shaded(colour: Colour, light: np.ndarray) -> Shade:
    """Return a shade: a colour multiplied by 1 + light.

    Args:
        colour: RGB in [0, 1].
        light: one number per pixel of the patch.
    """
    return lambda covered: column(colour) * (1.0 + light.take(covered))


SKIN_TONES = tuple(map(rgb, (0xFFE3D0, 0xF8D2B6, 0xEFC09A, 0xDDA67C, 0xC68C60, 0xA56F48, 0x835437, 0x633E2A, 0x482D21)))
HAIR_COLOURS = {
    "black": rgb(0x2A2427),
    "brown": rgb(0x60402B),
    "blond": rgb(0xDDB266),
    "red": rgb(0xB0502A),
    "grey": rgb(0xA9A8AC),
}
EYE_COLOURS = {"brown": rgb(0x6B4226), "blue": rgb(0x4F8FC9), "green": rgb(0x5C9554), "grey": rgb(0x8A99A3)}
CLOTH_COLOURS = {
    "red": rgb(0xC8413B),
    "blue": rgb(0x3566AE),
    "green": rgb(0x3F8A5C),
    "yellow": rgb(0xE9B93E),
    "purple": rgb(0x7A529C),
    "black": rgb(0x35363D),
    "white": rgb(0xF0EEE9),
    "orange": rgb(0xE27F35),
}
WALL_COLOURS = {
    "blue": rgb(0x8FB8DE),
    "green": rgb(0x9CC7A2),
    "pink": rgb(0xEDB3BC),
    "yellow": rgb(0xF2DA98),
    "purple": rgb(0xB9A5D6),
    "grey": rgb(0xB9BEC4),
    "orange": rgb(0xF0B586),
}
WHITE, BLACK = rgb(0xFFFFFF), rgb(0x17141A)
