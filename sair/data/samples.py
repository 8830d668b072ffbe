"""Serve training and validation samples: frozen images with frozen masks.

Sample k of a training run is a pure function of (seed, k): its image, whether it is mirrored, and its mask with one of
the eight symmetries of the square. So resuming a run needs no data-loader state, and any number of workers gives the
same samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from sair.data.manifest import IMAGE_COLUMNS, MASK_COLUMNS, checked_labels, checked_mask, checked_rgb, read_table
from sair.data.seeds import mix


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """Convert uint8 (H, W, 3) to a float tensor (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255


def to_pixels(image: torch.Tensor) -> np.ndarray:
    """Convert (3, H, W) in [0, 1] to uint8 (H, W, 3), rounded to nearest, not truncated."""
    return (image.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


class Samples(Dataset):
    """A dataset of the images of one split with masks.

    Args:
        images: path of images.csv.
        masks: path of training_masks.csv.
        split: ``train`` or ``validation``.
        seed: decides order, mirroring and masks. The validation split is never mirrored, and sample k is image k
            under mask k.
    """

    def __init__(self, images: str | Path, masks: str | Path, split: str, seed: int) -> None:
        self.folder = Path(images).parent
        table = read_table(images, IMAGE_COLUMNS)
        # Keep plain rows: a look-up in a data frame costs as much as decoding a small image.
        self.images = list(table[table.split == split].itertuples(index=False))
        self.masks = list(read_table(masks, MASK_COLUMNS).itertuples(index=False))
        self.split, self.seed = split, seed
        self._order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        """Return the number of images in the split; k of a training run may exceed it."""
        return len(self.images)

    @property
    def image_size(self) -> int:
        """Return the side of the images in pixels."""
        return self[0]["images"].shape[-1]

    def __getitem__(self, k: int) -> dict[str, Any]:
        """Return sample k >= 0.

        Returns:
            ``id``; ``images`` float (3, H, W) in [0, 1]; ``masks`` float (1, H, W), 1 = hole; and if the dataset has
            labels, ``labels`` uint8 (H, W) and ``captions``.
        """
        training = self.split == "train"
        rng = np.random.Generator(np.random.PCG64(mix("sample", self.seed, self.split, k)))
        row = self.images[self._image(k) if training else k]
        mirrored = training and rng.random() < 0.5
        mask = self._mask(int(rng.integers(len(self.masks))) if training else k % len(self.masks))
        if training:
            mask = np.rot90(mask, int(rng.integers(4)))
            mask = mask[:, ::-1] if rng.random() < 0.5 else mask
        image = checked_rgb(self.folder / row.image, row.sha256)
        sample = {
            "id": row.id,
            "images": to_tensor(image[:, ::-1] if mirrored else image),
            "masks": torch.from_numpy(np.ascontiguousarray(mask)).float()[None],
        }
        if row.labels:
            labels = checked_labels(self.folder / row.labels, row.labels_sha256)
            sample["labels"] = torch.from_numpy(np.ascontiguousarray(labels[:, ::-1] if mirrored else labels))
            sample["captions"] = row.caption
        return sample

    def _image(self, k: int) -> int:
        epoch, place = divmod(k, len(self.images))
        if self._order is None or self._order[0] != epoch:
            rng = np.random.Generator(np.random.PCG64(mix("epoch", self.seed, epoch)))
            self._order = epoch, rng.permutation(len(self.images))
        return int(self._order[1][place])

    def _mask(self, number: int) -> np.ndarray:
        row = self.masks[number]
        return checked_mask(self.folder / row.mask, row.sha256)
