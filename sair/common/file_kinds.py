"""Identify a file of weights by its content, so that an error can name the right remedy."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

SAFETENSORS = "a safetensors file"
PYTORCH = "a PyTorch file"
TORCHSCRIPT = "a TorchScript file"
ARCHIVE = "a zip archive with "  # followed by the name of its first member
TAR = "a tar archive"
COMPRESSED = "a compressed file"
PICKLE = "a pickle of another program than PyTorch"
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # near the start of PyTorch files before version 1.6
_STARTS = {
    "an HDF5 file, as Keras writes": (b"\x89hdf\r\n",),  # in lower case, as the start is compared
    "a web page": (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body"),
    "a Git LFS pointer, not the file that it stands for": (b"version https://git-lfs",),
}
# gzip, bzip2, xz, Zstandard, 7z and RAR
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")
_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n")
_LARGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself


def kind_of(path: str | Path) -> str:
    """Return a short description of a file, judged by its first bytes and not by its name.

    Returns:
        ``SAFETENSORS``, ``PYTORCH``, or for example "a folder", "an empty file", "a web page", "a zip archive with
        model.pth in it", "a file of an unknown kind".
    """
    path = Path(path)
    if not path.is_file():
        return "a folder" if path.is_dir() else "not a regular file" if path.exists() else "no such file"
    try:
        with open(path, "rb") as stream:
            start = stream.read(512)
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    if not start:
        return "an empty file"
    if start.startswith(b"PK"):
        return _kind_of_zip(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < _LARGEST_HEADER:
        return SAFETENSORS
    if start.startswith(_PICKLES):
        return PYTORCH if _MAGIC in start[:32] else PICKLE
    return _kind_by_start(path, start)


def _kind_by_start(path: Path, start: bytes) -> str:
    """Return the kind of a file that contains no weights, or packs them, by its first bytes."""
    if not start.strip(b"\0"):  # tarfile takes it for an archive without members
        return "a file of zeros, such as an interrupted download leaves"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for kind, begins in _STARTS.items():
        if text.startswith(begins):
            return kind
    if _is_tar(path):
        return TAR
    if start.startswith(_COMPRESSED):
        return COMPRESSED
    return "a text file" if _TEXT.issuperset(start) else "a file of an unknown kind"


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):  # also a name that is not UTF-8
        return "an incomplete PyTorch file or zip archive"
    if any(name.endswith("/constants.pkl") for name in names):
        return TORCHSCRIPT
    if any(name.endswith("/data.pkl") for name in names):
        return PYTORCH
    inside = next((name for name in names if not name.endswith("/")), "nothing")
    return f"{ARCHIVE}{inside} in it"


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError):
        return False


def unpacked_size(path: str | Path) -> int:
    """Return the unpacked size in bytes that a zip file declares; readers stop at this size."""
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def largest_unpacked(path: str | Path) -> int:
    """Return the largest unpacked size to accept, in bytes: weights hardly compress, zip bombs do."""
    return 20 * Path(path).stat().st_size + (64 << 20)


def safetensors_metadata(path: str | Path) -> dict[str, Any]:
    """Read the metadata of a safetensors file, even if the end of the file is missing; {} if it is unreadable."""
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length < _LARGEST_HEADER else b""
    try:
        found = json.loads(header)
        return dict(found.get("__metadata__") or {})
    except (ValueError, RecursionError, AttributeError, TypeError):
        return {}
