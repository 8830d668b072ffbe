"""Show progress bars and warnings on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # worker processes show no bars, and start sooner without it
    from tqdm import tqdm


def progress(iterable: Iterable[Any] | None = None, *, desc: str, unit: str, **options: Any) -> tqdm:
    """Return a tqdm bar on stderr that updates often on a terminal and rarely in a log file; none for an empty list.

    Args:
        iterable, desc, unit, options: same as in ``tqdm``.
    """
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 20
    if isinstance(iterable, Sized) and not len(iterable):
        options["disable"] = True
    return tqdm(iterable, desc=desc, unit=unit, mininterval=interval, **options)


@cache
def warn(message: str) -> None:
    """Print a warning on stderr, once per process and message, because a folder may be listed several times."""
    if _collected is None:
        from tqdm import tqdm

        tqdm.write(f"warning: {message}", file=sys.stderr)
    else:
        _collected.append(message)


_collected: list[str] | None = None


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the messages of ``warn`` in a list instead of printing them, for another process to print."""
    global _collected
    found: list[str] = []
    _collected = found
    try:
        yield found
    finally:
        _collected = None
