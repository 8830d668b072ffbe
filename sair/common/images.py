"""Read images, masks and label maps of every supported format, and write PNG.

Pillow's ``convert`` clips 16-bit greys to white, keeps only the high byte of 16-bit colours and drops transparency, all
silently. So only this module converts modes: it takes the values as the file stores them and scales them to 8 bits by
the range of the format, or refuses the file by name.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLESPERPIXEL,
    TiffImageFile,
)

from sair.common.errors import InputError
from sair.common.files import atomic
from sair.common.progress import warn

# Formats that every Pillow decodes exactly. Others are refused: Pillow reads sixty, and one of them starts a program.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM")
HOLES = {"white": "black", "black": "white", "transparent": "opaque", "opaque": "transparent"}  # each with its opposite
MOST_PIXELS = 2**28
MEGAPIXELS = MOST_PIXELS // 10**6
VALUES = {"1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}  # modes read unconverted
FULL = 2**16 - 1  # the largest value of a 16-bit channel
PNG_LEVEL = 1  # of zlib, for PNG; Pillow's default, 6, takes 2 to 3 times as long for files 0 to 25 % smaller
GREY_STEPS = {"L;2": 85, "L;4": 17}  # Pillow scales greys of 2 and 4 bits to 0..255

# Pillow warns above 89 megapixels and refuses 179, which scans and panoramas exceed. Raise the limit, but keep it.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS


class _Decoded(NamedTuple):
    """An image as its file stores it."""

    path: Path
    mode: str  # as Pillow names it
    colours: np.ndarray  # (H, W) or (H, W, 3)
    alpha: np.ndarray | None  # (H, W), 0 = transparent, ``top`` = opaque; None without transparency
    top: int | None  # the value of white; None where the format has no range
    unnamed: bool  # there is a further channel that the file does not declare as alpha


def read_rgb(path: str | Path) -> np.ndarray:
    """Read an image as uint8 (H, W, 3). Channels of more than 8 bits are scaled by their format's range and rounded.

    Raises:
        InputError: the file is missing, truncated, not an image, larger than ``MOST_PIXELS`` or transparent; or its
            values are floats or 32-bit integers, whose range is unknown.
    """
    found = _decode(path)
    if found.top is None:
        raise InputError(
            f"{found.path}: {_kind(found.mode)}, whose values for black and white are unknown. Expected 8 or 16 bits "
            "per channel; scale the values to 0..255, round them and save the image as 8-bit PNG."
        )
    if found.alpha is not None and (found.alpha != found.top).any():
        raise InputError(
            f"{found.path}: has transparent pixels, whose colour is undefined. Flatten the image onto a background."
        )
    pixels = found.colours
    if found.top == FULL and 0 < pixels.max() < 2**12:
        warn(
            f"{found.path.parent}: some 16-bit images there have no value above 4095 of 65535, so they are read as "
            "almost black, as their format defines. If their white is 255 or 4095, scale them first."
        )
    if found.top != 255:
        pixels = (pixels.astype(np.uint32) * 255 + found.top // 2) // found.top
    pixels = pixels.astype(np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def read_mask(path: str | Path, hole: str = "white") -> np.ndarray:
    """Read a binary mask file as bool (H, W), True = hole.

    Args:
        path: an image of two values: 0 and the largest value of its format, 0 and 1, or 0 and 255 (also in a file of
            more bits, because masks are often widened without scaling, and two values are unambiguous); or an image
            of a single colour whose pixels are either opaque or transparent.
        hole: what marks the hole: ``white`` or ``black``, or ``transparent`` or ``opaque`` if the alpha channel
            contains the mask. It is declared by the user, never guessed.

    Raises:
        InputError: the file is unreadable, has colours or values between black and white, or has transparency although
            ``hole`` is a colour.
    """
    if hole not in HOLES:
        raise InputError(f"mask polarity {hole!r}: expected one of {', '.join(f'`hole: {name}`' for name in HOLES)}.")
    found = _decode(path)
    if found.unnamed:
        raise InputError(
            f"{found.path}: has a channel beside its colours whose meaning the file does not declare; it may be the "
            "mask. Save the mask as black-and-white PNG."
        )
    if hole in ("transparent", "opaque"):
        return _transparent(found) == (hole == "transparent")
    if found.alpha is not None and (found.alpha != found.top).any():
        raise InputError(
            f"{found.path}: has transparent pixels, but `hole: {hole}` declares a colour. If the alpha channel is the "
            "mask, declare `--hole transparent` or, if the hole is what is painted, `--hole opaque` (`hole: "
            "transparent` or `hole: opaque` in a config); else save it as black and white without transparency."
        )
    grey = _grey(found)
    if not any(np.isin(grey, (0, top)).all() for top in (1, 255, found.top or FULL)):
        raise InputError(_not_binary(found, grey))
    return (grey > 0) if hole == "white" else (grey == 0)


def _transparent(found: _Decoded) -> np.ndarray:
    """Return where a mask is transparent, bool (H, W); refuse it if the alpha channel may not be the mask."""
    declared = f"{found.path}: `hole: transparent` and `hole: opaque` mean that the alpha channel is the mask, but"
    if found.alpha is None or len(values := np.unique(found.alpha)) == 1:
        raise InputError(
            f"{declared} all pixels are equally transparent. Declare the colour of the hole, `hole: "
            "white` or `hole: black`."
        )
    if not np.isin(values, (0, found.top or FULL)).all():
        raise InputError(
            f"{declared} some pixels are half transparent (alpha {values[(values > 0) & (values < found.top)][0]} of "
            f"{found.top}). Make each pixel fully opaque or fully transparent."
        )
    clear = found.alpha == 0
    painted = found.colours[~clear]  # programs leave any colour under fully transparent pixels
    if (painted != painted[0]).any():
        raise InputError(
            f"{declared} the opaque pixels have several colours, which may be another mask. Save the intended mask "
            "as black and white without transparency."
        )
    return clear


def _grey(found: _Decoded) -> np.ndarray:
    if found.colours.ndim == 2:
        return found.colours
    grey = found.colours[..., 0]
    if (found.colours != grey[..., None]).any():
        raise InputError(
            f"{found.path}: a mask must be black and white, but this image has colours. Check that it is a mask."
        )
    return grey


def _not_binary(found: _Decoded, grey: np.ndarray) -> str:
    top = found.top or FULL
    between = grey[~np.isin(grey, (0, top))]
    return (
        f"{found.path}: a mask may contain 0 and {top} only, but {between.size / grey.size:.1%} of its pixels are grey "
        f"(for example {between[0]:g}). It was probably resized smoothly or saved as JPEG; threshold it at {top // 2}, "
        "save it as PNG and resize it with nearest neighbour only."
    )


def read_labels(path: str | Path) -> np.ndarray:
    """Read a label map as int32 (H, W): the ids as the file stores them, for a palette image its indices.

    Raises:
        InputError: the file is unreadable, or its values are not ids: colours, transparency, floats, JPEG.
    """
    path = Path(path).expanduser()
    with _opened(path) as image:
        mode, rawmode = image.mode, _rawmode(image)
        if mode not in ("1", "L", "P", "I") and not mode.startswith("I;16"):
            raise InputError(
                f"{path}: {_kind(mode)}, but a label map has one channel, whose values are class ids. Save it as 8-bit "
                "or 16-bit grey PNG."
            )
        if _zero_is_white(image):
            raise InputError(f"{path}: a TIFF whose 0 is white, so its ids are ambiguous. Save the label map as PNG.")
        if changed := _changes_values(image):
            raise InputError(f"{path}: {changed}, so its values may not be the ids. Save the label map as PNG.")
        ids = np.asarray(ImageOps.exif_transpose(image)).astype(np.int32)
    return ids // GREY_STEPS.get(rawmode, 1)


def read_pixels(path: str | Path) -> np.ndarray:
    """Read a PNG that this project wrote, uint8, without conversion; the caller compares its hash.

    Raises:
        InputError: the file is missing or unreadable.
    """
    with _opened(Path(path)) as image:
        return np.array(image)


def stored_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) from the file's header, before a camera's rotation flag is applied.

    Raises:
        InputError: the file is missing, not an image, or larger than ``MOST_PIXELS``.
    """
    with _opened(Path(path).expanduser()) as image:
        return image.height, image.width


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Open an image file; turn every failure while it is open into an InputError that names the file."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Check the path in the config or on the command line.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(
            f"{path}: more than {MEGAPIXELS} megapixels, the limit for one image. Reduce it or cut it into parts."
        ) from None
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory. Reduce it or cut it into parts.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(
            f"{path}: not a readable image ({error}). Expected a complete image file; fetch or export it again."
        ) from None


