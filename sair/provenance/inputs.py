"""Find the files and folders that configs and method files name, and compute digests of their content.

No job makes these inputs. Snakemake compares modification times, and of a folder only the time of the folder itself.
Rules therefore have the digests as a parameter, and a job runs again exactly when one of them changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from sair.common.files import file_sha256, tree_sha256
from sair.weights.sources import entry, local, name_of

NO_PATHS = ("class", "name", "environment")  # keys whose values are names, even if a folder has the same name
CHECKOUT = "git "  # prefix of the digest of a checkout
_DIFF = ("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color")


def named_files(value: Any) -> list[str]:
    """Return the files that a part of a config names, without its folders, which are frozen image and mask sets."""
    return sorted({str(path) for word in _words(value) if (path := _existing(word)) and path.is_file()})


def named_inputs(parameters: Mapping[str, Any]) -> list[str]:
    """Return every file and folder that a method's parameters name, at any depth.

    In a command line, each word and each text after ``=`` may be a path; ``{checkout}`` is the folder in which the
    program runs. That folder itself is returned by ``checkouts`` instead.
    """
    return sorted({str(path) for path in _inputs(parameters, None)})


def checkouts(parameters: Mapping[str, Any]) -> list[str]:
    """Return the folders of foreign code (``checkout: {folder: ...}``) that a method's parameters name."""
    found = [_folder(place) for place in _mappings(parameters)]
    return sorted({str(folder) for folder in found if folder is not None and folder.is_dir()})


def digests(paths: Iterable[str], checkouts: Iterable[str] = ()) -> dict[str, str]:
    """Return digests of the content of files, folders and checkouts: path -> digest.

    Args:
        paths: files, and folders with all their files.
        checkouts: folders of foreign code; only their commit and uncommitted changes count, not files that a run
            leaves there.
    """
    return {path: content(path) for path in paths} | {path: commit_of(path) for path in checkouts}


def content(path: str | Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    return tree_sha256(path) if Path(path).is_dir() else file_sha256(path)


def commit_of(folder: str | Path) -> str:
    """Return the commit of a checkout with a digest of uncommitted changes; without git, the digest of the folder."""
    if not (Path(folder) / ".git").exists():
        return content(folder)
    head, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, *_DIFF)
    changed = f", changed {hashlib.sha256(changes).hexdigest()[:16]}" if changes else ""
    return f"{CHECKOUT}{head.decode().strip()}{changed}"


def _git(folder: str | Path, *words: str) -> bytes:
    """Return the output of git, empty if it fails; the job that runs the program checks its commit."""
    # Inside a git hook these variables point to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # Planning must not start programs that the settings of the checkout name.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *words]
    try:
        return subprocess.run(command, env=environment, capture_output=True).stdout
    except FileNotFoundError:
        return b""


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in NO_PATHS:
                yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for inner in value.values():
            yield from _mappings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _mappings(inner)


def _folder(place: Mapping[str, Any]) -> Path | None:
    """Return the folder of the ``checkout`` that a mapping declares; None if it declares none."""
    given = place.get("checkout")
    folder = given.get("folder") if isinstance(given, Mapping) else None
    return Path(folder).expanduser() if isinstance(folder, str) else None


def _inputs(place: Mapping[str, Any], checkout: Path | None) -> Iterator[Path]:
    """Yield the files and folders that a mapping names, at any depth; programs run in ``checkout``."""
    checkout = _folder(place) or checkout
    for key, value in place.items():
        if key in (*NO_PATHS, "checkout"):
            continue
        if key == "pretrained":
            yield from _unverified(place)
        if key == "command" and isinstance(value, list) and not place.get("environment"):
            yield from _program(value)
        if key == "command" and isinstance(value, list):
            yield from _of_shell(value, checkout)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping):
                yield from _inputs(part, checkout)
            elif isinstance(part, list):
                yield from _inputs({key: part}, checkout)
            elif isinstance(part, str):
                yield from _of_word(part, checkout)


def _program(words: list[Any]) -> Iterator[Path]:
    """Yield the program that a command line starts, if it is found on the PATH."""
    names = (word for word in words if isinstance(word, str) and word != "env" and "=" not in word)
    if found := shutil.which(next(names, "")):
        yield Path(found)


def _of_shell(words: list[Any], checkout: Path | None) -> Iterator[Path]:
    """Yield the files that a shell command (``bash -c``) names, and the module that ``python -m`` runs."""
    texts = [word for word in words if isinstance(word, str)]
    parts = [part for text in texts if " " in text for part in text.replace("'", " ").replace('"', " ").split()]
    modules = [after.replace(".", "/") for row in (texts, parts) for flag, after in pairwise(row) if flag == "-m"]
    for part in (*parts, *(f"{name}{ending}" for name in modules for ending in (".py", "/__main__.py"))):
        yield from (path for path in _of_word(part.strip(";&|()"), checkout) if path.is_file())


def _of_word(word: str, checkout: Path | None) -> Iterator[Path]:
    if checkout is not None:
        word = word.replace("{checkout}", str(checkout.resolve()))
    name, _, value = word.partition("=")
    for text in (word, value):
        path = _existing(text) or (_existing(str(checkout / text)) if checkout is not None and text else None)
        if path is None or (checkout is not None and path.resolve() == checkout.resolve()):
            continue
        # HOME=... and folders that contain the working folder only set where a program runs; they are not inputs.
        place = name.isupper() or Path.cwd().is_relative_to(path.resolve())
        if path.is_file() or not place:
            yield path


def _existing(text: str) -> Path | None:
    if not text or "\0" in text:
        return None
    path = Path(text).expanduser() if text.startswith("~/") else Path(text)
    try:
        return path if path.is_file() or path.is_dir() else None  # not a device, which may have no end
    except OSError:  # a text that is too long for a path
        return None


def _unverified(place: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the local file of a known name in ``pretrained``, unless its SHA-256 is known and checked on reading."""
    given = place["pretrained"]
    name = name_of(given, place.get("architecture")) if isinstance(given, str) and _existing(given) is None else None
    for found in local(entry(name))[:1] if name is not None else []:
        if found.file.sha256 is None:
            yield found.path
