"""Divide the pixels that a batch of images needs into chunks, which bound the memory of rendering.

Each chunk has the same number of pixels of every image. Its rows are known on the host, because reading them from the
pixel numbers would make the CPU wait for the device once per chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

ENCODED = 2**20  # pixels of the images that a GPU encodes at once: 16 images of 256 x 256
CHUNK = 2**17  # values that a GPU computes at once: one hidden layer of width 256 takes 128 MiB in float32
CHUNK_ON_CPU = 2**15


@dataclass(frozen=True)
class Chunk:
    """Some pixels of every image of a batch.

    pixels: pixel numbers, row by row, (B, N) int64.
    rows: the first and last row that they can be in.
    four: whether each is the mean of four cells although it lies on a cell's centre.
    """

    pixels: Tensor
    rows: tuple[int, int]
    four: bool = False


def all_pixels(images: Tensor, height: int, width: int, answers: int) -> Iterator[Chunk]:
    """Yield all pixels of an output of (height, width), ``answers`` values of all images at once."""
    step = max(1, answers // len(images))
    for start in range(0, height * width, step):
        stop = min(start + step, height * width)
        pixels = torch.arange(start, stop, device=images.device).expand(len(images), -1)
        yield Chunk(pixels, (start // width, (stop - 1) // width))


def hole_pixels(holes: Tensor, width: int, answers: int) -> Iterator[Chunk]:
    """Yield the pixels of holes (B, H * W) bool; images with smaller holes add known pixels, up to the same number.

    The device is read only twice: for the size of the largest hole, and for the rows of every chunk.
    """
    most = int(holes.sum(1).max())
    if most == 0:
        return
    if len(holes) == 1:
        pixels = holes[0].nonzero()[None, :, 0]
    else:  # the hole's pixels first, then the known ones, both in order
        pixels = (~holes).byte().argsort(dim=1, stable=True)[:, :most]
    parts = pixels.split(max(1, answers // len(holes)), dim=1)
    rows = torch.stack([torch.stack([part.amin(), part.amax()]) for part in parts]) // width
    for part, (first, last) in zip(parts, rows.tolist(), strict=True):
        yield Chunk(part, (first, last))


def last_row_and_column(images: Tensor) -> Iterator[Chunk]:
    """Yield the pixels of the last row and column, for each of which four cells are averaged."""
    height, width = images.shape[-2:]
    column = torch.arange(height, device=images.device) * width + width - 1
    row = torch.arange((height - 1) * width, height * width - 1, device=images.device)
    yield Chunk(torch.cat([column, row]).expand(len(images), -1), (0, height - 1), four=True)
