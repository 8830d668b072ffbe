"""One progress bar for all long work: lively on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(iterable: Iterable[Any] | None = None, *, desc: str, unit: str, **options: Any) -> tqdm:
    """A tqdm bar on stderr; arguments are tqdm's."""
    interval = 0.2 if sys.stderr.isatty() else 20
    return tqdm(iterable, desc=desc, unit=unit, mininterval=interval, **options)
