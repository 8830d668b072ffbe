"""Convert between the kinds of images that a notebook has (NumPy, Pillow, torch, files) and the tensors of a method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sair.common.errors import InputError
from sair.common.images import read_mask, read_rgb
from sair.data.samples import to_pixels, to_tensor

ImageLike = np.ndarray | Image.Image | Tensor | str | Path


def composite(image: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return the known pixels of ``image`` and the hole pixels of ``prediction``.

    It works on 8 bits, because conversion to float and back would change known pixels.

    Args:
        image, prediction: uint8 (H, W, 3).
        hole: bool (H, W), True = hole.
    """
    return np.where(hole[..., None], prediction, image)


class Filled(np.ndarray):
    """An array with the whole prediction, of the same shape, in its attribute ``raw``."""

    raw: np.ndarray | None = None


class Batch(NamedTuple):
    """Images as tensors, with the function that converts predictions back to the images' kind.

    images: float32 (B, 3, H, W) in [0, 1].
    back: takes predictions (B, 3, H, W) and masks (B, 1, H, W); returns the composited images in the original kind.
    """

    images: Tensor
    back: Callable[[Tensor, Tensor], Any]


def read_images(image: ImageLike) -> Batch:
    """Convert an image, or a batch of tensors, to float tensors.

    Raises:
        InputError: a type, shape or range that is not one of those in ``Method.inpaint``.
    """
    if isinstance(image, str | Path):
        image = Image.fromarray(read_rgb(image))
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, Tensor):
        return _of_tensor(image)
    raise InputError(
        f"an image of the type {type(image).__name__}: expected a NumPy array, a Pillow image, a torch tensor or a "
        "path."
    )


def read_one(image: ImageLike, name: str) -> np.ndarray:
    """Return one image as uint8 (H, W, 3).

    Args:
        image: of any kind.
        name: what the image is, for errors.

    Raises:
        InputError: several images, or same as in ``read_images``.
    """
    images = read_images(image).images
    if len(images) != 1:
        raise InputError(f"{name}: {len(images)} images; score them one by one, or two folders.")
    return to_pixels(images[0])


def read_masks(mask: ImageLike, hole: str) -> Tensor:
    """Return a mask, or a batch of them, as float32 (B, 1, H, W), 1 = hole.

    Args:
        mask: of any kind; its larger value is the hole.
        hole: for a path, what marks the hole in the file (``sair.common.images.read_mask``).

    Raises:
        InputError: another type, more than one channel, or other values than 0 and 1, or 0 and 255.
    """
    if isinstance(mask, str | Path):
        mask = read_mask(mask, hole)
    if isinstance(mask, Image.Image):
        if mask.mode not in ("1", "L"):
            raise InputError(f"a mask as a Pillow image of the mode {mask.mode}: expected 1 or L.")
        mask = np.array(mask)
    if isinstance(mask, np.ndarray):
        mask = torch.from_numpy(np.ascontiguousarray(mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask))
    if not isinstance(mask, Tensor):
        raise InputError(
            f"a mask of the type {type(mask).__name__}: expected an array, a Pillow image, a tensor or a path."
        )
    values = torch.unique(mask).tolist()
    if not (set(values) <= {0, 1} or set(values) <= {0, 255}):
        raise InputError(
            f"a mask with values such as {values[:4]}: expected 0 and 1, or 0 and 255. Threshold it first."
        )
    if mask.ndim not in (2, 3, 4) or (mask.ndim > 2 and mask.shape[-3] != 1):
        raise InputError(f"a mask of the shape {tuple(mask.shape)}: expected one channel, (H, W) or (B, 1, H, W).")
    return (mask > 0).float().reshape(-1, 1, *mask.shape[-2:])


def _of_pillow(image: Image.Image) -> Batch:
    if image.mode not in ("RGB", "L"):
        raise InputError(f"a Pillow image of the mode {image.mode}: expected RGB or L. Convert it first.")
    pixels = np.array(image.convert("RGB"))
    return Batch(to_tensor(pixels)[None], lambda raw, masks: Image.fromarray(_composite_bytes(pixels, raw, masks)))


def _of_array(image: np.ndarray) -> Batch:
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"an array of the shape {image.shape}: expected (H, W, 3). Stack a grey image three times.")
    if image.dtype == np.uint8:
        return Batch(to_tensor(image)[None], lambda raw, masks: _composite_bytes(image, raw, masks).view(Filled))
    floats = _in_range(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None], image.dtype)

    def back(raw: Tensor, masks: Tensor) -> np.ndarray:
        return _composite_floats(floats, raw, masks)[0].permute(1, 2, 0).numpy().view(Filled)

    return Batch(floats.float(), back)


def _of_tensor(image: Tensor) -> Batch:
    if image.ndim not in (3, 4) or image.shape[-3] != 3:
        raise InputError(f"a tensor of the shape {tuple(image.shape)}: expected (3, H, W) or (B, 3, H, W).")
    batch = image if image.ndim == 4 else image[None]
    if image.dtype != torch.uint8:
        floats = _in_range(batch, image.dtype)
        return Batch(floats.float(), lambda raw, masks: _composite_floats(floats, raw, masks).view_as(image))

    def back(raw: Tensor, masks: Tensor) -> Tensor:
        return _composite_floats(batch, (raw.clamp(0, 1) * 255).round().byte(), masks).view_as(image)

    return Batch(batch.float() / 255, back)


def _in_range(images: Tensor, kind: Any) -> Tensor:
    if not images.is_floating_point():
        raise InputError(f"an image of {kind}: expected uint8, or floats in [0, 1].")
    if not torch.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        least, most = float(images.min()), float(images.max())
        raise InputError(
            f"an image of {kind} with values from {least:g} to {most:g}: expected floats in [0, 1]. Divide by the "
            "largest value of the format."
        )
    return images


def _composite_bytes(pixels: np.ndarray, raw: Tensor, masks: Tensor) -> np.ndarray:
    return composite(pixels, to_pixels(raw[0]), masks[0, 0].bool().cpu().numpy())


def _composite_floats(images: Tensor, raw: Tensor, masks: Tensor) -> Tensor:
    return torch.where(masks.bool(), raw.to(images), images)
