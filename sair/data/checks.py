"""Check the image sets and mask sets of a config. ``sair doctor`` lists the checks; a run makes them before it starts.

The checks read every mask, but only the headers and a sample of large image sets. Other faults are found when the run
reads each image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from sair.common.errors import InputError
from sair.common.images import read_mask, read_rgb, stored_size
from sair.common.listing import list_images
from sair.data.buckets import as_buckets, folders_of
from sair.data.clusters import clusters_of
from sair.data.cropping import crop_side
from sair.data.masks import MaskSet
from sair.data.paired import check_pairs
from sair.data.sources import classes_of, label_file, labelled, makers, split_folder

SAMPLES = 24  # images that are opened, spread evenly over a set; of masks whose order is checked, ten times as many


class MissingError(InputError):
    """A folder that is missing, empty or without images."""


class Check(NamedTuple):
    """One check of a set.

    Attributes:
        place: the part that is checked, for example ``labels``; empty for the whole set.
        look: runs the check; returns a description of what it found, or raises an ``InputError``.
        needs: places whose checks must pass first.
    """

    place: str
    look: Callable[[], str]
    needs: tuple[str, ...] = ()


@cache
def known_sets() -> dict[str, dict[str, Any]]:
    """Return the facts about published sets (``known.yaml``) by the name that a config uses in ``known``."""
    return yaml.safe_load(files("sair.data").joinpath("known.yaml").read_text(encoding="utf-8"))


def check_sets(
    dataset: dict[str, Any], masks: dict[str, Any], size: int, buckets: Sequence[tuple[float, float]]
) -> None:
    """Check a dataset and its mask set before the first image is written.

    Args:
        dataset: a dataset of the config.
        masks: its mask set.
        size: side of the frozen images in pixels.
        buckets: hole-ratio intervals in percent.

    Raises:
        InputError: a check failed; the first fault is reported.
    """
    for check in [*dataset_checks(dataset, size), *mask_checks(masks, size, buckets, dataset["test"], dataset)]:
        check.look()


# --------------------------------------------------------------------------------------------------------------------
# Image sets


def dataset_checks(spec: dict[str, Any], size: int) -> Iterator[Check]:
    """Yield the checks of a dataset, in order.

    Args:
        spec: a dataset of the config.
        size: side of the frozen images in pixels.
    """
    if spec["source"] != "folder":
        yield Check("images", lambda: _embedded(spec, size))
        return
    known = known_sets().get(spec.get("known", ""), {})
    separate_test = "test_images" in spec
    needed = spec["train"] + spec["validation"] + (0 if separate_test else spec["test"])
    folders = [("images", "labels", needed, known.get("images"))]
    if separate_test:
        folders.append(("test_images", "test_labels", spec["test"], known.get("test_images")))
    for images, labels, least, published in folders:
        yield Check(images, partial(_count, spec[images], least, known, published))
        yield Check(images, partial(_opened, spec[images], size, spec), (images,))
        if labels in spec:
            yield Check(labels, partial(_labels, spec, images, labels, known), (images,))
    yield Check("split", partial(_split, spec), tuple(images for images, *_ in folders))
    if "clusters" in spec:
        yield Check("clusters", lambda: _clusters(spec), ("split",))
    if "labels" in spec and "parts" not in spec:
        yield Check("labels", lambda: _all_labelled(spec), ("split", "labels", "test_labels"))


def _embedded(spec: dict[str, Any], size: int) -> str:
    makers(spec, size)  # refuses more images than exist
    return f"{spec['source']}: embedded, no download needed"


def _count(folder: str, least: int, known: dict[str, Any], published: int | None) -> str:
    try:
        count = len(list_images(folder))
    except InputError as error:
        raise MissingError(f"{error}{_where(known)}") from None
    if published and count != published:
        raise InputError(f"{folder}: {count} files, but this set has {published}.{_where(known)}")
    if count < least:
        raise InputError(f"{folder}: {count} files, but the config needs {least}.{_where(known)}")
    return f"{folder}: {count} files; the config needs {least}"


def _where(known: dict[str, Any]) -> str:
    return f" Get {known['title']} from {known['where']} (terms: {known['terms']})." if known else ""


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    return list(islice(paths, 0, None, max(1, len(paths) // count)))


def _opened(folder: str, size: int, spec: dict[str, Any]) -> str:
    paths = list_images(folder)
    for path in paths:
        height, width = stored_size(path)
        crop_side(height, width, size, path, spec)
    some = _spread(paths, SAMPLES)
    for path in some:
        read_rgb(path)
    return (
        f"all {len(paths)} images are large enough for {size} pixels; {len(some)} of them were opened and are readable"
    )


def _labels(spec: dict[str, Any], images: str, labels: str, known: dict[str, Any]) -> str:
    if not Path(spec[labels]).expanduser().is_dir():
        raise MissingError(f"{spec[labels]}: no such folder.{_where(known)}")
    names, some = classes_of(spec), _spread(list_images(spec[images]), SAMPLES)
    seen: Counter[int] = Counter()
    for path in some:
        seen.update(np.unique(labelled(path, read_rgb(path).shape[:2], spec[images], spec[labels], spec)).tolist())
    found = [name for number, name in enumerate(names) if seen[number]]
    if not found:
        raise InputError(
            f"{spec[labels]}: none of the {len(names)} classes occurs in {len(some)} label maps. Check "
            "`classes` and `first_class` in the config."
        )
    return f"{len(some)} label maps were opened; {len(found)} of {len(names)} classes occur in them"


def _split(spec: dict[str, Any]) -> str:
    split = {name: [identifier for identifier, _ in images] for name, images in split_folder(spec).items()}
    return ", ".join(f"{len(ids)} {name} ({ids[0]} to {ids[-1]})" for name, ids in split.items() if ids)


def _clusters(spec: dict[str, Any]) -> str:
    split = split_folder(spec)
    clusters = clusters_of(spec, split)
    count = len({clusters[file] for _, file in split["test"]})
    return f"{len(split['test'])} test images in {count} clusters; no cluster is also in the training split"


def _all_labelled(spec: dict[str, Any]) -> str:
    count = 0
    missing: list[Path] = []
    for name, images in split_folder(spec).items():
        part = "test_" if name == "test" and "test_images" in spec else ""
        count += len(images)
        expected = (label_file(path, spec[f"{part}images"], spec.get(f"{part}labels", "")) for _, path in images)
        missing += [file for file in expected if f"{part}labels" in spec and not file.is_file()]
    if missing:
        raise InputError(
            f"{missing[0]}: no such file, so {len(missing)} of {count} images have no label map. Give each label "
            "map the name of its image, with the ending .png."
        )
    return f"each of the {count} images has a label map"


# --------------------------------------------------------------------------------------------------------------------
# Mask sets


def mask_checks(
    spec: dict[str, Any],
    size: int,
    buckets: Sequence[tuple[float, float]],
    count: int,
    dataset: dict[str, Any] | None = None,
) -> Iterator[Check]:
    """Yield the checks of a mask set, in order.

    Args:
        spec: a mask set of the config.
        size: side of the frozen masks in pixels.
        buckets: hole-ratio intervals in percent.
        count: number of test images; each gets one mask of each bucket.
        dataset: the dataset whose images masks with ``source: paired`` belong to; None: they are not compared.
    """
    if spec["source"] == "family":
        folders = folders_of(spec)
        for name, folder in folders:
            yield Check(name, partial(_count_masks, folder["path"], {}))
        yield Check("", lambda: _families(spec, size, buckets, count), tuple(name for name, _ in folders))
        return
    if spec["source"] == "paired":
        if dataset is not None:
            yield Check("", lambda: check_pairs(dataset, spec))
        return
    if spec["source"] != "folder":
        yield Check("", lambda: f"{spec['source']}: drawn from a seed, no download needed")
        return
    known = known_sets().get(spec.get("known", ""), {})
    yield Check("", lambda: _count_masks(spec["path"], known))
    yield Check("", lambda: _ratios(spec, size, buckets, count), ("",))
    if "group" in known:
        yield Check("order", lambda: _in_order(spec, known), ("",))


def _families(spec: dict[str, Any], size: int, buckets: Sequence[tuple[float, float]], count: int) -> str:
    masks = MaskSet(spec, size, as_buckets(buckets), count)
    some = min(SAMPLES, count)
    ratios = {label: [100 * mask.mean() for mask in islice(masks.test(label), some)] for label in masks.labels}
    drawn = ", ".join(f"{label} {min(found):.0f} to {max(found):.0f} %" for label, found in ratios.items())
    folders = [
        f"; {name}: {len(folder.files)} masks"
        + f", fewer than {count} in a bucket, so images share masks" * folder.repeats
        for name, folder in masks.folders.items()
    ]
    download = "" if masks.folders else ", no download needed"
    return f"drawn from a seed{download}; hole ratios of {some} masks each: {drawn}{''.join(folders)}"


def _count_masks(folder: str, known: dict[str, Any]) -> str:
    _count(folder, 1, known, known.get("images"))
    return f"{folder}: {len(list_images(folder))} masks"


def _ratios(spec: dict[str, Any], size: int, buckets: Sequence[tuple[float, float]], count: int) -> str:
    counts = MaskSet(spec, size, as_buckets(buckets), count).counts
    shown = ", ".join(f"{label} %: {counts[label]}" for label in counts if label)
    outside = f"; in no bucket: {counts['']}" if counts.get("") else ""
    return f"all {sum(counts.values())} masks are black and white; masks per hole ratio: {shown}{outside}"


def _in_order(spec: dict[str, Any], known: dict[str, Any]) -> str:
    """Check the order of NVIDIA's masks by their holes.

    The hole ratio grows by a tenth from one group of files to the next, and only in the second half of a group do holes
    touch the border.
    """
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
            f"{spec['path']}: {len(faults)} of {len(paths)} masks differ from the published masks of the same number, "
            f"for example {', '.join(faults[:3])}. Expected the published files under their names.{_where(known)}"
        )
    return f"{len(paths)} masks were opened; their hole ratios and borders are as published"
