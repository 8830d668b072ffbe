"""List the pretrained files that are known, and find those that are on this machine."""

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
from sair.weights.cards import card_files, read_card

ENVIRONMENT = "SAIR_WEIGHTS"
DEFAULT_FOLDER = "weights"
FOLDER = "folder of weights"
OK, WRONG, UNKNOWN = "ok", "WRONG", "unknown"
ALWAYS = ("alexnet", "lpips", "vgg16")  # needed by every config


class File(NamedTuple):
    """One pretrained file; ``known.yaml`` explains the fields. An authors' file may have a pattern as ``name``."""

    name: str
    sha256: str | None = None
    bytes: int | None = None
    cache: str | None = None
    package: str | None = None
    inside: str | None = None
    url: str | None = None


class Entry(NamedTuple):
    """One entry of ``sair weights list``: a set of pretrained files with their use and licence.

    Attributes:
        name: name in ``sair weights``.
        use: what the files are for.
        licence, page: terms, and the page where the files are published.
        files: alternatives, any of which is enough, in the folder of weights; with ``authors``, all of them are needed,
            in a subfolder with the entry's name.
        authors: whether this is an authors' checkpoint of a baseline.
        archive: a download that contains all ``files``, if there is one.
        pretrained: other values of ``pretrained`` in a config that mean this entry, ``<architecture>/<tag>``.
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
        """Return whether a program can fetch the entry: from a URL or a package."""
        return self.archive is not None or any(file.url or file.package for file in self.files)


class Found(NamedTuple):
    """A file on this machine: which one, its path, and the name of the source."""

    file: File
    path: Path
    source: str


@cache
def known() -> dict[str, Entry]:
    """Return every entry by name: those of ``known.yaml``, then the authors' checkpoints in the baselines' cards."""
    entries = yaml.safe_load(files("sair.weights").joinpath("known.yaml").read_text(encoding="utf-8"))
    found = {name: _entry(name, facts) for name, facts in entries.items()}
    for card in map(read_card, card_files()):
        for name, facts in card["weights"].items():
            found[name] = _entry(name, {"licence": card["code"]["licence"], **facts, "authors": True})
    return found


def _entry(name: str, facts: dict[str, Any]) -> Entry:
    archive = File(**facts["archive"]) if "archive" in facts else None
    of = {"files": tuple(File(**file) for file in facts["files"]), "pretrained": tuple(facts.get("pretrained", ()))}
    return Entry(**{**facts, **of, "name": name, "archive": archive})


def entry(name: str) -> Entry:
    """Return an entry by its name.

    Raises:
        InputError: there is no such entry; the message lists similar names.
    """
    if name not in known():
        raise InputError(f"there are no pretrained files named {name!r}. {near(name, known())}")
    return known()[name]


def name_of(pretrained: str | Path, architecture: object = None) -> str | None:
    """Return the name of the entry that a config's ``pretrained`` refers to.

    Args:
        pretrained: a path whose file name is known, or a tag.
        architecture: what the tag belongs to.

    Returns:
        The name, or None if it refers to no known entry.
    """
    for name, facts in known().items():
        if f"{architecture}/{pretrained}" in facts.pretrained:
            return name
        if not facts.authors and Path(pretrained).name in {file.name for file in facts.files}:
            return name
    return None


def needed(encoders: Iterable[dict[str, Any]], others: Iterable[str] = ()) -> list[str]:
    """Return the names of the entries that a config needs: for scores, losses and semantic encoders.

    Args:
        encoders: specifications of the semantic encoders.
        others: entries that optional metrics need.
    """
    given = [(of["parameters"].get("pretrained"), of["parameters"].get("architecture")) for of in encoders]
    names = [name_of(*pair) for pair in given if pair[0] and not Path(pair[0]).is_file()]
    return list(dict.fromkeys((*ALWAYS, *others, *(name for name in names if name is not None))))


def weights_folder() -> Path:
    """Return the folder of weights: the value of ``SAIR_WEIGHTS``, or ``weights`` in the working folder.

    Raises:
        InputError: ``SAIR_WEIGHTS`` is not a folder.
    """
    named = os.environ.get(ENVIRONMENT)
    if named and not Path(named).is_dir():
        raise InputError(f"{ENVIRONMENT}={named}: no such folder. Correct or unset the variable, or create the folder.")
    return Path(named or DEFAULT_FOLDER)


def places(facts: Entry, folder: Path | None = None) -> Iterator[tuple[File, Path | None, str]]:
    """Yield the places where the files of an entry may be on this machine, in order of preference.

    Args:
        facts: the entry.
        folder: search only this folder of weights; by default ``weights_folder()``, caches and packages.

    Yields:
        (file, path, name of the source). The file need not exist; the path is None if the cache or package is missing.
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
    """Return the path of a file in the cache of its framework, and the name of the cache."""
    assert file.cache is not None
    if file.cache == "torch":
        return _torch_home() / "hub" / "checkpoints" / file.name, "torch hub's cache"
    if file.cache == "clip":
        return Path("~/.cache/clip").expanduser() / file.name, "open_clip's cache"
    from huggingface_hub import try_to_load_from_cache

    repository, _, name = file.cache.removeprefix("hf:").rpartition("/")
    path = try_to_load_from_cache(repository, name)
    return Path(path) if isinstance(path, str) else None, "Hugging Face's cache"


