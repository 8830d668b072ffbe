"""The one gate for images and masks: listing folders, reading every format, writing PNG."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sair.files import InputError, atomic

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


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


def write_png(path: str | Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels, (H, W, 3) or (H, W), as PNG, atomically."""
    if pixels.dtype != np.uint8:
        raise TypeError(f"write_png needs uint8 pixels, got {pixels.dtype}; round them first")
    with atomic(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def pixel_sha256(pixels: np.ndarray) -> str:
    """SHA-256 of the decoded pixels (shape and uint8 or bool values).

    Of the pixels and not of the file, because two PNG encoders write different bytes for one picture.
    """
    # Pillow stores True as any non-zero byte; as a number it is one.
    pixels = np.ascontiguousarray(pixels.view(np.uint8) != 0 if pixels.dtype == bool else pixels)
    digest = hashlib.sha256(f"{pixels.dtype}{pixels.shape}".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()
