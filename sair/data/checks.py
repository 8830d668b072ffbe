"""What the sets of a config must be like: what ``sair doctor`` lists, and a run checks before its first image.

They read every mask, but of large image sets the headers and a sample: the rest is seen when the images are finished.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from sair.common.errors import InputError
from sair.common.images import read_mask, read_rgb, stored_size
from sair.common.listing import list_images
from sair.data.buckets import as_buckets
from sair.data.clusters import clusters_of
from sair.data.masks import MaskSet
from sair.data.sources import classes_of, crop_side, label_file, labelled, makers, split_folder

SAMPLES = 24  # images, and ten times as many masks, that are looked at closely, spread evenly over a set


class MissingError(InputError):
    """A folder that is not there, or is empty."""


class Check(NamedTuple):
    """One look at a set, or at a place in it; ``look`` returns what it found, or raises an InputError.

    ``needs`` are the places that must be right before the look makes sense.
    """

    place: str
    look: Callable[[], str]
    needs: tuple[str, ...] = ()


@cache
def known_sets() -> dict[str, dict[str, Any]]:
    """Return facts of published sets by the name that a config's ``known`` gives."""
    return yaml.safe_load(files("sair.data").joinpath("known.yaml").read_text(encoding="utf-8"))


def check_sets(
    dataset: dict[str, Any], masks: dict[str, Any], size: int, buckets: Sequence[tuple[float, float]]
) -> None:
    """Refuse a dataset or its mask set before the first image is finished.

    Raises:
        InputError: the first fault.
    """
    for check in [*dataset_checks(dataset, size), *mask_checks(masks, size, buckets, dataset["test"])]:
        check.look()


# --------------------------------------------------------------------------------------------------------------------
# Image sets


def dataset_checks(spec: dict[str, Any], size: int) -> Iterator[Check]:
    """Yield the checks of a dataset of the config, in order.

    Args:
        spec: the dataset.
        size: side of the finished images in pixels.
    """
    if spec["source"] != "folder":
        yield Check("images", lambda: _embedded(spec, size))
        return
    known = known_sets().get(spec.get("known"), {})
    apart = "test_images" in spec
    needed = spec["train"] + spec["validation"] + (0 if apart else spec["test"])
    folders = [("images", "labels", needed, known.get("images"))]
    if apart:
        folders.append(("test_images", "test_labels", spec["test"], known.get("test_images")))
    for images, labels, least, published in folders:
        yield Check(images, lambda at=spec[images], n=least, of=published: _count(at, n, known, of))
        yield Check(images, lambda at=spec[images]: _opened(list_images(at), size, spec), (images,))
        if labels in spec:
            yield Check(labels, lambda i=images, k=labels: _labels(spec, i, k, known), (images,))
    yield Check("split", lambda: _split(spec), tuple(images for images, *_ in folders))
    if "clusters" in spec:
        yield Check("clusters", lambda: _clusters(spec), ("split",))
    if "labels" in spec and "parts" not in spec:
        yield Check("labels", lambda: _all_labelled(spec), ("split", "labels", "test_labels"))


def _embedded(spec: dict[str, Any], size: int) -> str:
    makers(spec, size)  # refuses more images than there are
    return f"{spec['source']}: embedded, nothing to get"


def _count(folder: str, least: int, known: dict[str, Any], published: int | None) -> str:
    try:
        count = len(list_images(folder))
    except InputError as error:
        raise MissingError(f"{error}{_where(known)}") from None
    if published and count != published:
        raise InputError(f"{folder}: {count} files, but this set has {published}.{_where(known)}")
    if count < least:
        raise InputError(f"{folder}: {count} files, but the config asks for {least}.{_where(known)}")
    return f"{folder}: {count} files, {least} needed"


