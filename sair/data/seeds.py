"""Derive seeds for random draws."""

from __future__ import annotations

import hashlib


def mix(*parts: object) -> int:
    """Return a 63-bit seed that depends on every part and on no machine; other parts give an unrelated seed."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