def _torch_home() -> Path:
    """Return torch's home folder without importing torch, because the workflow looks for files whenever it plans."""
    named = os.environ.get("TORCH_HOME")
    return Path(named or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")).expanduser()


def _carried(file: File) -> Path | None:
    """Return the path of a file inside an installed package, without importing it: its dependencies may be missing."""
    assert file.inside is not None
    package, _, inside = file.inside.partition("/")
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return Path(next(iter(folders))) / inside if folders else None


def local(facts: Entry, folder: Path | None = None) -> list[Found]:
    """Return the files of an entry that exist on this machine, unchecked, in order of preference.

    Args:
        facts, folder: same as in ``places``.
    """
    found = (Found(file, path, source) for file, path, source in places(facts, folder) if path is not None)
    return [one for one in found if one.path.is_file()]


def complete(facts: Entry, found: list[Found]) -> bool:
    """Return whether the found files are enough: all of an authors' checkpoint, or one of another entry."""
    return {one.file for one in found} == set(facts.files) if facts.authors else bool(found)


def check(path: Path, sha256: str | None) -> str:
    """Return the SHA-256 of a file, after comparing it with the known one, if that is given.

    Raises:
        InputError: the two differ.
    """
    digest = file_sha256(path)
    if sha256 is not None and digest != sha256:
        raise InputError(
            f"{path}: wrong content, sha256 {digest}, expected {sha256}. "
            "It is damaged or another version; delete it, and fetch or install it again."
        )
    return digest


def how_to_get(facts: Entry) -> str:
    """Return one line on how to get an entry: the command or the download page, and the terms."""
    way = (
        f"`sair weights fetch {facts.name}`"
        if facts.downloads
        else f"download by hand into {facts.name}/ of a folder of weights"
    )
    return f"{way}; from {facts.page} (terms: {facts.licence})"


def where_from(card: str, method: str) -> list[str]:
    """Return how to get a method's weights, one line for each entry of its card.

    Args:
        card: name of the card.
        method: name of the method; of several entries of weights in the card, the one of that name counts.

    Raises:
        InputError: there is no such card.
    """
    names = list(read_card(card)["weights"])
    return [f"{name}: {how_to_get(entry(name))}" for name in ([method] if method in names else names)]


class FileState(NamedTuple):
    """The result for one file: its state (``OK``, ``WRONG`` or ``UNKNOWN``), path and a description."""

    state: str
    path: str
    description: str


def verify_files(folder: Path | None = None) -> Iterator[FileState]:
    """Compare every file that is found with its known SHA-256.

    Args:
        folder: search only this folder of weights; by default all sources on this machine.

    Yields:
        The state of each file.

    Raises:
        InputError: there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Check the path.")
    for facts in known().values():
        for file, path, _ in local(facts, folder):
            try:
                digest = check(path, file.sha256)
            except InputError as error:
                yield FileState(WRONG, str(path), str(error).removeprefix(f"{path}: "))
                continue
            description = f"{facts.name}, sha256 {digest}"
            if file.sha256:
                yield FileState(OK, str(path), description)
            else:
                unknown = "; its publishers give no SHA-256, so it cannot be checked"
                yield FileState(UNKNOWN, str(path), description + unknown)


def overview() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield (name, use, size, licence, where it is or how to get it) for each entry; files are not opened."""
    for facts in known().values():
        found = local(facts)
        size = next((file.bytes for file in (facts.archive, *facts.files) if file and file.bytes), None)
        if found:
            size = sum(one.path.stat().st_size for one in (found if facts.authors else found[:1]))
        way = f"sair weights fetch {facts.name}" if facts.downloads else f"by hand: {facts.page}"
        where = ", ".join(dict.fromkeys(one.source for one in found)) if complete(facts, found) else way
        yield facts.name, facts.use, f"{size / 1e6:.3g} MB" if size else "unknown", facts.licence, where
