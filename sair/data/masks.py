"""Read or draw mask sets: strokes or published families from a seed, or a folder of masks with a declared polarity.

The test has the same number of masks in every bucket: an interval of hole ratios, or a family. No training mask is a
test mask, except of families whose masks are all equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sair.common.errors import InputError
from sair.common.images import HOLES, read_mask
from sair.common.listing import list_images
from sair.common.progress import progress
from sair.data.buckets import Bucket, bucket_of, by_family, families_of, labels_of
from sair.data.embedded.strokes import draw_strokes
from sair.data.families.objects import ObjectMasks
from sair.data.families.registry import OBJECTS, resolve
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
    """Published families, drawn from a seed at their published sizes and resized to the images'."""

    def __init__(self, spec: dict[str, Any], size: int, buckets: Sequence[Bucket], count: int) -> None:
        self.spec, self.size, self.buckets, self.count = spec, size, buckets, count
        self.counts: dict[str, int] = {}
        self.names = families_of(spec)
        self._objects = ObjectMasks(spec["labels"], spec.get("ids")) if OBJECTS in self.names else None
        self._by_family = by_family(spec)

    def _draw(self, name: str, rng: np.random.Generator) -> np.ndarray:
        if name == OBJECTS:
            assert self._objects is not None
            return self._objects(rng, self.size)
        family = resolve(name, self.size)
        mask = family.draw(rng, family.sides[0] if family.sides else self.size)
        return shrink(mask, self.size, self.spec.get("shrink", NEAREST))

    def _mask(self, label: str, split: str, number: int) -> np.ndarray:
        """Return a mask of a bucket; with hole ratios, families take turns until a mask has the bucket's ratio."""
        rng = np.random.Generator(np.random.PCG64(mix("family", self.spec.get("seed", 0), label, split, number)))
        for attempt in range(TRIES):
            mask = self._draw(label if self._by_family else self.names[(number + attempt) % len(self.names)], rng)
            hole = int(mask.sum())
            # Shrinking may lose a thin hole, and a mask without any is none.
            if hole and (self._by_family or bucket_of(hole, mask.size, self.buckets) == label):
                return mask
        if self._by_family:
            raise InputError(
                f"{TRIES} masks of the family {label} were drawn, and none has a hole pixel left at {self.size} "
                "pixels. Raise `image_size`."
            )
        raise InputError(
            f"{TRIES} masks of the families {', '.join(self.names)} were drawn at {self.size} pixels, and none has a "
            f"hole ratio of {label} %. Divide the test by family (`by: family`), or change the families or `buckets`."
        )

    def test(self, label: str) -> Iterator[np.ndarray]:
        return (self._mask(label, "test", number) for number in range(self.count))

    def training(self) -> Iterator[np.ndarray]:
        labels = labels_of(self.spec, self.buckets)
        for number in range(self.spec["train"]):
            yield self._mask(labels[number % len(labels)], "train", number)


class _MaskFolder:
    """A folder of masks; a seeded draw selects the test masks."""

    def __init__(self, spec: dict[str, Any], size: int, buckets: Sequence[Bucket], count: int) -> None:
        self.size, self.hole, self.buckets = size, spec["hole"], buckets
        self.limit = spec["train"]
        # Nearest neighbour by default: a smooth resize makes grey borders, and thresholding them dilates the hole.
        self.rule = spec.get("shrink", NEAREST)
        files = list_images(spec["path"])
        holes = [int(self._read(path).sum()) for path in progress(files, desc="read masks", unit="mask")]
        self._check_polarity(spec["path"], np.array(holes) / size**2)
        by_bucket: dict[str, list[Path]] = {bucket.label: [] for bucket in buckets}
        for path, hole_pixels in zip(files, holes, strict=True):
            by_bucket.setdefault(bucket_of(hole_pixels, size**2, buckets), []).append(path)
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

    def _read(self, path: Path) -> np.ndarray:
        mask = read_mask(path, self.hole)
        height, width = mask.shape
        if height != width or height < self.size:
            raise InputError(
                f"{path}: mask of {width}x{height} pixels; expected a square mask of at least {self.size} pixels, "
                "because the evaluated images are square. Crop the mask, or lower `image_size`."
            )
        return shrink(mask, self.size, self.rule)

    def _check_polarity(self, folder: str, ratios: np.ndarray) -> None:
        top = max(bucket.high for bucket in self.buckets) / 100
        declared, opposite = (ratios < top).mean(), (1 - ratios < top).mean()
        if declared < 0.5 < opposite:
            other = HOLES[self.hole]
            raise InputError(
                f"{folder}: with `hole: {self.hole}` the masks hide {ratios.mean():.0%} of the image on average and "
                f"only {declared:.0%} of them fit any bucket; with `hole: {other}` {opposite:.0%} would. The declared "
                "polarity cannot be right: change `hole`, or the buckets if the holes really are so large."
            )

    def test(self, label: str) -> Iterator[np.ndarray]:
        return (self._read(path) for path in self._chosen[label])

    def training(self) -> Iterator[np.ndarray]:
        rng = np.random.Generator(np.random.PCG64(mix("training masks")))
        for number in rng.permutation(len(self._training))[: self.limit]:
            yield self._read(self._training[number])
