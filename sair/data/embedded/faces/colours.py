"""Define the colours of the portraits: palettes of skin, hair, eyes, cloth and walls, and how colours mix.

A colour is an array (3, 1), or (3, N) with one colour for each of N portraits; RGB in [0, 1].
"""

from __future__ import annotations

import numpy as np

Colour = np.ndarray


def rgb(code: int) -> Colour:
    """Return the colour of a number 0xRRGGBB, as (3, 1)."""
    return np.array([[code >> 16 & 255], [code >> 8 & 255], [code & 255]]) / 255


def mix(one: Colour, other: Colour, share: float | np.ndarray) -> Colour:
    """Mix two colours: ``share`` 0 gives ``one``, 1 gives ``other``; a number, or one for each of N portraits."""
    return one + np.reshape(share, -1) * (other - one)


SKIN_TONES = np.concatenate(
    [rgb(code) for code in (0xFFE3D0, 0xF8D2B6, 0xEFC09A, 0xDDA67C, 0xC68C60, 0xA56F48, 0x835437, 0x633E2A, 0x482D21)],
    axis=1,
)  # from light to dark, (3, 9)
HAIR_COLOURS = {
    "black": rgb(0x2A2427),
    "brown": rgb(0x60402B),
    "blond": rgb(0xDDB266),
    "red": rgb(0xB0502A),
    "grey": rgb(0xA9A8AC),
}
EYE_COLOURS = {"brown": rgb(0x6B4226), "blue": rgb(0x4F8FC9), "green": rgb(0x5C9554), "grey": rgb(0x8A99A3)}
FRAME_COLOURS = {"black": rgb(0x24222A), "gold": rgb(0xC08A35), "red": rgb(0xB5384A), "blue": rgb(0x3568B0)}
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
