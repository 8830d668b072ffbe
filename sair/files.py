"""Files: errors that a user can mend, atomic writing, hashes."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd


class InputError(ValueError):
    """Something a user can mend; the message names the file, the expectation and the remedy."""


LISTED = 10  # faults that one message lists before it only counts them


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


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` on success, delete it on failure.

    A reader therefore sees the whole file or none. Parent folders are made.

    Raises:
        InputError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}). Free space there, and start again.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left."""
    for left in path.parent.glob(f".{path.name}.*.tmp{path.suffix}"):
        try:
            os.kill(int(left.name.removeprefix(f".{path.name}.").partition(".")[0]), 0)
        except ProcessLookupError:
            left.unlink(missing_ok=True)
        except (ValueError, PermissionError):
            pass


def discard(path: Path) -> None:
    """Remove a file, if it is there, and what killed processes have left of it."""
    path.unlink(missing_ok=True)
    _sweep(path)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically, with newlines as given on every platform."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table atomically; floats keep every digit, so equal numbers are equal bytes."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def tree_sha256(folder: str | Path) -> str:
    """SHA-256 of a folder: of its files' relative paths and their bytes; hidden files do not count."""
    folder = Path(folder)
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
