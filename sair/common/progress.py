"""What is shown on stderr: one progress bar for all long work, and warnings."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from typing import Any

from tqdm import tqdm


def progress(iterable: Iterable[Any] | None = None, *, desc: str, unit: str, **options: Any) -> tqdm:
    """Return a tqdm bar on stderr, lively on a terminal, a line now and then in a log file; arguments are tqdm's."""
    interval = 0.2 if sys.stderr.isatty() else 20
    return tqdm(iterable, desc=desc, unit=unit, mininterval=interval, **options)


@cache
def warn(message: str) -> None:
    """Print a warning on stderr, once per process: a folder is listed several times, but told once."""
    tqdm.write(f"warning: {message}", file=sys.stderr)