def _decode(path: str | Path) -> _Decoded:
    path = Path(path).expanduser()
    with _opened(path) as image:
        mode, rawmode, key = image.mode, _rawmode(image), image.info.get("transparency")
        top, invert, unnamed = _top(image), _zero_is_white(image), _unnamed(image) or _fourth_byte(path, image)
        if mode not in VALUES:  # palettes, and colour spaces of 8 bits: CMYK, YCbCr, premultiplied alpha
            has_alpha = key is not None or mode in ("PA", "La", "RGBa")
            values, key = _turned(image, "RGBA" if has_alpha else "RGB"), None
        elif _tag(image, PLANAR_CONFIGURATION, 1) == 2 and _bits(image) > 8 and len(image.getbands()) > 1:
            raise InputError(
                f"{path}: a TIFF with {_bits(image)}-bit colours stored plane by plane, which Pillow may misread. "
                "Save the image as PNG."
            )
        elif top == FULL and mode in ("RGB", "RGBA"):
            values = _both_bytes(path, rawmode)
        else:
            values = _turned(image)
    if mode == "1":
        values = values.astype(np.uint8) * 255
    if invert and top not in (None, 255):
        values = top - values
    colours, alpha = values, None
    if values.ndim == 3 and values.shape[2] in (2, 4):
        colours, alpha = values[..., :-1], values[..., -1]
        colours = colours[..., 0] if colours.shape[2] == 1 else colours
    elif key is not None:
        # One grey or colour marks transparent pixels; for greys of few bits it is given before scaling.
        same = colours == np.multiply(key, GREY_STEPS.get(rawmode, 1))
        alpha = np.where(same.all(axis=2) if same.ndim == 3 else same, 0, top or FULL)
    return _Decoded(path, mode, colours, alpha, top, unnamed)


