"""Draw masks of the shape of an object: a region of one class in a label map, mirrored at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from sair.common.errors import InputError
from sair.common.images import read_labels
from sair.common.listing import list_images
from sair.data.cropping import square
from sair.data.families.drawing import integer

# Shares of the image, those of LaMa's object masks (``min_mask_area`` and ``max_object_area`` of its SegmentationMask).
SMALLEST, LARGEST = 0.02, 0.3
WHOLE = {"enlarge": True}  # any label map can be drawn from, however small
TRIES = 200  # label maps; when none of so many has a region of these sizes, the folder is refused


class ObjectMasks:
    """Draws regions of label maps: a connected part of one class that covers 2 to 30 % of the central square.

    A hole has the shape of an object of another image as a rule, because the label map is drawn at random.

    Args:
        folder: label maps, searched recursively.
        ids: the ids whose regions count; None for all.

    Raises:
        InputError: there is no such folder, or no image in it.
    """

    def __init__(self, folder: str | Path, ids: list[int] | None = None) -> None:
        self._folder = folder
        self._files = list_images(folder)
        self._ids = None if ids is None else set(ids)

    def __call__(self, rng: np.random.Generator, side: int) -> np.ndarray:
        """Draw one mask, bool (side, side), True = hole.

        Raises:
            InputError: a label map is unreadable, or no region of a fitting size was found.
        """
        for _ in range(TRIES):
            path = self._files[integer(rng, 0, len(self._files))]
            regions = self._regions(square(read_labels(path).astype(np.int32), side, path, WHOLE))
            if regions:
                mask = regions[integer(rng, 0, len(regions))]
                return np.ascontiguousarray(mask[:, ::-1] if rng.random() < 0.5 else mask)
        wanted = "any class" if self._ids is None else f"the ids {sorted(self._ids)}"
        raise InputError(
            f"{self._folder}: {TRIES} label maps were drawn, and none has a connected region of {wanted} that covers "
            f"{SMALLEST:.0%} to {LARGEST:.0%} of its central square. Check `labels` and `ids` of the mask set."
        )

    def _regions(self, labels: np.ndarray) -> list[np.ndarray]:
        """Return the regions that may be drawn, each as a mask, in the order of ids and rows."""
        found = []
        for number in np.unique(labels):
            if self._ids is not None and int(number) not in self._ids:
                continue
            parts, _ = ndimage.label(labels == number)
            sizes = np.bincount(parts.ravel())[1:]
            fits = (sizes >= SMALLEST * labels.size) & (sizes <= LARGEST * labels.size)
            found += [parts == part for part in np.flatnonzero(fits) + 1]
        return found
