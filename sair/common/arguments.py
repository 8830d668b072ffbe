"""Check arguments that a YAML file gives to a class or function: their names, and their types by its annotations."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sair.common.errors import InputError, near

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}


def check_arguments(function: Callable[..., object], given: Mapping[str, Any], where: str) -> None:
    """Refuse arguments that a class or function does not have, and values of another type than it is annotated with.

    A whole number is a number; a list stands for any sequence. What YAML cannot write, such as a path, and arguments
    without annotation are not checked, nor is a value that equals the default.

    Args:
        function: the class or function.
        given: its arguments by name.
        where: what gives them, for the message.

    Raises:
        InputError: an unknown name or a value of another type.
    """
    known = inspect.signature(function).parameters
    takes_all = any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    hints = _hints(function)
    for key, value in given.items():
        if key not in known:
            if takes_all:
                continue
            raise InputError(f"{where}: {_name(function)} has no parameter {key!r}. {near(key, known)}")
        hint = hints.get(key, Any)
        if value is not known[key].default and not _fits(value, hint):
            raise InputError(f"{where}, {key}: {value!r:.60}; expected {_words(hint)}.{_hint(value)}")


def _hints(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]
    except (NameError, TypeError, AttributeError):  # names that are imported for type checkers only
        return {}


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value may have an annotated type; True for types that are not checked."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if hint in (int, float):
        kinds = int if hint is int else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool)
    if hint in _WORDS:
        return isinstance(value, hint)
    if _is_kind(origin or hint, Mapping):
        items = inner[1:]
        return isinstance(value, Mapping) and all(_fits(item, one) for one in items for item in value.values())
    if _is_kind(origin or hint, Sequence):
        items = inner[:1] if origin is not tuple or inner[-1:] == (...,) else ()
        return isinstance(value, list | tuple) and all(_fits(item, one) for one in items for item in value)
    return True


def _hint(value: Any) -> str:
    """Return how YAML writes numbers, for a number that it has read as a text."""
    try:
        float(value)
    except (TypeError, ValueError):
        return ""
    return " Write numbers without quotes, and with a dot before an exponent: 1.0e-4." if isinstance(value, str) else ""


def _is_kind(found: Any, kind: type) -> bool:
    return isinstance(found, type) and issubclass(found, kind)


def _words(hint: Any) -> str:
    """Return what is expected of a value, in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, inner)))
    if hint in _WORDS:
        return _WORDS[hint]
    if _is_kind(origin or hint, Mapping):
        return "keys and values"
    if _is_kind(origin or hint, Sequence):
        return f"a list, each item {_WORDS[inner[0]]}" if inner and inner[0] in _WORDS else "a list"
    return "a value of another type"
