"""Write files atomically, hash them, and read YAML mappings."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sair.common.errors import InputError

if TYPE_CHECKING:  # worker processes start in half the time without it
    import pandas as pd

LONGEST_NAME = 255  # bytes of a file name, on every common file system
MOST_VALUES = 100_000  # values of a YAML file; with aliases, a few hundred bytes can expand to billions


@contextmanager
def atomic(path: str | Path, clear: bool = True) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` on success, delete it on failure.

    A reader therefore sees the whole file or none. Parent folders are created.

    Args:
        path: the file to write.
        clear: look for temporary files that killed writers of ``path`` have left, and remove them. The whole folder is
            listed for it, so a caller that writes thousands of files into one folder calls ``clear_folder`` once.

    Raises:
        InputError: the file cannot be written: its path is a folder or a device, or a part of its path is a file; the
            name is too long; the disk is full; or the folder is read-only.
    """
    with _beside(Path(path), clear) as temporary:
        yield temporary
        os.replace(temporary, path)


def check_output(path: str | Path, *inputs: str | Path) -> None:
    """Check that an output file can be written and is not one of the inputs; call this before long work.

    Args:
        path: the output file.
        inputs: files that must not be overwritten.

    Raises:
        InputError: the output is one of ``inputs``, or it cannot be written (same as in ``atomic``).
    """
    for given in inputs:
        if os.path.exists(path) and os.path.exists(given) and os.path.samefile(path, given):
            raise InputError(f"{path}: is an input and would be overwritten. Choose another output.")
    with _beside(Path(path)) as temporary:
        temporary.touch()
        temporary.unlink()


@contextmanager
def _beside(path: Path, clear: bool = True) -> Iterator[Path]:
    """Yield the temporary name for ``path``; on failure, remove that file and turn an OSError into an InputError."""
    temporary, kept = _temporary(path, os.getpid()), False
    try:
        _check_replaceable(path)
        if clear:
            _sweep(path)
        yield temporary
        kept = True
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "Free space there, and start again")
        raise InputError(f"{path}: cannot be written ({error.strerror or error}). {remedy}.") from error
    finally:
        if not kept:
            with suppress(OSError):  # without a temporary file, the error above gives the reason
                temporary.unlink(missing_ok=True)


def _check_replaceable(path: Path) -> None:
    """Create the parent folders; raise an OSError if something else than a regular file has this name."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():  # for many files in one folder, faster than an attempt to create it
            path.parent.mkdir(parents=True, exist_ok=True)
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder has this name")
    if not stat.S_ISREG(mode):  # renaming would replace it; as root even /dev/null
        raise OSError(errno.ENOTSUP, "it is a device or a pipe")


REMEDIES = {
    errno.EISDIR: "Name a file in it",
    errno.ENOTSUP: "Name a regular file",
    errno.ENOTDIR: "A part of its path is a file; name another folder",
    errno.EEXIST: "A part of its path is a file; name another folder",
    errno.ENAMETOOLONG: f"A name has at most {LONGEST_NAME} bytes; shorten it",
    errno.EACCES: "Name a folder that you may write to",
    errno.EPERM: "Name a folder that you may write to",
    errno.EROFS: "Name a folder that you may write to",
}


def _temporary(path: Path, process: int | str) -> Path:
    """Return the temporary name that a process uses to write ``path``; it is short enough if ``path`` is."""
    return path.parent / f".{_stem(path)}.{process}.tmp{path.suffix}"  # with_name refuses "."


def _stem(path: Path) -> str:
    if len(os.fsencode(path.name)) + len(os.fsencode(path.suffix)) + 20 <= LONGEST_NAME:
        return path.name
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]


def _sweep(path: Path) -> None:
    """Remove temporary files of processes that were killed while they wrote ``path``."""
    for left in path.parent.glob(escape(f".{_stem(path)}.") + "*" + escape(f".tmp{path.suffix}")):
        _remove_if_left(left, left.name.removeprefix(f".{_stem(path)}.").partition(".")[0])


def clear_folder(folder: Path) -> None:
    """Remove all temporary files that killed processes have left below a folder, for any output file.

    Use it only for a folder that one machine writes into: processes of other machines look as if they had ended.
    """
    for left in folder.rglob(".*.tmp*"):
        _remove_if_left(left, left.name.rpartition(".tmp")[0].rpartition(".")[2])


def _remove_if_left(temporary: Path, process: str) -> None:
    """Remove a temporary file if the process that wrote it, named by its number, has ended."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        temporary.unlink(missing_ok=True)
    except (ValueError, OverflowError, PermissionError):
        pass


def discard(path: Path) -> None:
    """Remove a file, if it exists, and temporary files of killed processes that wrote it."""
    path.unlink(missing_ok=True)
    _sweep(path)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically; newlines are not translated on any platform."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table atomically; floats keep every digit, so equal numbers are equal bytes."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def tree_sha256(folder: str | Path) -> str:
    """Return one SHA-256 of the relative paths and contents of all files in a folder. Links are followed.

    Hidden files, hidden folders and ``__pycache__`` are ignored.
    """
    folder = Path(folder)
    digest = hashlib.sha256()
    for path in sorted(_tree(folder, ())):
        digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _tree(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    if folder.resolve() in above:  # a link to a folder that contains it
        return
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from _tree(path, (*above, folder.resolve()))
        elif path.is_file():
            yield path


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        InputError: the file is missing, a folder, empty, not YAML or not UTF-8; its top level is not a mapping; a key
            is not text or occurs twice; or its aliases expand to more than ``MOST_VALUES`` values.
    """
    try:
        value = yaml.load(Path(path).read_text(encoding="utf-8-sig"), _Unique)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Check the path.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error}). Save the file as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Expected a YAML file.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML ({reason}). Indent by spaces, and write each key once.") from None
    if value is None:
        raise InputError(f"{path}: is empty. Expected YAML with a `key: value` on each line.")
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds a {type(value).__name__}. Expected YAML with a `key: value` on each line.")
    if sum(1 for _ in islice(_values(value), MOST_VALUES + 1)) > MOST_VALUES:
        raise InputError(
            f"{path}: its aliases expand to more than {MOST_VALUES:,} values, or one contains itself. Write them out."
        )
    return value


def _values(value: Any) -> Iterator[Any]:
    """Yield a value and every value inside it; a YAML alias counts each time it is used."""
    waiting = [value]
    while waiting:
        yield (found := waiting.pop())
        if isinstance(found, dict):
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


class _Unique(yaml.SafeLoader):
    """A YAML loader that refuses a key that occurs twice or is not text; plain YAML accepts both silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is not text: write it in quotes", key.start_mark
                )
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} occurs twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)
