"""Freeze a split: write its images and masks as PNG, and the tables that list them (``sair.data.manifest``)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sair.common.errors import InputError
from sair.common.files import clear_folder, write_csv
from sair.common.images import pixel_sha256, read_rgb, write_png
from sair.common.processes import CHUNK, in_processes
from sair.common.progress import progress, warn
from sair.data.buckets import as_buckets
from sair.data.finish import finish
from sair.data.manifest import IMAGE_COLUMNS, MANIFEST_COLUMNS, MASK_COLUMNS, read_table
from sair.data.masks import MaskSet
from sair.data.paired import PairedMasks
from sair.data.sources import makers, together


def freeze_images(dataset: dict[str, Any], size: int, table: str | Path, processes: int = 1) -> None:
    """Write every image of a dataset as PNG beside ``table``, and then ``table``.

    Args:
        dataset: a dataset of the config.
        size: side of the frozen images in pixels.
        table: images.csv to write.
        processes: number of worker processes; the result does not depend on it.

    Raises:
        InputError: an image is unreadable or too small, or a test image is also a training or validation image.
    """
    write_csv(finished(dataset, size, Path(table).parent, processes), table)


def finished(dataset: dict[str, Any], size: int, folder: Path | None = None, processes: int = 1) -> pd.DataFrame:
    """Crop, resize and hash every image of a dataset, and write it below ``folder`` if one is given.

    Args:
        dataset, size, processes: same as in ``freeze_images``.
        folder: where the images go; None computes only their hashes. Only this process and its workers may write there.

    Returns:
        The rows of images.csv.

    Raises:
        InputError: same as in ``freeze_images``.
    """
    total = dataset["train"] + dataset["validation"] + dataset["test"]
    chunk = max(1, CHUNK // together(dataset, size))
    try:
        with closing(in_processes(partial(finish, folder), makers(dataset, size), processes, chunk=chunk)) as parts:
            rows = progress(chain.from_iterable(parts), total=total, desc="images", unit="image")
            frame = pd.DataFrame(rows, columns=IMAGE_COLUMNS)
    finally:
        # Clear once, not for each of thousands of images, because each time the folder would be listed.
        if folder:
            clear_folder(folder / "images")
            clear_folder(folder / "labels")
    refuse_leaks(frame)
    return frame


def refuse_leaks(images: pd.DataFrame) -> None:
    """Refuse test images that are also in another split; images are compared by the hash of their pixels.

    A validation image that is also a training image changes no reported number, so it only causes a warning. Copies
    within the test split that are not in one cluster also cause one: the intervals count them as independent.

    Args:
        images: rows of images.csv.

    Raises:
        InputError: a test image is also a training or validation image.
    """
    for split, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
        same = _same(images[images.split == split], images[images.split == other])
        if not same:
            continue
        found = f"{len(same)} {split} images are also {other} images ({split} = {other}: {', '.join(same[:5])})."
        if split == "test":
            raise InputError(f"{found} Remove them, or name the others in `train_list`.")
        warn(f"{found} They make validation losses too low; no score depends on them.")
    test = images[images.split == "test"]
    first = test.drop_duplicates("sha256").set_index("sha256")
    copies = [
        f"{row.id} = {first.id[row.sha256]}" for row in test.itertuples() if row.cluster != first.cluster[row.sha256]
    ]
    if copies:
        warn(
            f"{len(copies)} test images are copies of others ({', '.join(copies[:5])}), but n and the intervals count "
            "them as independent images. Remove them, or put them into one cluster (`clusters`)."
        )


def refuse_trained_on(test: pd.DataFrame, trained_on: pd.DataFrame, dataset: str) -> None:
    """Refuse test images that the semantic encoder was trained on as images of another dataset.

    Args:
        test: rows of the tested dataset's images.csv.
        trained_on: rows of the images.csv that the encoder is trained on.
        dataset: name of the encoder's dataset, for the message.

    Raises:
        InputError: an image is in both tables.
    """
    same = _same(test[test.split == "test"], trained_on[trained_on.split == "train"])
    if same:
        raise InputError(
            f"{len(same)} test images are training images of {dataset!r}, on which the semantic encoder is trained "
            f"(test = {dataset}: {', '.join(same[:5])}). Split both datasets alike, for example by `train_list` and "
            "`test_list`, or name another `semantics.dataset`."
        )


def _same(images: pd.DataFrame, others: pd.DataFrame) -> list[str]:
    known = others.drop_duplicates("sha256").set_index("sha256")["id"]
    return [f"{row.id} = {known[row.sha256]}" for row in images[images.sha256.isin(known.index)].itertuples()]


def freeze_manifest(
    images_table: str | Path,
    masks: dict[str, Any],
    buckets: Sequence[tuple[int, int]],
    manifest: str | Path,
    training_masks: str | Path,
    trained_on: str | Path | None = None,
) -> None:
    """Pair every test image with one mask of every bucket, and write the pairs and the training masks.

    Args:
        images_table: images.csv that ``freeze_images`` wrote.
        masks: a mask set of the config.
        buckets: half-open intervals of hole ratio in percent; a mask set that is divided by family has its families
            instead.
        manifest, training_masks: the tables to write, beside ``images_table``.
        trained_on: images.csv of another dataset on which the semantic encoder is trained; its folder has the dataset's
            name.

    Raises:
        InputError: a mask is unsuitable, or the semantic encoder was trained on a test image.
    """
    folder = Path(manifest).parent
    test = read_table(images_table, IMAGE_COLUMNS).query("split == 'test'")
    if trained_on is not None:
        refuse_trained_on(test, read_table(trained_on, IMAGE_COLUMNS), Path(trained_on).parent.name)
    size = read_rgb(folder / test.image.iloc[0]).shape[0]
    mask_set: MaskSet | PairedMasks
    if masks["source"] == "paired":
        mask_set = PairedMasks(masks, size, as_buckets(buckets), list(test.id))
    else:
        mask_set = MaskSet(masks, size, as_buckets(buckets), len(test))
    rows = []
    for label in mask_set.labels:
        pairs = zip(test.itertuples(), mask_set.test(label), strict=True)
        for image, mask in progress(pairs, total=len(test), desc=f"test masks {label}", unit="mask"):
            name = f"masks/test/{label}/{image.id}.png"
            write_png(folder / name, mask.astype(np.uint8) * 255)
            pair = [image.id, label, image.cluster, image.image, name]
            rows.append([*pair, int(mask.sum()), mask.size, image.sha256, pixel_sha256(mask)])
    training = []
    for number, mask in enumerate(progress(mask_set.training(), desc="training masks", unit="mask")):
        name = f"masks/train/{number:05d}.png"
        write_png(folder / name, mask.astype(np.uint8) * 255)
        training.append([name, pixel_sha256(mask)])
    write_csv(pd.DataFrame(training, columns=MASK_COLUMNS), training_masks)
    write_csv(pd.DataFrame(rows, columns=MANIFEST_COLUMNS), manifest)
