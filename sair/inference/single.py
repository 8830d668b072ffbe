"""Inpaint one image of any size."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sair.common.errors import InputError
from sair.common.files import check_output
from sair.common.images import read_mask, read_rgb, write_png
from sair.data.samples import to_tensor
from sair.inference.predict import composite, run, to_pixels
from sair.methods.build import Inpainter

MOST_RENDERED = 2**27  # pixels of one output; a rendering takes some 40 bytes for each


def inpaint_file(
    image: str | Path,
    mask: str | Path | None,
    output: str | Path,
    method: Inpainter,
    spec: dict[str, Any],
    *,
    hole: str = "white",
    size: int | None = None,
    scale: float = 1.0,
) -> None:
    """Fill the hole of one image; at its own size, known pixels keep their bytes.

    Args:
        image: any image file.
        mask: black-and-white image of the same size; None where there is no hole and only ``scale`` is wanted.
        output: PNG to write.
        method, spec: a method and its specification.
        hole: what marks the hole in the mask (``sair.common.images.read_mask``).
        size: the shorter side that the method is shown (``inpaint_any_size``).
        scale: side of the output / side of the image, for implicit methods; then every pixel is the method's.

    Raises:
        InputError: an unreadable file, a mask of another size or without a hole, an output that would not be PNG, is
            an input or cannot be written, a size or scale that means nothing or is too large, or a scale for a method
            that renders only its input's pixels.
    """
    check_request(output, size, scale)
    check_output(output, *(path for path in (image, mask) if path is not None))
    if scale != 1 and not _renders_any_size(method):
        raise InputError(f"method {spec['name']} renders only its input's pixels; `--scale` needs an implicit method.")
    if mask is None and scale == 1:
        raise InputError("nothing to do: name a mask whose hole to fill, or a `--scale` other than 1.")
    pixels = read_rgb(image)
    if scale != 1 and scale * scale * pixels.shape[0] * pixels.shape[1] > MOST_RENDERED:
        raise InputError(
            f"{image}: `--scale {scale:g}` of {pixels.shape[1]}x{pixels.shape[0]} pixels is more than "
            f"{MOST_RENDERED // 10**6} megapixels, the limit for one rendering. Lower the scale, or cut the image."
        )
    holes = np.zeros(pixels.shape[:2], dtype=bool) if mask is None else read_mask(mask, hole)
    if pixels.shape[:2] != holes.shape:
        raise InputError(
            f"{mask}: {holes.shape[1]}x{holes.shape[0]} pixels, but {image} has {pixels.shape[1]}x{pixels.shape[0]}. "
            "Resize the mask to the image with nearest neighbour."
        )
    if mask is not None and not holes.any():
        raise InputError(f"{mask}: no pixel is a hole with `--hole {hole}`. Check the polarity.")
    # Without a hole there is no structure to guess at a known scale: the image is shown as it is.
    filled = inpaint_any_size(method, spec, pixels, holes, None if mask is None else size, scale)
    write_png(output, filled if scale != 1 else composite(pixels, filled, holes))


def check_request(output: str | Path, size: int | None, scale: float) -> None:
    """Refuse an output that could not be written and sizes that mean nothing, before any work.

    Raises:
        InputError: which of them, and what is expected.
    """
    if Path(output).suffix.lower() != ".png":
        raise InputError(
            f"{output}: the output is written as PNG, so that known pixels keep their bytes. Name it .png."
        )
    check_sizes(size, scale)
    check_output(output)


def check_sizes(size: int | None, scale: float) -> None:
    """Refuse a size or a scale that means nothing."""
    if size is not None and size < 1:
        raise InputError(f"a size of {size}: expected a positive number of pixels, such as 256.")
    if not 0 < scale < math.inf:
        raise InputError(f"a scale of {scale:g}: expected a positive number, such as 2.5.")


def _renders_any_size(method: Inpainter) -> bool:
    return "size" in inspect.signature(method.inpaint).parameters


def inpaint_any_size(
    method: Inpainter,
    spec: dict[str, Any],
    pixels: np.ndarray,
    holes: np.ndarray,
    size: int | None = None,
    scale: float = 1.0,
) -> np.ndarray:
    """Render a whole image with its hole filled, in 8 bits; it is not composited.

    Args:
        method, spec, size, scale: same as in ``render``.
        pixels: uint8 (H, W, 3).
        holes: bool (H, W), True = hole.

    Returns:
        uint8 (round(scale * H), round(scale * W), 3)
    """
    return to_pixels(
        render(method, spec, to_tensor(pixels)[None], torch.from_numpy(holes).float()[None, None], size, scale)[0]
    )


@torch.no_grad()
def render(
    method: Inpainter, spec: dict[str, Any], images: Tensor, masks: Tensor, size: int | None = None, scale: float = 1.0
) -> Tensor:
    """Render whole images with their holes filled; they are not composited.

    A network knows structures of the scale that it was trained on. So a larger image is shown to it reduced to
    about that scale. An implicit method then renders the full size from there; another's answer is enlarged.

    Args:
        method, spec: a method and its specification.
        images: (B, 3, H, W) in [0, 1].
        masks: (B, 1, H, W), 1 = hole.
        size: the shorter side that the method is shown, in pixels; None, or a smaller image, is shown as it is.
        scale: side of the output / side of the image; other than 1 for implicit methods only.

    Returns:
        (B, 3, round(scale * H), round(scale * W))
    """
    full = images.shape[-2:]
    wanted = tuple(max(1, round(scale * side)) for side in full)
    if size is not None and size < min(full):
        images, masks = _reduce(images, masks, tuple(max(1, round(side * size / min(full))) for side in full))
    elif scale == 1:
        return run(method, images, masks, spec)
    if _renders_any_size(method):
        return method.inpaint(images * (1 - masks), masks, size=wanted)
    return F.interpolate(run(method, images, masks, spec), wanted, mode="bicubic", align_corners=False)


def _reduce(image: Tensor, mask: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average the known pixels down; a reduced pixel that touches the hole at all is hole."""
    known = F.interpolate(1 - mask, shape, mode="area")
    small = F.interpolate(image * (1 - mask), shape, mode="area") / known.clamp_min(1e-6)
    hole = (known < 1 - 1e-6).float()
    return (small * (1 - hole)).clamp(0, 1), hole