def _turned(image: Image.Image, mode: str | None = None) -> np.ndarray:
    # Apply a camera's rotation flag once, here, so that every later size is the visible one.
    turned = ImageOps.exif_transpose(image)
    return np.array(turned.convert(mode) if mode else turned)


def _both_bytes(path: Path, rawmode: str) -> np.ndarray:
    """Read 16-bit channels, of which Pillow keeps only the high byte, by reading twice with swapped byte order."""
    if rawmode == "LA;16B":  # Pillow has no swapped order here, but RGBA has as many bytes
        pairs = _reread(path, "RGBA").astype(np.uint16)
        return pairs[..., 0::2] * 256 + pairs[..., 1::2]
    channels, _, order = rawmode.partition(";16")
    swapped = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[order]
    channels = channels.replace("a", "A")  # do not divide by alpha: it is only checked to be opaque
    high, low = (_reread(path, f"{channels};16{which}") for which in (order, swapped))
    return high.astype(np.uint16) * 256 + low


def _reread(path: Path, rawmode: str) -> np.ndarray:
    with _opened(path) as image:
        image.tile = [
            tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *(tile.args or ())[1:]))
            for tile in image.tile
        ]
        return _turned(image)


def _rawmode(image: ImageFile.ImageFile) -> str:
    """Return Pillow's name for how the file stores a pixel; empty if its decoder has none."""
    args = image.tile[0].args if image.tile else ""
    args = args if isinstance(args, str) or not args else args[0]
    return args if isinstance(args, str) else ""


