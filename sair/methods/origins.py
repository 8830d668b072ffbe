"""Values of YAML files laid over one another, and where each of them came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


def merge(base: dict[Any, Any], over: Mapping[Any, Any]) -> dict[Any, Any]:
    """Lay ``over`` on top of ``base``, key by key through nested mappings; a null in ``over`` replaces."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


class Layer(NamedTuple):
    """Values, and a tree of the same shape with the origin of each: both are merged alike.

    values: plain data.
    origins: by the same keys, a text for each value that is no mapping. A mapping's own origin is at the key None.
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
        """Return a mapping inside; an empty one where there is none."""
        value = self.values.get(key)
        return Layer(value, self.origins.get(key, {})) if isinstance(value, dict) else Layer({}, {})

    def through(self, way: str) -> dict[str | None, Any]:
        """Return the origins, each with a prefix: the key through which it came to another file."""
        return _through(self.origins, way)


def _everywhere(value: Any, origin: str) -> Any:
    if not isinstance(value, Mapping):
        return origin
    return {None: origin} | {key: _everywhere(inner, origin) for key, inner in value.items()}


def _through(origins: Any, way: str) -> Any:
    if isinstance(origins, dict):
        return {key: _through(inner, way) for key, inner in origins.items()}
    return f"{way}: {origins}"
