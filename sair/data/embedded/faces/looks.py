"""Hold the traits of several portraits as arrays, so that they are painted together.

A portrait of 64 pixels is mostly made of operations on a few hundred pixels, where NumPy takes longer to start than to
compute. With one portrait more along the first axis, each operation is started once for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from sair.data.embedded.faces.colours import (
    BLACK,
    CLOTH_COLOURS,
    EYE_COLOURS,
    FRAME_COLOURS,
    HAIR_COLOURS,
    SKIN_TONES,
    WALL_COLOURS,
    Colour,
    mix,
    rgb,
)
from sair.data.embedded.faces.traits import Look


class Looks:
    """The traits of N portraits.

    Attributes:
        each: the portraits' traits one by one.
        faces: their places in the canvas, (N,).
        words: the traits by which these portraits were grouped, by name; all N have them in common.
        man: 1 for a man, 0 for a woman, (N, 1, 1).
        cosine, sine: of the angle by which the head is tilted, (N, 1, 1).
        x, y and the other numbers: same as in ``Pose`` and ``Look``, float64 (N, 1, 1).
        skin, shadow, glow: colour of the skin, in shadow (darker and warmer) and in full light, (3, N).
        hair, brow, eye, frame, clothes, trim, hat, wall: other colours, (3, N).
    """

    def __init__(
        self,
        each: Sequence[Look],
        faces: np.ndarray,
        words: Mapping[str, Any],
        numbers: np.ndarray,
        colours: np.ndarray,
    ) -> None:
        """Name the numbers and colours.

        Args:
            each, faces, words: the attributes.
            numbers: those of ``_numbers`` and then cosine and sine, (n, N, 1, 1).
            colours: those of ``_colours``, (n, 3, N).
        """
        self.each, self.faces, self.words = each, faces, words
        self._numbers, self._colours = numbers, colours
        self.man, self.x, self.y, self.scale, self.tilt, self.yaw, self.light, *others = numbers
        self.half_width, self.half_height, self.jaw, self.part, self.hairline, self.hair_length, *others = others
        self.eye_gap, self.eye_width, self.eye_open, self.brow_thick, self.brow_arch, self.brow_tilt, *others = others
        self.nose_length, self.nose_width, self.mouth_width, self.lip, *others = others
        self.phase, self.gaze, (self.cosine, self.sine) = others[:3], others[3:5], others[5:]
        self.skin, self.shadow, self.glow, self.hair, self.brow, self.eye, self.frame, *cloths = colours
        self.clothes, self.trim, self.hat, self.wall = cloths

    @classmethod
    def of(cls, each: Sequence[Look]) -> Looks:
        """Return the traits of portraits, which have no word in common."""
        numbers = np.array([_numbers(look) for look in each]).T[:, :, None, None]
        tilt = numbers[4]
        square = tilt * tilt
        angle = np.stack([(1 - square) / (1 + square), 2 * tilt / (1 + square)])
        return cls(each, np.arange(len(each)), {}, np.concatenate([numbers, angle]), _colours(each))

    def groups(self, names: Sequence[str]) -> Iterator[Looks]:
        """Yield the portraits in groups that have some traits in common.

        Args:
            names: attributes of ``Look``, the ``words`` of the groups.
        """
        if not names:
            yield self
            return
        members = defaultdict(list)
        for number, key in enumerate(zip(*(map(attrgetter(name), self.each) for name in names), strict=True)):
            members[key].append(number)
        for key, numbers in members.items():
            yield self._only(np.array(numbers), dict(zip(names, key, strict=True)))

    def _only(self, numbers: np.ndarray, words: Mapping[str, Any]) -> Looks:
        each = [self.each[number] for number in numbers.tolist()]
        chosen = self._numbers.take(numbers, axis=1), self._colours.take(numbers, axis=2)
        return Looks(each, self.faces.take(numbers), words, *chosen)


def _numbers(look: Look) -> tuple[float, ...]:
    """Return all numbers of a portrait, in the order in which ``Looks`` names them."""
    pose = look.pose
    return (
        *(float(look.kind == "man"), pose.x, pose.y, pose.scale, pose.tilt, pose.yaw, pose.light),
        *(look.half_width, look.half_height, look.jaw, look.part, look.hairline, look.hair_length),
        *(look.eye_gap, look.eye_width, look.eye_open, look.brow_thick, look.brow_arch, look.brow_tilt),
        *(look.nose_length, look.nose_width, look.mouth_width, look.lip),
        *look.phase,
        *look.gaze,
    )


def _colours(each: Sequence[Look]) -> np.ndarray:
    """Return all colours of portraits, (n, 3, N), in the order in which ``Looks`` names them."""
    place = np.array([look.tone for look in each])
    tone = place.astype(np.intp)
    skin = mix(SKIN_TONES[:, tone], SKIN_TONES[:, tone + 1], place - tone)
    shadow, glow = skin * [[0.80], [0.68], [0.66]], mix(skin, rgb(0xFFF4E6), 0.22)
    hair = _named(HAIR_COLOURS, [look.hair_name for look in each]) * [look.hair_tint for look in each]
    brow = mix(hair, BLACK, np.array([0.1 if look.hair_name == "black" else 0.3 for look in each]))
    named = (
        _named(EYE_COLOURS, [look.eye_name for look in each]),
        _named(FRAME_COLOURS, [look.frame_name for look in each]),
        _named(CLOTH_COLOURS, [look.clothes_name for look in each]),
        _named(CLOTH_COLOURS, [look.trim_name for look in each]),
        _named(CLOTH_COLOURS, [look.hat_name for look in each]),
        _named(WALL_COLOURS, [look.wall_name for look in each]),
    )
    return np.stack([skin, shadow, glow, hair, brow, *named])


def _named(palette: Mapping[str, Colour], names: Sequence[str]) -> Colour:
    """Return the colours of a palette by their names, (3, N)."""
    return np.concatenate([palette[name] for name in names], axis=1)
