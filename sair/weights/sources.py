"""What is known of every pretrained file, and which of them are on this machine."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sair.common.errors import InputError, near
from sair.common.files import file_sha256

ENVIRONMENT = "SAIR_WEIGHTS"
DEFAULT_FOLDER = "weights"
FOLDER = "folder of weights"
CARDS = Path(__file__).resolve().parents[2] / "baselines"  # data, found as the method files are: nothing is imported
OK, WRONG, UNKNOWN = "ok", "WRONG", "unknown"
ALWAYS = ("alexnet", "lpips", "vgg16")  # whatever a config compares and trains


class File(NamedTuple):
    """One pretrained file; ``known.yaml`` explains the fields. An author's ``name`` may be a pattern, ``g_*.pth``."""

    name: str
    sha256: str | None = None
    bytes: int | None = None
    cache: str | None = None
    package: str | None = None
    inside: str | None = None
    url: str | None = None


class Entry(NamedTuple):
    """What one thing needs, by its name in ``sair weights``.

    Any one of ``files`` is enough, in the folder of weights itself. ``authors``: all of them are needed, in a folder of
    the entry's name; they are in ``archive`` if there is one that can be downloaded.
    """

    name: str
    use: str
    licence: str
    page: str
    files: tuple[File, ...]
    authors: bool = False
    archive: File | None = None
    pretrained: tuple[str, ...] = ()

    @property
    def downloads(self) -> bool:
        """Whether a program can fetch it, from wherever."""
        return self.archive is not None or any(file.url or file.package for file in self.files)


class Found(NamedTuple):
    """A file on this machine: which one, where, and in which source."""

    file: File
    path: Path
    source: str


@cache
def known() -> dict[str, Entry]:
    """Every entry by name: those of ``known.yaml``, then the authors' checkpoints of the baselines' cards."""
    entries = yaml.safe_load(files("sair.weights").joinpath("known.yaml").read_text(encoding="utf-8"))
    found = {name: _entry(name, facts) for name, facts in entries.items()}
    for path in sorted(CARDS.glob("*/card.yaml")):
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, facts in card["weights"].items():
            found[name] = _entry(name, {"licence": card["code"]["licence"], **facts, "authors": True})
    return found


def _entry(name: str, facts: dict[str, Any]) -> Entry:
    archive = File(**facts["archive"]) if "archive" in facts else None
    of = {"files": tuple(File(**file) for file in facts["files"]), "pretrained": tuple(facts.get("pretrained", ()))}
    return Entry(**{**facts, **of, "name": name, "archive": archive})


def entry(name: str) -> Entry:
    """An entry by its name.

    Raises:
        InputError: there is none; the message lists the near ones.
    """
    if name not in known():
        raise InputError(f"no pretrained files are called {name!r}. {near(name, known())}")
    return known()[name]


def name_of(pretrained: str | Path, architecture: object = None) -> str | None:
    """The entry that a config's ``pretrained`` means, by its file's name or by ``<architecture>/<tag>``; or none."""
    for name, facts in known().items():
        if f"{architecture}/{pretrained}" in facts.pretrained:
            return name
        if not facts.authors and Path(pretrained).name in {file.name for file in facts.files}:
            return name
    return None


def needed(encoders: Iterable[dict[str, Any]]) -> list[str]:
    """Entries that a config needs: for scores and losses, and for its semantic encoders' specifications."""
    given = [(of["parameters"].get("pretrained"), of["parameters"].get("architecture")) for of in encoders]
    names = [name_of(*pair) for pair in given if pair[0] and not Path(pair[0]).is_file()]
    return list(dict.fromkeys((*ALWAYS, *(name for name in names if name is not None))))


def weights_folder() -> Path:
    """The folder of weights: the one that ``SAIR_WEIGHTS`` names, else ``weights`` in the working folder.

    Raises:
        InputError: ``SAIR_WEIGHTS`` names no folder.
    """
    named = os.environ.get(ENVIRONMENT)
    if named and not Path(named).is_dir():
        raise InputError(f"{ENVIRONMENT}={named}: no such folder. Correct the variable, make the folder, or unset it.")
    return Path(named or DEFAULT_FOLDER)


