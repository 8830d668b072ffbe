"""Errors that a user can mend: one line that names the file, the expectation and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LISTED = 10  # faults that one message lists before it only counts them


class InputError(ValueError):
    """Something a user can mend; the message names the file, the expectation and the remedy."""


def refuse(faults: Sequence[str]) -> None:
    """Raise all faults as one error, ten of them in full."""
    if not faults:
        return
    more = f"\n... and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
    head = f"{len(faults)} faults:\n" if len(faults) > 1 else ""
    raise InputError(head + "\n".join(faults[:LISTED]) + more)


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name: the near ones, else all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else f"Known are: {', '.join(known)}."
