"""Merge the values of YAML files, and keep track of the file that each value came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


def merge(base: dict[Any, Any], over: Mapping[Any, Any]) -> dict[Any, Any]:
    """Lay ``over`` on top of ``base``, key by key through nested mappings; a null in ``over`` also replaces."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


class Layer(NamedTuple):
    """Values, and a tree of the same shape with the origin of each value. Both are merged in the same way.

    values: plain data.
    origins: under the same keys, a text for each value that is not a mapping. A mapping's own origin has the key None.
    """

    values: dict[str, Any]
    origins: dict[str | None, Any]

    @classmethod
    def of(cls, values: Mapping[str, Any], origin: str) -> Layer:
        """Return values that all come from one place."""
        return cls(dict(values), _everywhere(values, origin))

    def under(self, over: Layer) -> Layer:
        """Return this layer with another one on top."""
        return Layer(merge(self.values, over.values), merge(self.origins, over.origins))

    def part(self, key: str) -> Layer:
        """Return the mapping at a key, or an empty one if there is none."""
        value = self.values.get(key)
        return Layer(value, self.origins.get(key, {})) if isinstance(value, dict) else Layer({}, {})

    def through(self, way: str) -> dict[str | None, Any]:
        """Return the origins with a prefix: the key through which the values came to another file."""
        return _through(self.origins, way)


def _everywhere(value: Any, origin: str) -> Any:
    if not isinstance(value, Mapping):
        return origin
    return {None: origin} | {key: _everywhere(inner, origin) for key, inner in value.items()}


def _through(origins: Any, way: str) -> Any:
    if isinstance(origins, dict):
        return {key: _through(inner, way) for key, inner in origins.items()}
    return f"{way}: {origins}"
