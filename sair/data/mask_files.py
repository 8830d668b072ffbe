"""Read a folder of masks with a declared polarity, and draw from one that is a family of a mask set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sair.common.errors import InputError
from sair.common.images import HOLES, read_mask
from sair.common.listing import list_images
from sair.common.progress import progress, warn
from sair.data.buckets import Bucket, bucket_of, by_family
from sair.data.seeds import mix
from sair.data.shrinking import NEAREST, shrink


class MaskFiles:
    """The masks of a folder, all of which are read once to count their holes.

    Args:
        spec: ``path`` and ``hole`` of the folder.
        size: side of the finished square masks in pixels.
        rule: how larger masks are shrunk (``sair.data.shrinking``). Nearest neighbour by default: a smooth resize makes
            grey borders, and thresholding them dilates the hole.
        buckets: the hole-ratio buckets of the config.

    Raises:
        InputError: the folder is missing or empty, a mask is unreadable, too small or not square, all masks
            lose their hole when they are shrunk, or the declared polarity cannot be right.
    """

    def __init__(self, spec: Mapping[str, Any], size: int, rule: str, buckets: Sequence[Bucket]) -> None:
        self.path, self.hole, self.size, self.rule = spec["path"], spec["hole"], size, rule
        files = list_images(self.path)
        vanished = 0
        self._holes: dict[Path, int] = {}  # pixels of each hole
        for path in progress(files, desc="read masks", unit="mask"):
            whole = self._whole(path)
            self._holes[path] = int(shrink(whole, size, rule).sum())
            vanished += bool(whole.any()) and not self._holes[path]
        self._tell_vanished(vanished)
        self._check_polarity(np.array(list(self._holes.values())) / size**2, buckets)

    def read(self, path: Path) -> np.ndarray:
        """Return a mask of the folder, bool (size, size), True = hole."""
        return shrink(self._whole(path), self.size, self.rule)

    def _whole(self, path: Path) -> np.ndarray:
        """Return a mask in its file's size, bool (side, side)."""
        mask = read_mask(path, self.hole)
        height, width = mask.shape
        if height != width or height < self.size:
            raise InputError(
                f"{path}: mask of {width}x{height} pixels; expected a square mask of at least {self.size} pixels, "
                "because the evaluated images are square. Crop the mask, or lower `image_size`."
            )
        return mask

    def by_bucket(self, buckets: Sequence[Bucket]) -> dict[str, list[Path]]:
        """Return the masks of every bucket, in the folder's order; those in no bucket have the label ``""``."""
        found: dict[str, list[Path]] = {bucket.label: [] for bucket in buckets}
        for path, hole in self._holes.items():
            found.setdefault(bucket_of(hole, self.size**2, buckets), []).append(path)
        return found

    def _tell_vanished(self, count: int) -> None:
        """Refuse masks that all lose their hole when they are shrunk, and warn of some."""
        if not count:
            return
        message = (
            f"{self.path}: {count} of {len(self._holes)} masks lose their whole hole when they are shrunk to "
            f"{self.size} pixels by `shrink: {self.rule}`. Another rule of `shrink` keeps thin lines (docs/masks.md)."
        )
        if count == len(self._holes):
            raise InputError(message)
        warn(f"{message} They are left out.")

    def _check_polarity(self, ratios: np.ndarray, buckets: Sequence[Bucket]) -> None:
        top = max(bucket.high for bucket in buckets) / 100
        declared, opposite = (ratios < top).mean(), (1 - ratios < top).mean()
        if declared < 0.5 < opposite:
            other = HOLES[self.hole]
            raise InputError(
                f"{self.path}: with `hole: {self.hole}` the masks hide {ratios.mean():.0%} of the image on average and "
                f"only {declared:.0%} of them fit any bucket; with `hole: {other}` {opposite:.0%} would. The declared "
                "polarity cannot be right: change `hole`, or the buckets if the holes really are so large."
            )


class FolderFamily:
    """A folder of masks as a family of a mask set.

    The test takes the first masks of an order that is drawn from the set's seed, and training the others. A bucket is
    a hole ratio, or the family with every mask that has a hole and known pixels.

    Args:
        name: of the family.
        folder: its ``path`` and ``hole``.
        spec: the mask set.
        size: side of the finished square masks in pixels.
        buckets: the hole-ratio buckets of the config.
        count: test masks per bucket. With fewer masks than these, masks are used again.

    Attributes:
        files: the masks that may be drawn.
        repeats: whether a bucket has masks, but fewer than ``count``.

    Raises:
        InputError: same as in ``MaskFiles``; or the folder has no usable mask, or none for training.
    """

    def __init__(
        self,
        name: str,
        folder: Mapping[str, str],
        spec: Mapping[str, Any],
        size: int,
        buckets: Sequence[Bucket],
        count: int,
    ) -> None:
        self._files = MaskFiles(folder, size, spec.get("shrink", NEAREST), buckets)
        whole = Bucket(0, 100)
        groups = self._files.by_bucket([whole] if by_family(spec) else buckets)
        groups.pop("", None)  # the masks of no bucket
        if by_family(spec):
            groups = {name: groups[whole.label]}
        self.files = [path.resolve() for paths in groups.values() for path in paths]
        if not self.files:
            shown = "both a hole and known pixels" if by_family(spec) else f"a hole ratio of {', '.join(groups)} %"
            raise InputError(f"{folder['path']}: no mask has {shown} with `hole: {folder['hole']}`. Check the masks.")
        self._masks: dict[tuple[str, str], list[Path]] = {}
        for label, paths in groups.items():
            rng = np.random.Generator(np.random.PCG64(mix("folder family", spec.get("seed", 0), name, label)))
            order = [paths[number] for number in rng.permutation(len(paths))]
            self._masks["test", label], self._masks["train", label] = order[:count], order[count:]
        self.repeats = any(0 < len(paths) < count for paths in groups.values())
        if spec["train"] and not any(paths for (split, _), paths in self._masks.items() if split == "train"):
            raise InputError(
                f"{folder['path']}: all {len(self.files)} masks are needed for the test and none is left for training. "
                "Add masks, lower `test` of the dataset, or set `train: 0` of the mask set."
            )

    def mask(self, label: str, split: str, number: int) -> np.ndarray | None:
        """Return a mask of a bucket, bool (size, size), True = hole; None if the folder has none for this split.

        Args:
            label: of the bucket.
            split: ``test`` or ``train``.
            number: 0, 1, ...; no mask is repeated before each was returned once.
        """
        paths = self._masks[split, label]
        return self._files.read(paths[number % len(paths)]) if paths else None
