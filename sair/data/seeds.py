"""Seeds that depend on everything they are for."""

from __future__ import annotations

import hashlib


def mix(*parts: object) -> int:
    """A 63-bit seed that depends on every part: the same on every machine, unrelated for different parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
