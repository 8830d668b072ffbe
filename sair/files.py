"""Reading and writing files: strict about what comes in, atomic about what goes out."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


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


def write_png(path: str | Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels, (H, W, 3) or (H, W), as PNG, atomically."""
    if pixels.dtype != np.uint8:
        raise TypeError(f"write_png needs uint8 pixels, got {pixels.dtype}; round them first")
    with atomic(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def _open(path: str | Path) -> Image.Image:
    path = Path(path)
    try:
        with Image.open(path) as image:
            # A camera's rotation flag is applied once, here, so that every later size is the visible one.
            return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Check the path in the config or on the command line.") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable picture ({error}). Expected a complete image file; fetch or export it again."
        ) from None


def read_rgb(path: str | Path) -> np.ndarray:
    """Read a picture as uint8 (H, W, 3).

    Raises:
        InputError: the file is missing, truncated or no picture, or it is transparent.
    """
    image = _open(path)
    if "A" in image.getbands() or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if (alpha < 255).any():
            raise InputError(
                f"{path}: has transparent pixels, whose colour is undefined. Flatten the picture onto a background."
            )
    return np.array(image.convert("RGB"))


def read_mask(path: str | Path, hole: str = "white") -> np.ndarray:
    """Read a binary mask file as bool (H, W), True = hole.

    Args:
        path: a black-and-white picture: two values, 0 and the format's maximum (or 0 and 1).
        hole: which of the two marks the hole, ``white`` or ``black``; it is declared, never guessed.

    Raises:
        InputError: unreadable, coloured or grey values between black and white.
    """
    if hole not in ("white", "black"):
        raise InputError(f"mask polarity {hole!r}: expected `hole: white` or `hole: black`.")
    pixels = np.asarray(_open(path).convert("RGB"))
    if (pixels != pixels[..., :1]).any():
        raise InputError(f"{path}: a mask must be black and white, this one has colours. Check that it is a mask.")
    grey = pixels[..., 0]
    values = np.unique(grey)
    if not (np.isin(values, (0, 255)).all() or np.isin(values, (0, 1)).all()):
        between = np.count_nonzero((grey > 0) & (grey < 255)) / grey.size
        raise InputError(
            f"{path}: a mask holds 0 and 255 only, but {between:.1%} of its pixels are grey (for example "
            f"{values[(values > 0) & (values < 255)][0]}). It was probably resized smoothly or saved as JPEG; "
            "threshold it at 127, save as PNG and resize with nearest neighbour only."
        )
    return (grey > 0) if hole == "white" else (grey == 0)


def read_pixels(path: str | Path) -> np.ndarray:
    """Read one of the project's own PNGs as it is, uint8; whoever reads it compares its hash.

    Raises:
        InputError: missing or unreadable.
    """
    return np.array(_open(path))


def list_images(folder: str | Path) -> list[Path]:
    """All pictures below ``folder``, sorted by path with numbers by their value: 2.jpg comes before 10.jpg.

    Raises:
        InputError: the folder is missing or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Check the path in the config.")
    found = [p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise InputError(f"{folder}: no pictures in it (looked for {', '.join(sorted(IMAGE_SUFFIXES))}).")
    return sorted(found, key=_by_number)


def _by_number(path: Path) -> tuple[list[list[str | int]], Path]:
    # Every odd piece is a number, so pieces compare with their like. The path itself decides between 1.png and 01.png.
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(piece) if k % 2 else piece for k, piece in enumerate(part)] for part in pieces], path


def pixel_sha256(pixels: np.ndarray) -> str:
    """SHA-256 of the decoded pixels (shape and uint8 or bool values).

    Of the pixels and not of the file, because two PNG encoders write different bytes for one picture.
    """
    # Pillow stores True as any non-zero byte; as a number it is one.
    pixels = np.ascontiguousarray(pixels.view(np.uint8) != 0 if pixels.dtype == bool else pixels)
    digest = hashlib.sha256(f"{pixels.dtype}{pixels.shape}".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


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