def _top(image: ImageFile.ImageFile) -> int | None:
    """Return the value of white; None if the format has no range."""
    if image.mode == "I" and image.format == "PPM":
        return FULL  # Pillow scales every PGM to this range
    if image.mode in ("I", "F"):
        return None
    if _bits(image) == 12:
        return 2**12 - 1
    deep = image.mode.startswith("I;16") or (";16" in _rawmode(image) and image.mode in ("RGB", "RGBA"))
    return FULL if deep else 255


def _bits(image: ImageFile.ImageFile) -> int:
    return _tag(image, BITSPERSAMPLE, (8,))[0]


def _zero_is_white(image: ImageFile.ImageFile) -> bool:
    """Return whether 0 is white in a TIFF; Pillow inverts such greys of 8 bits, but not those of 16."""
    return image.format == "TIFF" and _tag(image, PHOTOMETRIC_INTERPRETATION, 0) == 0


def _unnamed(image: ImageFile.ImageFile) -> bool:
    """Return whether a TIFF has a further channel that it does not declare as alpha; Pillow drops it."""
    channels = len(image.getbands()) - ("X" in _rawmode(image) and image.mode == "LA")
    return image.format == "TIFF" and _tag(image, SAMPLESPERPIXEL, 1) > channels


def _fourth_byte(path: Path, image: ImageFile.ImageFile) -> bool:
    """Return whether the fourth byte of a BMP's pixels varies: some programs store alpha there; Pillow drops it."""
    if image.format not in ("BMP", "DIB") or _rawmode(image) != "BGRX":
        return False
    fourth = _reread(path, "XBGR")[..., 0]
    return bool((fourth != fourth[0, 0]).any())


def _changes_values(image: ImageFile.ImageFile) -> str:
    """Return why the values read may differ from those written; empty if they cannot."""
    if image.format in ("JPEG", "MPO") or _tag(image, COMPRESSION, 1) in (6, 7):
        return "compressed as JPEG, which changes pixels"
    if image.format == "PPM":
        return "a PGM or PBM, which is read inverted or scaled to the range of its format"
    return ""


def _tag(image: ImageFile.ImageFile, tag: int, default: Any) -> Any:
    return image.tag_v2.get(tag, default) if isinstance(image, TiffImageFile) else default


def _kind(mode: str) -> str:
    kinds = {"F": "an image of floats", "I": "an image of 32-bit integers"}
    return kinds.get(mode, f"an image of the mode {mode}")


def write_png(path: str | Path, pixels: np.ndarray, clear: bool = True) -> None:
    """Write uint8 pixels as PNG, atomically.

    Args:
        path: the file to write.
        pixels: uint8 (H, W, 3) or (H, W).
        clear: same as in ``sair.common.files.atomic``.

    Raises:
        TypeError: other values than uint8.
        InputError: the file cannot be written.
    """
    if pixels.dtype != np.uint8:
        raise TypeError(f"write_png needs uint8 pixels, got {pixels.dtype}; round them first")
    with atomic(path, clear) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=PNG_LEVEL)


def pixel_sha256(pixels: np.ndarray) -> str:
    """Return the SHA-256 of decoded pixels: of their type, shape and values.

    The file's bytes are not hashed, because PNG encoders write different bytes for the same image.

    Args:
        pixels: uint8 or bool.
    """
    # Pillow may store True as any non-zero byte; hash it as 1.
    pixels = np.ascontiguousarray(pixels.view(np.uint8) != 0 if pixels.dtype == bool else pixels)
    digest = hashlib.sha256(f"{pixels.dtype}{pixels.shape}".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()