def _where(known: dict[str, Any]) -> str:
    return f" {known['title']}: {known['where']} (terms: {known['terms']})." if known else ""


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    return list(islice(paths, 0, None, max(1, len(paths) // count)))


def _opened(paths: Sequence[Path], size: int, spec: dict[str, Any]) -> str:
    for path in paths:
        height, width = stored_size(path)
        crop_side(height, width, size, path, spec)
    some = _spread(paths, SAMPLES)
    for path in some:
        read_rgb(path)
    return f"{len(paths)} large enough for {size} pixels, {len(some)} of them opened: readable"


def _labels(spec: dict[str, Any], images: str, labels: str, known: dict[str, Any]) -> str:
    if not Path(spec[labels]).expanduser().is_dir():
        raise MissingError(f"{spec[labels]}: no such folder.{_where(known)}")
    names, seen, some = classes_of(spec), Counter(), _spread(list_images(spec[images]), SAMPLES)
    for path in some:
        seen.update(np.unique(labelled(path, read_rgb(path).shape[:2], spec[images], spec[labels], spec)).tolist())
    found = [name for number, name in enumerate(names) if seen[number]]
    if not found:
        raise InputError(f"{spec[labels]}: none of the {len(names)} classes is in {len(some)} label maps.")
    return f"{len(some)} opened: {len(found)} of {len(names)} classes seen"


def _split(spec: dict[str, Any]) -> str:
    split = {name: [identifier for identifier, _ in images] for name, images in split_folder(spec).items()}
    return ", ".join(f"{len(ids)} {name} ({ids[0]} to {ids[-1]})" for name, ids in split.items() if ids)


def _clusters(spec: dict[str, Any]) -> str:
    split = split_folder(spec)
    clusters = clusters_of(spec, split)
    count = len({clusters[file] for _, file in split["test"]})
    return f"{len(split['test'])} test images in {count} clusters, none of which is in the training"


def _all_labelled(spec: dict[str, Any]) -> str:
    count, missing = 0, []
    for name, images in split_folder(spec).items():
        part = "test_" if name == "test" and "test_images" in spec else ""
        count += len(images)
        wanted = (label_file(path, spec[f"{part}images"], spec.get(f"{part}labels", "")) for _, path in images)
        missing += [file for file in wanted if f"{part}labels" in spec and not file.is_file()]
    if missing:
        raise InputError(
            f"{missing[0]}: no such file, so {len(missing)} of {count} images have no label map. Name label maps as "
            "their images, .png at the end."
        )
    return f"a label map for each of the {count}"


# --------------------------------------------------------------------------------------------------------------------
# Mask sets


def mask_checks(spec: dict[str, Any], size: int, buckets: Sequence[tuple[float, float]], count: int) -> Iterator[Check]:
    """Yield the checks of a mask set of the config, in order.

    Args:
        spec: the mask set.
        size: side of the finished masks in pixels.
        buckets: hole-ratio intervals in percent.
        count: test images, of which each gets a mask of each bucket.
    """
    if spec["source"] != "folder":
        yield Check("", lambda: f"{spec['source']}: drawn, nothing to get")
        return
    known = known_sets().get(spec.get("known"), {})
    yield Check("", lambda: _count(spec["path"], 1, known, known.get("images")))
    yield Check("", lambda: _ratios(spec, size, buckets, count), ("",))
    if "group" in known:
        yield Check("order", lambda: _in_order(spec, known), ("",))


def _ratios(spec: dict[str, Any], size: int, buckets: Sequence[tuple[float, float]], count: int) -> str:
    counts = MaskSet(spec, size, as_buckets(buckets), count).counts
    shown = ", ".join(f"{label} %: {counts[label]}" for label in counts if label)
    return f"{sum(counts.values())} opened: black and white; holes of {shown}; outside: {counts.get('', 0)}"


def _in_order(spec: dict[str, Any], known: dict[str, Any]) -> str:
    """NVIDIA's masks: a tenth more hole every ``group`` files, and the first half of each group off the border."""
    paths = _spread(list_images(spec["path"]), 10 * SAMPLES)
    group, faults = known["group"], []
    for path in paths:
        mask = read_mask(path, spec["hole"])
        margin = known["margin"] * len(mask) // 512
        tenth, place = divmod(int(path.stem), group) if path.stem.isdecimal() else (-1, 0)
        off = mask[margin:-margin, margin:-margin].sum() == mask.sum()
        if not tenth <= 10 * mask.mean() <= tenth + 1 or off != (place < group // 2):
            faults.append(f"{path.name} ({mask.mean():.0%} hole, {'off' if off else 'at'} the border)")
    if faults:
        raise InputError(
            f"{spec['path']}: {len(faults)} of {len(paths)} masks are not what the published ones of these numbers "
            f"are, such as {', '.join(faults[:3])}. Expected are the published files and names.{_where(known)}"
        )
    return f"{len(paths)} opened: hole ratios and borders as published for their numbers"
