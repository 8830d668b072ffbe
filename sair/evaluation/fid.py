"""Compute FID, KID and other distances of a method from features of its images, which are stored beside its results.

The features are computed once per image and stored, those of the ground truths once per manifest, so that every number
can be computed again from them without the network:

    truth_features.safetensors                    features (images, 2048) of pytorch-fid's InceptionV3
    <method>/seed<k>/features.safetensors         features (rows of the manifest, 2048)
    <method>/seed<k>/fid.csv                      FID and KID: one row per bucket, and ``all``

For another network of a config's ``distances`` these are ``truth_features.<network>.safetensors`` and so on, and for
every one of them ``distances.<network>.csv`` has all metrics of sets.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sair.common import runtime
from sair.common.errors import InputError
from sair.common.files import atomic, write_text
from sair.common.images import pixel_sha256, read_rgb
from sair.common.listing import find
from sair.common.progress import progress
from sair.data.buckets import ALL
from sair.data.manifest import ManifestRow, checked_rgb, manifest_hash, read_manifest
from sair.evaluation.features import Extractor
from sair.evaluation.metrics.cmmd import cmmd
from sair.evaluation.metrics.features import KINDS
from sair.evaluation.metrics.fid import frechet_distance
from sair.evaluation.metrics.ids import discriminative_scores
from sair.evaluation.metrics.kid import kernel_distance

ENOUGH = 2048  # images; with fewer, FID is biased upwards by more than methods usually differ
FEWEST = 3  # images of which an interval can be computed
DISTANCE_COLUMNS = [
    *("bucket", "n", "fid", "kid", "kid_low", "kid_high", "kid_unpaired"),
    *KINDS[2:],
    *("reason", "weights_sha256"),
]
FID_COLUMNS = ["bucket", "n", "fid", "kid", "kid_low", "kid_high", "kid_unpaired", "reason", "weights_sha256"]


class Features(NamedTuple):
    """Features on disk, and what they were computed from.

    features: float32 (N, d).
    manifest: hash of the manifest.
    weights: SHA-256 of the network's file.
    images: digest of the images' hashes.
    """

    features: np.ndarray
    manifest: str
    weights: str
    images: str


def write_features(path: str | Path, features: Features) -> None:
    """Write features as safetensors, atomically."""
    facts = {name: value for name, value in features._asdict().items() if name != "features"}
    with atomic(path) as temporary:
        temporary.write_bytes(save({"features": features.features}, facts))


def read_features(path: str | Path) -> Features:
    """Read features that ``write_features`` wrote.

    Raises:
        InputError: the file is missing, damaged or not a file of features.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            return Features(stream.get_tensor("features"), **stream.metadata())
    except (SafetensorError, OSError, TypeError) as error:
        raise InputError(
            f"{path}: not a file of features ({error}). Delete it, if it exists, and run snakemake again."
        ) from None


def write_truth_features(
    manifest: str | Path, output: str | Path, device: str = "auto", network: str = "inception"
) -> None:
    """Write the features of a manifest's ground truths, each once, in the order of their first rows.

    Args:
        manifest: manifest.csv.
        output: file to write.
        device: ``auto``, ``cpu`` or ``cuda``.
        network: name of the network (``sair.evaluation.metrics.features.NETWORKS``).

    Raises:
        InputError: the weights are missing or wrong, or a ground truth was altered.
    """
    extract = Extractor(network, runtime.device(device))
    truths = _truths(read_manifest(manifest))
    images = (
        checked_rgb(Path(manifest).parent / image, sha256)
        for image, sha256 in progress(truths.items(), desc="features", unit="image")
    )
    found = extract(images)
    write_features(output, Features(found, manifest_hash(manifest), extract.sha256, _digest(truths.values())))


def write_fid(
    manifest: str | Path,
    predictions: str | Path,
    truth_features: str | Path,
    features: str | Path,
    distances_csv: str | Path,
    device: str = "auto",
) -> None:
    """Write the features of a method's composited images, and its FID and KID in every bucket.

    Args:
        manifest: manifest.csv.
        predictions: the method's folder of predictions.
        truth_features: what ``write_truth_features`` wrote for the manifest.
        features: file of features to write, in the manifest's order.
        distances_csv: fid.csv to write (``distances``).
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: the weights are missing or wrong, a prediction is missing or unreadable, or the ground truths'
            features do not fit.
    """
    write_network_features(manifest, predictions, features, device)
    write_distances(manifest, truth_features, features, distances_csv)


def write_network_features(
    manifest: str | Path,
    predictions: str | Path,
    output: str | Path,
    device: str = "auto",
    network: str = "inception",
) -> None:
    """Write the features of a method's composited images, in the manifest's order.

    Args:
        predictions: the method's folder of predictions.
        manifest, output, device, network: same as in ``write_truth_features``.

    Raises:
        InputError: the weights are missing or wrong, or a prediction is missing or unreadable.
    """
    extract = Extractor(network, runtime.device(device))
    rows, hashes = read_manifest(manifest), list[str]()

    def images() -> Iterable[np.ndarray]:
        for image in progress(_predictions(rows, predictions), total=len(rows), desc="features", unit="image"):
            hashes.append(pixel_sha256(image))
            yield image

    found = extract(images())
    write_features(output, Features(found, manifest_hash(manifest), extract.sha256, _digest(hashes)))


