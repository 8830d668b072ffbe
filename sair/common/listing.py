"""List a folder of images, and derive the ids that match images, masks and predictions."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from sair.common.errors import LISTED, InputError, refuse
from sair.common.progress import warn

READ = "PNG, JPEG, BMP, TIFF, WebP, GIF and PPM are read"
IMAGES = re.compile(r"\.(png|jpe?g|jpe|jfif|bmp|dib|tiff?|webp|gif|p[pgbn]m)", re.IGNORECASE)
# Endings of files that are not images. Any other file that is not read is reported, as it may be an image.
OTHERS = re.compile(
    r"\.(txt|md|rst|pdf|csv|tsv|jsonl?|ya?ml|toml|xml|html?|log|db|ini|lst|flist|md5|sha256|py|sh|ipynb|zip|tar|gz"
    r"|safetensors|pth?|ckpt|pkl|npz)",
    re.IGNORECASE,
)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # characters that some reader takes for the end of a line
IGNORED_FOLDERS = frozenset(["__MACOSX", "@eaDir"])  # added by macOS to archives, by Synology to folders


def list_images(folder: str | Path) -> list[Path]:
    """List all images below ``folder``, sorted by path and numbers by value: 2.jpg comes before 10.jpg.

    Hidden files and folders are ignored, linked folders are followed. A warning names files that may be images but
    cannot be read.

    Raises:
        InputError: the folder is missing or contains no image, a link in it is broken, or a file name is not UTF-8 or
            contains a control character.
    """
    images, others = _files(folder)
    shown = some_of([path.name for path in others])
    if not images:
        unread = f"; not read: {shown}" if others else ""
        raise InputError(f"{folder}: no images in it ({READ}{unread}).")
    if others:
        warn(f"{folder}: {len(others)} files are not read and left out: {shown}. If they are images, save them as PNG.")
    return images


def list_output(folder: str | Path) -> list[Path]:
    """List all images below a folder that a program has filled; unlike in ``list_images``, there may be none."""
    return _files(folder)[0]


def images_by_id(folder: str | Path) -> dict[str, Path]:
    """Map ids to the images below ``folder``, in the order of ``list_images``.

    Raises:
        InputError: same as in ``list_images``; or several images have the same id.
    """
    top = Path(folder).expanduser()
    found: dict[str, list[Path]] = defaultdict(list)
    for path in list_images(folder):
        found[image_id(path, folder)].append(path)
    faults = []
    for name, paths in found.items():
        if len(paths) > 1:
            names = " and ".join(str(path.relative_to(top)) for path in paths)
            faults.append(
                f"{folder}: {names} have the same id, {name!r}{_why(paths)}. Expected one image per id; remove or "
                "rename the others."
            )
    refuse(faults)
    return {name: paths[0] for name, paths in found.items()}


def image_id(path: Path, folder: str | Path) -> str:
    """Return the id of an image: its path relative to ``folder``, without ending, in composed characters (NFC)."""
    return normal(path.relative_to(Path(folder).expanduser()).with_suffix("").as_posix())


def normal(name: str) -> str:
    """Return a name in composed characters (NFC): macOS writes é as two characters, other systems as one."""
    return unicodedata.normalize("NFC", name)


def find(path: Path) -> Path:
    """Return an existing file whose path differs at most in how accented characters are encoded; else ``path``."""
    if path.exists() or path == path.parent:
        return path
    folder = find(path.parent)
    others = folder.iterdir() if folder.is_dir() else ()
    return next((other for other in others if normal(other.name) == normal(path.name)), path)


def some_of(names: Iterable[str]) -> str:
    """Return the first ten names, sorted, and the number of further ones, as text."""
    names = sorted(names)
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _why(paths: list[Path]) -> str:
    if len({normal(str(path)) for path in paths}) == len(paths):
        return ""
    return " (their names differ only in how accented characters are written, composed or decomposed)"


def _files(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """Return all images below a folder, sorted, and the files that may be images but cannot be read."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        problem = "is a file, expected a folder" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {problem}. Check the path in the config or on the command line.")
    images, others = [], []
    for path in _walk(folder, ()):
        if IMAGES.fullmatch(path.suffix) and path.is_file():
            images.append(path)
        elif not OTHERS.fullmatch(path.suffix):
            others.append(path)
    undecodable = [path for path in images if any("\udc80" <= letter <= "\udcff" for letter in str(path))]
    refuse([f"{str(path)!r}: the name is not UTF-8, so tables cannot contain it. Rename it." for path in undecodable])
    broken = [path for path in images if CONTROL.search(str(path.relative_to(folder)))]
    refuse([f"{str(path)!r}: its name has a control character, such as a line break. Rename it." for path in broken])
    return sorted(images, key=_by_number), others


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """Yield every file below a folder; a link to a folder above is not followed."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}). Make the folder readable.") from None
    for path in entries:
        if path.name.startswith(".") or path.name in IGNORED_FOLDERS:
            continue
        if path.is_dir():
            yield from _walk(path, (*above, real))
        elif path.exists():
            yield path
        else:
            raise InputError(
                f"{path}: a link to {os.readlink(path)}, which does not exist. Restore it or remove the link."
            )


def _by_number(path: Path) -> tuple[list[list[str | int]], Path]:
    # Every second piece is a number, so numbers are compared with numbers. The path itself orders 1.png and 01.png.
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(piece) if k % 2 else piece for k, piece in enumerate(part)] for part in pieces], path
