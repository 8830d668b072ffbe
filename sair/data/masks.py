"""Read or draw mask sets: strokes or families from a seed, or a folder of masks with a declared polarity.

The test has the same number of masks in every bucket: an interval of hole ratios, or a family. No training mask is a
test mask, except of families whose masks are all equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sair.common.errors import InputError
from sair.data.buckets import Bucket, bucket_of, by_family, families_of, folders_of, labels_of
from sair.data.embedded.strokes import draw_strokes
from sair.data.families.objects import ObjectMasks
from sair.data.families.registry import OBJECTS, resolve
from sair.data.mask_files import FolderFamily, MaskFiles
from sair.data.seeds import mix
from sair.data.shrinking import NEAREST, shrink

TRIES = 2000  # masks of the families; when none of so many has a bucket's hole ratio, the mask set is refused


class MaskSet:
    """Masks of one size, split into test and training.

    Args:
        spec: a mask set of the config: ``source`` and its keys (config/README.md).
        size: side of the finished square masks in pixels.
        buckets: the hole-ratio buckets of the test.
        count: test masks per bucket.

    Attributes:
        labels: of the buckets that the test has: those of ``buckets``, or the families of a set that is divided by
            family.

    Raises:
        InputError: a mask is unreadable, has the wrong size or polarity, or a bucket has too few masks.
    """

    def __init__(self, spec: dict[str, Any], size: int, buckets: Sequence[Bucket], count: int) -> None:
        kinds: dict[str, type[_Strokes | _Families | _MaskFolder]]
        kinds = {"strokes": _Strokes, "family": _Families, "folder": _MaskFolder}
        self.labels = labels_of(spec, buckets)
        self._source = kinds[spec["source"]](spec, size, buckets, count)

    @property
    def folders(self) -> dict[str, FolderFamily]:
        """Return the families that are folders of masks, by name; empty for another source."""
        return self._source.folders if isinstance(self._source, _Families) else {}

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of masks of a folder per bucket label; ``""`` is for masks in no bucket."""
        return self._source.counts

    def test(self, label: str) -> Iterator[np.ndarray]:
        """Yield the test masks of a bucket, bool (size, size), True = hole."""
        return self._source.test(label)

    def training(self) -> Iterator[np.ndarray]:
        """Yield the training masks, bool (size, size), True = hole."""
        return self._source.training()


class _Strokes:
    def __init__(self, spec: dict[str, Any], size: int, buckets: Sequence[Bucket], count: int) -> None:
        self.spec, self.size, self.buckets, self.count = spec, size, buckets, count
        self.counts: dict[str, int] = {}  # masks are drawn to fit a bucket, so there is nothing to count

    def _draw(self, bucket: Bucket, split: str, number: int) -> np.ndarray:
        seed = mix("strokes", self.spec.get("seed", 0), split, bucket.label, number)
        return draw_strokes(seed, self.size, self.size, bucket.low, bucket.high)

    def test(self, label: str) -> Iterator[np.ndarray]:
        bucket = next(bucket for bucket in self.buckets if bucket.label == label)
        return (self._draw(bucket, "test", number) for number in range(self.count))

    def training(self) -> Iterator[np.ndarray]:
        # Take the buckets in turn, so that every part of the training masks has all hole ratios.
        for number in range(self.spec["train"]):
            yield self._draw(self.buckets[number % len(self.buckets)], "train", number)


