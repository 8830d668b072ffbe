"""Check parameters that several adapters of foreign methods have, and shorten the errors of foreign libraries."""

from __future__ import annotations

from typing import Any

from sair.common.errors import InputError

FILLS = {"black": 0.0, "grey": 0.5, "white": 1.0}  # colour under the hole, by its name in a method's file


def is_number(value: Any) -> bool:
    """Return whether a value of a YAML file is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any, least: int | None = None) -> bool:
    """Return whether a value of a YAML file is a whole number, and at least ``least`` if that is given."""
    return isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)


def check_text(key: str, value: Any) -> str:
    """Return a value of a YAML file that must be a text with at least one character.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, str) or not value:
        raise InputError(f"{key}: {value!r}; expected a text.")
    return value


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
