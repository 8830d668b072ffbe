"""Inpaint one image file of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sair.common.errors import InputError
from sair.common.files import check_output
from sair.common.images import read_mask, read_rgb, write_png
from sair.data.samples import to_pixels, to_tensor
from sair.inference.kinds import composite
from sair.inference.method import Method, check_sizes

MOST_RENDERED = 2**27  # pixels of one output; rendering takes about 40 bytes for each


def inpaint_file(
    image: str | Path,
    mask: str | Path | None,
    output: str | Path,
    method: Method,
    *,
    hole: str = "white",
    size: int | None = None,
    scale: float = 1.0,
) -> None:
    """Fill the hole of one image; at its own size, known pixels are unchanged.

    Args:
        image: any image file.
        mask: black-and-white image of the same size; None if there is no hole and the image is only scaled.
        output: PNG to write.
        method: a method that was loaded.
        hole: what marks the hole in the mask (``sair.common.images.read_mask``).
        size: shorter side of the image that the network gets (``Method.predict_any_size``); None: that of its training.
        scale: side of the output / side of the image, for implicit methods. If it is not 1, every pixel of the output
            is the method's prediction.

    Raises:
        InputError: an unreadable file, a mask of another size or without a hole, an output that would not be PNG, is
            an input or cannot be written, a size or scale that is not positive or is too large, or a scale for a method
            that renders only its input's pixels.
    """
    check_request(output, size, scale)
    check_output(output, *(path for path in (image, mask) if path is not None))
    if scale != 1 and not method.renders_any_size:
        raise InputError(
            f"method {method.spec['name']} renders only its input's pixels; `--scale` needs an implicit method."
        )
    if mask is None and scale == 1:
        raise InputError("nothing to do: name a mask whose hole to fill, or a `--scale` other than 1.")
    pixels = read_rgb(image)
    if scale != 1 and scale * scale * pixels.shape[0] * pixels.shape[1] > MOST_RENDERED:
        raise InputError(
            f"{image}: `--scale {scale:g}` of {pixels.shape[1]}x{pixels.shape[0]} pixels is more than "
            f"{MOST_RENDERED // 10**6} megapixels, the limit for one rendering. Lower the scale, or cut the image."
        )
    holes = np.zeros(pixels.shape[:2], dtype=bool) if mask is None else _read_holes(mask, hole, image, pixels)
    # Without a hole there is nothing to fill at the scale of training, so the image is not reduced.
    shown = None if mask is None else method.image_size if size is None else size
    images, masks = to_tensor(pixels)[None].to(method.device), torch.from_numpy(holes).to(method.device).float()
    prediction = to_pixels(method.predict_any_size(images, masks[None, None], shown, scale)[0])
    write_png(output, prediction if scale != 1 else composite(pixels, prediction, holes))


def _read_holes(mask: str | Path, hole: str, image: str | Path, pixels: np.ndarray) -> np.ndarray:
    holes = read_mask(mask, hole)
    if pixels.shape[:2] != holes.shape:
        raise InputError(
            f"{mask}: {holes.shape[1]}x{holes.shape[0]} pixels, but {image} has {pixels.shape[1]}x{pixels.shape[0]}. "
            "Resize the mask to the image with nearest neighbour."
        )
    if not holes.any():
        raise InputError(f"{mask}: no pixel is a hole with `--hole {hole}`. Check the polarity.")
    return holes


def check_request(output: str | Path, size: int | None, scale: float) -> None:
    """Raise unless the output can be written and the sizes are positive, before any work.

    Raises:
        InputError: one of them is wrong; the message states which, and what is expected.
    """
    if Path(output).suffix.lower() != ".png":
        raise InputError(
            f"{output}: the output is written as PNG, so that known pixels keep their bytes. Name it .png."
        )
    check_sizes(size, scale)
    check_output(output)