def predictions_digest(manifest: str | Path, predictions: str | Path) -> str:
    """Return the value of ``Features.images`` for the composited images that are on disk now."""
    return _digest(map(pixel_sha256, _predictions(read_manifest(manifest), predictions)))


def _predictions(rows: Sequence[ManifestRow], predictions: str | Path) -> Iterable[np.ndarray]:
    return (read_rgb(find(Path(predictions, "composited", row.prediction))) for row in rows)


def _truths(rows: Sequence[ManifestRow]) -> dict[str, str]:
    """Return the SHA-256 of every ground truth by its path."""
    return {row.image: row.image_sha256 for row in rows}


def _digest(hashes: Iterable[str]) -> str:
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


# --------------------------------------------------------------------------------------------------------------------
# Distances


def distances(manifest: str | Path, truth: Features, method: Features) -> pd.DataFrame:
    """Return FID and KID of one method: one row per bucket, and one for all predictions together.

    Args:
        manifest: manifest.csv.
        truth, method: features of its ground truths and of the method's predictions.

    Returns:
        ``FID_COLUMNS``; n counts ground truths. With fewer than three, numbers are ``nan`` and ``reason`` states why.

    Raises:
        InputError: features of another manifest or by other weights, or a bucket without some of the images.
    """
    parts = _parts(manifest, truth, method)
    lines = [[bucket, *_numbers(truth.features, part), truth.weights] for bucket, part in parts.items()]
    return pd.DataFrame(lines, columns=FID_COLUMNS)


def all_distances(manifest: str | Path, truth: Features, method: Features) -> pd.DataFrame:
    """Return FID, KID, CMMD, P-IDS and U-IDS of one method; arguments and errors are the same as in ``distances``.

    Returns:
        ``DISTANCE_COLUMNS``, in the rows of ``distances``.
    """
    rows = read_manifest(manifest)
    cluster_of = {row.image: row.cluster for row in rows}
    groups = [cluster_of[image] for image in _truths(rows)]
    lines = []
    for bucket, part in _parts(manifest, truth, method).items():
        n, *numbers, reason = _numbers(truth.features, part)
        others = [math.nan] * (len(KINDS) - 2)
        if len(truth.features) >= FEWEST:
            predictions = part.reshape(-1, truth.features.shape[1])
            repeated = np.tile(truth.features, (len(part), 1))
            others = [
                cmmd(truth.features, predictions),
                *discriminative_scores(repeated, predictions, groups * len(part)),
            ]
        lines.append([bucket, n, *numbers, *others, reason, truth.weights])
    return pd.DataFrame(lines, columns=DISTANCE_COLUMNS)


def _parts(manifest: str | Path, truth: Features, method: Features) -> dict[str, np.ndarray]:
    """Return a method's features (b, images, d) by bucket, b = 1, and those of all b buckets as ``all``."""
    rows = read_manifest(manifest)
    for features in (truth, method):
        if features.manifest != manifest_hash(manifest) or features.weights != truth.weights:
            raise InputError(f"{manifest}: features of another manifest or by other weights. Delete them; run again.")
    order = {image: number for number, image in enumerate(_truths(rows))}
    places: dict[str, dict[int, int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.bucket, {})[order[row.image]] = place
    if any(len(found) != len(order) for found in places.values()):
        raise InputError(f"{manifest}: a bucket without some of the images. FID needs all of them in each.")
    by_bucket = {bucket: method.features[[found[k] for k in sorted(found)]] for bucket, found in places.items()}
    return {bucket: part[None] for bucket, part in by_bucket.items()} | {ALL: np.stack(list(by_bucket.values()))}


def _numbers(truths: np.ndarray, predictions: np.ndarray) -> list[object]:
    n = len(truths)
    if n < FEWEST:
        return [n, *[math.nan] * 5, f"fewer than {FEWEST} images"]
    kid = kernel_distance(truths, predictions)
    fid = frechet_distance(truths, predictions.reshape(-1, truths.shape[1]))
    flag = f"FID of fewer than {ENOUGH} images is biased upwards" if n < ENOUGH else ""
    return [n, fid, *kid.paired[:3], kid.unpaired, flag]


def write_distances(manifest: str | Path, truth: str | Path, method: str | Path, output: str | Path) -> None:
    """Write a method's fid.csv from features on disk (``distances``)."""
    write_text(output, _text(distances(manifest, read_features(truth), read_features(method))))


def write_network_distances(manifest: str | Path, truth: str | Path, method: str | Path, output: str | Path) -> None:
    """Write a method's distances.<network>.csv from features on disk (``all_distances``)."""
    write_text(output, _text(all_distances(manifest, read_features(truth), read_features(method))))


def _text(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.10g")