class _Families:
    """Families: published ones, drawn from a seed at their published sizes and resized to the images', and folders."""

    def __init__(self, spec: dict[str, Any], size: int, buckets: Sequence[Bucket], count: int) -> None:
        self.spec, self.size, self.buckets, self.count = spec, size, buckets, count
        self.counts: dict[str, int] = {}
        self.names = families_of(spec)
        self._labels = labels_of(spec, buckets)
        self.folders = {
            name: FolderFamily(name, folder, spec, size, buckets, count) for name, folder in folders_of(spec)
        }
        if spec["train"]:
            self._refuse_shared()
        self._objects = ObjectMasks(spec["labels"], spec.get("ids")) if OBJECTS in self.names else None
        self._by_family = by_family(spec)

    def _refuse_shared(self) -> None:
        """Refuse two folders that share a file, which could be a test mask of one and a training mask of the other."""
        owner: dict[Path, str] = {}
        for name, folder in self.folders.items():
            for path in folder.files:
                if owner.setdefault(path, name) != name:
                    raise InputError(
                        f"{path}: a mask of both {owner[path]!r} and {name!r}, so a test mask could also be a training "
                        "mask. Name folders that share no file, or set `train: 0` of the mask set."
                    )

    def _draw(self, name: str, rng: np.random.Generator) -> np.ndarray:
        if name == OBJECTS:
            assert self._objects is not None
            return self._objects(rng, self.size)
        family = resolve(name, self.size)
        mask = family.draw(rng, family.sides[0] if family.sides else self.size)
        return shrink(mask, self.size, self.spec.get("shrink", NEAREST))

    def _mask(self, label: str, split: str, number: int) -> np.ndarray:
        """Return a mask of a bucket; with hole ratios, families take turns until a mask has the bucket's ratio.

        A folder always has a mask of the ratio or never. It only takes its own turns, and those that no published
        family can take; else nearly all masks would come from folders.
        """
        first = number % len(self.names)
        turns = [label] if self._by_family else [*self.names[first:], *self.names[:first]]
        drawn = [name for name in turns if name not in self.folders]
        if turns[0] in self.folders and (found := self._of_folders(turns[:1], label, split, number)) is not None:
            return found
        rng = np.random.Generator(np.random.PCG64(mix("family", self.spec.get("seed", 0), label, split, number)))
        for attempt in range(TRIES if drawn else 0):
            mask = self._draw(drawn[attempt % len(drawn)], rng)
            hole = int(mask.sum())
            # Shrinking may lose a thin hole, and a mask without any is none.
            if hole and (self._by_family or bucket_of(hole, mask.size, self.buckets) == label):
                return mask
        if (found := self._of_folders(turns, label, split, number)) is not None:
            return found
        if self._by_family:
            raise InputError(
                f"{TRIES} masks of the family {label} were drawn, and none has a hole pixel left at {self.size} "
                "pixels. Raise `image_size`."
            )
        raise InputError(
            f"{TRIES} masks of the families {', '.join(self.names)} were drawn at {self.size} pixels, and none has a "
            f"hole ratio of {label} %. Divide the test by family (`by: family`), or change the families or `buckets`."
        )

    def _of_folders(self, names: Sequence[str], label: str, split: str, number: int) -> np.ndarray | None:
        """Return a mask of the first folder among some families that has one of the bucket; None if none has."""
        turn = number if split == "test" else number // len(self._labels)  # training takes the buckets in turn
        found = (self.folders[name].mask(label, split, turn) for name in names if name in self.folders)
        return next((mask for mask in found if mask is not None), None)

    def test(self, label: str) -> Iterator[np.ndarray]:
        return (self._mask(label, "test", number) for number in range(self.count))

    def training(self) -> Iterator[np.ndarray]:
        for number in range(self.spec["train"]):
            yield self._mask(self._labels[number % len(self._labels)], "train", number)


class _MaskFolder:
    """A folder of masks; a seeded draw selects the test masks."""

    def __init__(self, spec: dict[str, Any], size: int, buckets: Sequence[Bucket], count: int) -> None:
        self.limit = spec["train"]
        self._files = MaskFiles(spec, size, spec.get("shrink", NEAREST), buckets)
        by_bucket = self._files.by_bucket(buckets)
        self.counts = {label: len(paths) for label, paths in by_bucket.items()}
        by_bucket.pop("", None)
        self._chosen = {}
        for label, candidates in by_bucket.items():
            if not candidates:
                counts = ", ".join(f"{name}: {len(paths)}" for name, paths in by_bucket.items())
                raise InputError(
                    f"{spec['path']}: no mask has a hole ratio of {label} % (masks per bucket: {counts}). "
                    "Add masks or change `buckets`."
                )
            rng = np.random.Generator(np.random.PCG64(mix("test masks", spec.get("seed", 0), label)))
            order = rng.permutation(len(candidates))[: spec.get("test")]
            # If there are fewer masks than images, masks are reused; equal hashes in the manifest show where.
            self._chosen[label] = [candidates[order[n % len(order)]] for n in range(count)]
        test = {path for paths in self._chosen.values() for path in paths}
        usable = [path for paths in by_bucket.values() for path in paths]
        self._training = sorted(set(usable) - test)
        if not self._training and self.limit:
            raise InputError(
                f"{spec['path']}: all {len(usable)} masks are needed for the test and none is left for training. "
                "Set `test` of the mask set to use fewer for the test (images then share masks), or add masks."
            )

    def test(self, label: str) -> Iterator[np.ndarray]:
        return (self._files.read(path) for path in self._chosen[label])

    def training(self) -> Iterator[np.ndarray]:
        rng = np.random.Generator(np.random.PCG64(mix("training masks")))
        for number in rng.permutation(len(self._training))[: self.limit]:
            yield self._files.read(self._training[number])
