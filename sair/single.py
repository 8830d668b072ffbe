"""Inpaint one picture of any size."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sair.data.samples import to_tensor
from sair.files import InputError
from sair.images import read_mask, read_rgb, write_png
from sair.methods import Inpainter
from sair.prediction import composite, run, to_pixels


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
    """Fill the hole of one picture; at its own size, known pixels keep their bytes.

    Args:
        image: any picture file.
        mask: black-and-white picture of the same size; None where there is no hole and only ``scale`` is wanted.
        output: PNG to write.
        method, spec: a method and its specification.
        hole: colour of the hole in the mask, ``white`` or ``black``.
        size: the shorter side that the method is shown (``inpaint_any_size``).
        scale: side of the output / side of the picture, for implicit methods; then every pixel is the method's.

    Raises:
        InputError: an unreadable file, a mask of another size or without a hole, an output that would not be PNG, or a
            scale for a method that knows only its input's pixels.
    """
    if Path(output).suffix.lower() != ".png":
        raise InputError(
            f"{output}: the output is written as PNG, so that known pixels keep their bytes. Name it .png."
        )
    if scale <= 0:
        raise InputError(f"a scale of {scale:g}: expected a positive number, such as 2.5.")
    if scale != 1 and not _renders_any_size(method):
        raise InputError(f"method {spec['name']} renders only its input's pixels; `--scale` needs an implicit method.")
    if mask is None and scale == 1:
        raise InputError("nothing to do: name a mask whose hole to fill, or a `--scale` other than 1.")
    pixels = read_rgb(image)
    holes = np.zeros(pixels.shape[:2], dtype=bool) if mask is None else read_mask(mask, hole)
    if pixels.shape[:2] != holes.shape:
        raise InputError(
            f"{mask}: {holes.shape[1]}x{holes.shape[0]} pixels, but {image} has {pixels.shape[1]}x{pixels.shape[0]}. "
            "Resize the mask to the picture with nearest neighbour."
        )
    if mask is not None and not holes.any():
        raise InputError(f"{mask}: no pixel is a hole with `--hole {hole}`. Check the polarity.")
    # Without a hole there is no structure to guess at a known scale: the picture is shown as it is.
    filled = inpaint_any_size(method, spec, pixels, holes, None if mask is None else size, scale)
    write_png(output, filled if scale != 1 else composite(pixels, filled, holes))


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
    """Render a whole picture with its hole filled.

    A network knows structures of the scale that it was trained on. So a larger picture is shown to it reduced to
    about that scale. An implicit method then renders the full size from there; another's answer is enlarged.

    Args:
        method, spec: a method and its specification.
        pixels: uint8 (H, W, 3).
        holes: bool (H, W), True = hole.
        size: the shorter side that the method is shown, in pixels; None, or a smaller picture, is shown as it is.
        scale: side of the output / side of the picture; other than 1 for implicit methods only.

    Returns:
        uint8 (round(scale * H), round(scale * W), 3)
    """
    full = pixels.shape[:2]
    wanted = tuple(max(1, round(scale * side)) for side in full)
    image, mask = to_tensor(pixels)[None], torch.from_numpy(holes).float()[None, None]
    if size is not None and size < min(full):
        image, mask = _reduce(image, mask, tuple(max(1, round(side * size / min(full))) for side in full))
    elif scale == 1:
        return to_pixels(run(method, image, mask, spec)[0])
    if _renders_any_size(method):
        return to_pixels(method.inpaint(image * (1 - mask), mask, size=wanted)[0])
    answer = run(method, image, mask, spec)
    return to_pixels(F.interpolate(answer, wanted, mode="bicubic", align_corners=False)[0])


def _reduce(image: Tensor, mask: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average the known pixels down; a reduced pixel that touches the hole at all is hole."""
    known = F.interpolate(1 - mask, shape, mode="area")
    small = F.interpolate(image * (1 - mask), shape, mode="area") / known.clamp_min(1e-6)
    hole = (known < 1 - 1e-6).float()
    return (small * (1 - hole)).clamp(0, 1), hole
