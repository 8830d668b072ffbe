"""Test that arguments from YAML are checked by the annotations of what they are given to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sair.common.arguments import check_arguments
from sair.common.errors import InputError


class Painter:
    """A class with the kinds of parameters that method files give."""

    def __init__(
        self,
        width: int,
        rate: float = 1e-4,
        joined: bool = False,
        fill: str | None = None,
        sizes: Sequence[int] = (),
        betas: tuple[float, float] = (0.5, 0.9),
        parts: Mapping[str, Any] | None = None,
        path: str | Path = "",
        hint: int = None,  # noqa: RUF013 - users' annotations may contradict their defaults
        anything=None,
    ) -> None:
        pass


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"width": 3, "rate": 1, "joined": True, "fill": "grey", "sizes": [1, 2], "betas": [0, 0.9], "parts": {"a": 1}},
        {"fill": None, "sizes": (), "parts": None, "path": "a", "hint": None, "anything": object()},
    ],
)
def test_fitting_values_are_accepted(given):
    check_arguments(Painter, given, "here")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"widthx": 3}, "here: Painter has no parameter 'widthx'. Did you mean width"),
        ({"width": 3.0}, "here, width: 3.0; expected a whole number."),
        ({"width": True}, "here, width: True; expected a whole number."),
        ({"width": None}, "here, width: None; expected a whole number."),
        (
            {"rate": "1e-4"},
            "'1e-4'; expected a number. Write numbers without quotes, and with a dot before",
        ),
        ({"rate": "fast"}, "here, rate: 'fast'; expected a number."),
        ({"joined": "no"}, "here, joined: 'no'; expected true or false."),
        ({"joined": 0}, "here, joined: 0; expected true or false."),
        ({"fill": 3}, "here, fill: 3; expected a text or null."),
        ({"sizes": 3}, "here, sizes: 3; expected a list, each item a whole number."),
        ({"sizes": "123"}, "here, sizes: '123'; expected a list, each item a whole number."),
        ({"sizes": [1, None]}, "here, sizes: [1, None]; expected a list, each item a whole number."),
        ({"parts": ["a"]}, "here, parts: ['a']; expected keys and values or null."),
    ],
)
def test_other_values_are_refused(given, message):
    with pytest.raises(InputError) as refused:
        check_arguments(Painter, given, "here")
    assert message in str(refused.value)


def test_what_takes_any_arguments_is_given_them():
    check_arguments(lambda width, **others: None, {"depth": 1}, "here")
