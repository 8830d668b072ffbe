"""Compute FID and KID of a method from Inception features, which are stored beside its results.

Both metrics compare pool3 features of pytorch-fid's InceptionV3. The features are computed once per image and stored,
those of the ground truths once per manifest, so that every number can be computed again from them without the network:

    truth_features.safetensors                    features (images, 2048)
    <method>/seed<k>/features.safetensors         features (rows of the manifest, 2048)
    <method>/seed<k>/fid.csv                      one row per bucket, and ``all``
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import nn

from sair import weights
from sair.common import runtime
from sair.common.errors import InputError
from sair.common.files import atomic, file_sha256, write_text
from sair.common.images import pixel_sha256, read_rgb
from sair.common.listing import find
from sair.common.progress import progress
from sair.data.buckets import ALL
from sair.data.manifest import ManifestRow, checked_rgb, manifest_hash, read_manifest
from sair.evaluation.metrics.fid import frechet_distance
from sair.evaluation.metrics.kid import kernel_distance
from sair.evaluation.precision import full_precision
from sair.weights.unpickle import load_tensors

ENOUGH = 2048  # images; with fewer, FID is biased upwards by more than methods usually differ
FEWEST = 3  # images of which an interval can be computed
FID_COLUMNS = ["bucket", "n", "fid", "kid", "kid_low", "kid_high", "kid_unpaired", "reason", "weights_sha256"]
SIDE = 299  # pixels; what the network resizes to


# --------------------------------------------------------------------------------------------------------------------
# Features


class Inception:
    """The InceptionV3 of pytorch-fid up to pool3, always float32.

    Args:
        device: where the network runs.

    Attributes:
        sha256: of the file of its weights.

    Raises:
        InputError: the weights are missing, or are not this network's.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        path = weights.inception_file()
        self.sha256 = file_sha256(path)
        self._network = _build(path).to(self.device)

    def __call__(self, images: Iterable[np.ndarray], batch_size: int = 32) -> np.ndarray:
        """Return the features of images.

        Args:
            images: uint8 (H, W, 3) each, of any sizes.
            batch_size: images at once; it changes no result beyond the last bits.

        Returns:
            float32 (N, 2048)
        """
        waiting, parts = iter(images), []
        with full_precision(self.device):
            while batch := list(islice(waiting, batch_size)):
                parts.append(self._features(batch))
        return np.concatenate(parts)

    def _features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        # Resize here exactly as the network would, so that images of different sizes can share a batch.
        tensors = (torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 255 for image in images)
        resized = [F.interpolate(tensor, (SIDE, SIDE), mode="bilinear", align_corners=False) for tensor in tensors]
        return self._network(torch.cat(resized))[0].flatten(1).cpu().numpy()


def _build(path: Path) -> nn.Module:
    from pytorch_fid import inception as published

    try:
        state = load_tensors(path)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused ({error}). Expected tensors only; do not trust this file.") from None
    # The constructor would download the file and unpickle it unchecked, so it gets the checked tensors instead. It also
    # draws random weights, which are overwritten at once; a forked generator leaves the caller's state.
    handed = mock.patch.object(published, "load_state_dict_from_url", lambda *_, **__: state)
    try:
        with handed, torch.random.fork_rng(devices=[]):
            return published.InceptionV3().eval()
    except RuntimeError as error:
        raise InputError(
            f"{path}: not the weights of pytorch-fid's Inception ({error}). Fetch the file again."
        ) from None


class Features(NamedTuple):
    """Features on disk, and what they were computed from.

    features: float32 (N, 2048).
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


def write_truth_features(manifest: str | Path, output: str | Path, device: str = "auto") -> None:
    """Write the features of a manifest's ground truths, each once, in the order of their first rows.

    Raises:
        InputError: the weights are missing or wrong, or a ground truth was altered.
    """
    network = Inception(runtime.device(device))
    truths = _truths(read_manifest(manifest))
    images = (
        checked_rgb(Path(manifest).parent / image, sha256)
        for image, sha256 in progress(truths.items(), desc="features", unit="image")
    )
    found = network(images)
    write_features(output, Features(found, manifest_hash(manifest), network.sha256, _digest(truths.values())))


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
    write_features(features, _method_features(manifest, predictions, device))
    write_distances(manifest, truth_features, features, distances_csv)


def _method_features(manifest: str | Path, predictions: str | Path, device: str) -> Features:
    network = Inception(runtime.device(device))
    rows, hashes = read_manifest(manifest), list[str]()

    def images() -> Iterable[np.ndarray]:
        for image in progress(_predictions(rows, predictions), total=len(rows), desc="features", unit="image"):
            hashes.append(pixel_sha256(image))
            yield image

    found = network(images())
    return Features(found, manifest_hash(manifest), network.sha256, _digest(hashes))


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
    parts = {bucket: features[None] for bucket, features in by_bucket.items()}
    parts[ALL] = np.stack(list(by_bucket.values()))
    lines = [[bucket, *_numbers(truth.features, part), truth.weights] for bucket, part in parts.items()]
    return pd.DataFrame(lines, columns=FID_COLUMNS)


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
    frame = distances(manifest, read_features(truth), read_features(method))
    write_text(output, frame.to_csv(index=False, lineterminator="\n", float_format="%.10g"))
