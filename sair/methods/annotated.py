"""Write a method's values as YAML, each with its origin. Training does not import this; a change retrains nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from sair.methods.origins import Layer

_WIDEST = 60  # characters of the longest line whose comment is aligned with the others


def to_yaml(layer: Layer) -> str:
    """Write the values as YAML, with each one's origin in a comment."""
    lines = list(_lines(layer.values, layer.origins, ""))
    width = max((len(line) for line, origin in lines if origin and len(line) <= _WIDEST), default=0)
    return "\n".join(f"{line:{width}}  # {origin}" if origin else line for line, origin in lines) + "\n"


def _lines(values: Mapping[str, Any], origins: Any, indent: str) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        origin = origins.get(key, "") if isinstance(origins, dict) else ""
        if isinstance(value, dict) and value:
            yield f"{indent}{_flat({key: None}).removesuffix(' null')}", ""
            yield from _lines(value, origin, f"{indent}  ")
        else:
            yield f"{indent}{_flat({key: value})}", origin.get(None, "") if isinstance(origin, dict) else origin


def _flat(item: dict[str, Any]) -> str:
    """Return a key and its value as YAML on one line."""
    [value] = item.values()
    text = _dump(item, None if isinstance(value, dict | list) else False)
    if "\n" not in text:
        return text
    text = _dump(item, True)
    # PyYAML breaks long texts over several lines. JSON is also YAML, and does not.
    return (text if "\n" not in text else json.dumps(item))[1:-1]


def _dump(item: dict[str, Any], flow: bool | None) -> str:
    return yaml.safe_dump(item, default_flow_style=flow, width=math.inf, allow_unicode=True, sort_keys=False).strip()
