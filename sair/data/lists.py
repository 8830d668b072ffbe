"""Read the lists of a published split: text files with one image name per line."""

from __future__ import annotations

import codecs
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sair.common.errors import LISTED, InputError, refuse
from sair.common.listing import normal


def read_list(path: str | Path, files: Sequence[Path], root: Path) -> list[Path]:
    """Return the files that a list names, in the order of the list.

    A line is a path relative to ``root``, with or without its ending. Lists are written by many tools, so it may also
    be absolute, begin with ``./``, ``~`` or the last folders of ``root`` (``images/1.png``), use backslashes, and have
    spaces around it. Lines that begin with ``#`` and name no file are comments.

    Args:
        path: the list.
        files: the files that it may name.
        root: the folder that contains ``files``.

    Raises:
        InputError: the list is missing, empty or not UTF-8; a line names no file or has further columns; or a file is
            named twice.
    """
    known: dict[str, Path] = {}
    for file in files:
        relative = file.relative_to(root)
        known[normal(relative.as_posix())] = known[normal(relative.with_suffix("").as_posix())] = file
    found: list[Path] = []
    faults: list[str] = []
    for line in _lines(Path(path).expanduser()):
        if (named := _find(line, known, root)) is not None:
            found.append(named)
        elif not line.lstrip().startswith("#"):
            # Only the first faults are printed, and a near name is searched among all files.
            fault = _fault(line.strip(), known, root) if len(faults) < LISTED else line
            faults.append(f"{path}: {fault}")
    refuse(faults)
    if not found:
        raise InputError(f"{path}: names no image. Expected one per line.")
    refuse(
        [
            f"{path}: names {file.relative_to(root)} twice. Remove a line."
            for file, count in Counter(found).items()
            if count > 1
        ]
    )
    return found


def _lines(path: Path) -> list[str]:
    """Return the lines that are not blank; any line ending and a byte-order mark are accepted."""
    try:
        data = path.read_bytes()
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
            raise InputError(f"{path}: is UTF-16 or not text. Save the list as UTF-8.")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path}: not a readable list of images ({error.strerror}). Check the path in the config."
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 ({error}). Save the list as UTF-8.") from None
    return [line for line in re.split(r"\r\n|\n|\r", text) if line.strip()]


def _find(line: str, known: dict[str, Path], root: Path) -> Path | None:
    return next((known[name] for name in _readings(line, root) if name in known), None)


def _readings(line: str, root: Path) -> Iterator[str]:
    """Yield the paths relative to ``root`` that a line may mean, the most literal first."""
    for text in dict.fromkeys((line, line.strip(), line.strip().replace("\\", "/"))):
        yield normal(text)
        path = os.path.normpath(os.path.expanduser(text))
        yield normal(path)
        for folder in dict.fromkeys((os.path.abspath(root), os.path.realpath(root))):
            if os.path.isabs(path):
                yield normal(os.path.relpath(path, folder))
            parts = Path(folder).parts[1:]
            for count in range(1, len(parts) + 1):
                end = "/".join(parts[-count:]) + "/"
                if path.startswith(end):
                    yield normal(path.removeprefix(end))


def _fault(name: str, known: dict[str, Path], root: Path) -> str:
    columns = (name.rsplit(separator, 1)[0] for separator in (None, ",", ";", "|"))
    first = re.split(r"[\s,;|]+", name)[0]
    if any(column != name and _find(column, known, root) for column in (*columns, first)):
        return f"{name!r} is more than a name. Expected one name per line; remove labels and other columns."
    return f"{name} is not below {root}. {_near(name, known, root)}Correct the line."


def _near(name: str, known: dict[str, Path], root: Path) -> str:
    """Return a hint if a file has the same name but for upper and lower case, the ending or leading zeros."""
    alike = {_plain(other): file for other, file in reversed(known.items())}
    file = next((alike[plain] for plain in map(_plain, _readings(name, root)) if plain in alike), None)
    return f"There is {file.relative_to(root)}: case, ending and leading zeros must be the file's. " if file else ""


def _plain(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", os.path.splitext(name)[0].casefold())