def places(facts: Entry, folder: Path | None = None) -> Iterator[tuple[File, Path | None, str]]:
    """Where an entry's files may lie on this machine, the first to be tried first.

    Args:
        facts: the entry.
        folder: look into this folder of weights only; by default ``weights_folder()``, caches and packages.

    Yields:
        The file, its path whether or not it is there (none: no such cache or package), and the source's name.
    """
    home = weights_folder() if folder is None else folder
    if facts.authors:
        for file in facts.files:
            matches = sorted((home / facts.name).rglob(file.name)) or [home / facts.name / file.name]
            yield from ((file, path, FOLDER) for path in matches)
        return
    yield from ((file, home / file.name, FOLDER) for file in facts.files)
    if folder is None:
        yield from ((file, *_cached(file)) for file in facts.files if file.cache)
        yield from ((file, _carried(file), f"package {file.package}") for file in facts.files if file.package)


def _cached(file: File) -> tuple[Path | None, str]:
    """The file's path in its framework's cache, and the cache's name."""
    if file.cache == "torch":
        return _torch_home() / "hub" / "checkpoints" / file.name, "torch hub's cache"
    if file.cache == "clip":
        return Path("~/.cache/clip").expanduser() / file.name, "open_clip's cache"
    from huggingface_hub import try_to_load_from_cache

    repository, _, name = file.cache.removeprefix("hf:").rpartition("/")
    path = try_to_load_from_cache(repository, name)
    return Path(path) if isinstance(path, str) else None, "Hugging Face's cache"


def _torch_home() -> Path:
    """As torch finds it, which is not imported: the workflow asks for files whenever it plans."""
    named = os.environ.get("TORCH_HOME")
    return Path(named or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")).expanduser()


def _carried(file: File) -> Path | None:
    """The file's path inside an installed package, which is not imported: it may need others, and only lies there."""
    package, _, inside = file.inside.partition("/")
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return Path(next(iter(folders))) / inside if folders else None


def local(facts: Entry, folder: Path | None = None) -> list[Found]:
    """The files of an entry that are on this machine, unchecked, the preferred one first; arguments as ``places``."""
    found = (Found(file, path, source) for file, path, source in places(facts, folder) if path is not None)
    return [one for one in found if one.path.is_file()]


def complete(facts: Entry, found: list[Found]) -> bool:
    """Whether these files are enough: all of an author's, or one of the others."""
    return {one.file for one in found} == set(facts.files) if facts.authors else bool(found)


def check(path: Path, sha256: str | None) -> str:
    """SHA-256 of a file, compared with the known one if there is one.

    Raises:
        InputError: they differ.
    """
    digest = file_sha256(path)
    if sha256 is not None and digest != sha256:
        raise InputError(
            f"{path}: wrong content, sha256 {digest}, expected {sha256}. "
            "It is damaged or another version; delete it and fetch or install it again."
        )
    return digest


def how_to_get(facts: Entry) -> str:
    """One line for a user who lacks an entry: the command, or the page that needs a browser; and the terms."""
    way = f"`sair weights fetch {facts.name}`" if facts.downloads else f"by hand, into {facts.name}/ of a folder"
    return f"{way}; from {facts.page} (terms: {facts.licence})"


class FileState(NamedTuple):
    """One file: whether its content is the known one, and what it is."""

    state: str
    path: str
    said: str


def verify_files(folder: Path | None = None) -> Iterator[FileState]:
    """Compare every file that is found with its known SHA-256.

    Args:
        folder: a folder of weights to look into; by default all sources on this machine.

    Raises:
        InputError: no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: no such folder.")
    for facts in known().values():
        for file, path, _ in local(facts, folder):
            try:
                digest = check(path, file.sha256)
            except InputError as error:
                yield FileState(WRONG, str(path), str(error).removeprefix(f"{path}: "))
                continue
            said = f"{facts.name}, sha256 {digest}"
            unjudged = "; nobody has published what it should be, so it cannot be judged"
            yield FileState(OK, str(path), said) if file.sha256 else FileState(UNKNOWN, str(path), said + unjudged)


def overview() -> Iterator[tuple[str, str, str, str, str]]:
    """For a table: name, use, size, licence, and where each entry is or how to get it; nothing is read or checked."""
    for facts in known().values():
        found = local(facts)
        size = next((file.bytes for file in (facts.archive, *facts.files) if file and file.bytes), None)
        if found:
            size = sum(one.path.stat().st_size for one in (found if facts.authors else found[:1]))
        way = f"sair weights fetch {facts.name}" if facts.downloads else f"by hand: {facts.page}"
        where = ", ".join(dict.fromkeys(one.source for one in found)) if complete(facts, found) else way
        yield facts.name, facts.use, f"{size / 1e6:.3g} MB" if size else "unknown", facts.licence, where
