"""Raise errors that a user can correct: each message names the file, the expectation and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LISTED = 10  # faults that one message lists; further ones are only counted


class InputError(ValueError):
    """A mistake that the user can correct; the message names the file, the expectation and the remedy."""


def refuse(faults: Sequence[str]) -> None:
    """Raise one error that lists the first ten faults and counts the rest; do nothing if there are none.

    Args:
        faults: one message per fault.

    Raises:
        InputError: there is a fault.
    """
    if not faults:
        return
    more = f"\n... and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
    head = f"{len(faults)} faults:\n" if len(faults) > 1 else ""
    raise InputError(head + "\n".join(faults[:LISTED]) + more)


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name: up to three similar known names, or all of them if none is similar."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else f"Known are: {', '.join(known)}."
