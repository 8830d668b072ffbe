"""FID and KID: how far the distribution of a method's images is from that of the true ones.

Both compare pool3 features of pytorch-fid's InceptionV3. The features are computed once an image and kept beside the
results (the truth's once a manifest), so that every number can be made again from them without the network:

    truth_features.safetensors                    features (images, 2048)
    <method>/seed<k>/features.safetensors         features (rows of the manifest, 2048)
    <method>/seed<k>/fid.csv                      one line a bucket, and ``all``

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017 (FID);
Bińkowski et al., "Demystifying MMD GANs", 2018 (KID); Gretton et al., "A kernel two-sample test", 2012, eq. 4.
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
from sair.data.manifest import ManifestRow, checked_rgb, manifest_hash, read_manifest
from sair.evaluation.metrics import full_precision
from sair.evaluation.statistics import Estimate

ALL = "all"  # every bucket together
ENOUGH = 2048  # images; with fewer, FID is biased upwards by more than methods usually differ
FEWEST = 3  # images of which an interval can be computed
FID_COLUMNS = ["bucket", "n", "fid", "kid", "kid_low", "kid_high", "kid_unpaired", "reason", "weights_sha256"]
SIDE = 299
ROWS = 512  # of a kernel matrix at once


# --------------------------------------------------------------------------------------------------------------------
# Features


class Inception:
    """pytorch-fid's InceptionV3 up to pool3, always float32.

    Args:
        device: where the network runs.

    Attributes:
        sha256: of the file of its weights.

    Raises:
        InputError: the weights cannot be had, or are not this network's.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        path = weights.inception_file()
        self.sha256 = file_sha256(path)
        self._network = _build(path).to(self.device)

    def __call__(self, images: Iterable[np.ndarray], batch_size: int = 32) -> np.ndarray:
        """Features of images.

        Args:
            images: uint8 (H, W, 3) each, of any sizes.
            batch_size: images at once; it changes no result beyond the last bits.

        Returns:
            float32 (N, 2048)
        """
        images, parts = iter(images), []
        with full_precision(self.device):
            while batch := list(islice(images, batch_size)):
                parts.append(self._features(batch))
        return np.concatenate(parts)

    def _features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        # Resized as the network would, which then has nothing to resize: images of any sizes make a batch.
        images = (torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 255 for image in images)
        resized = [F.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=False) for image in images]
        return self._network(torch.cat(resized))[0].flatten(1).cpu().numpy()


def _build(path: Path) -> nn.Module:
    from pytorch_fid import inception as published

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused ({error}). Expected tensors only; do not trust this file.") from None
    # Its constructor would fetch the file by itself and unpickle it unchecked, so it is handed what was checked. The
    # generator is forked, because the network draws weights that are overwritten at once.
    handed = mock.patch.object(published, "load_state_dict_from_url", lambda *_, **__: state)
    try:
        with handed, torch.random.fork_rng(devices=[]):
            return published.InceptionV3().eval()
    except RuntimeError as error:
        raise InputError(
            f"{path}: not the weights of pytorch-fid's Inception ({error}). Fetch the file again."
        ) from None


class Features(NamedTuple):
    """Features on disk: of which images, of which manifest, and by which weights."""

    features: np.ndarray  # float32 (N, 2048)
    manifest: str
    weights: str
    images: str


def write_features(path: str | Path, features: Features) -> None:
    """Write features as safetensors, atomically."""
    facts = {name: value for name, value in features._asdict().items() if name != "features"}
    with atomic(path) as temporary:
        temporary.write_bytes(save({"features": features.features}, facts))


def read_features(path: str | Path) -> Features:
    """Read what ``write_features`` wrote.

    Raises:
        InputError: the file is missing, damaged or another one.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            return Features(stream.get_tensor("features"), **stream.metadata())
    except (SafetensorError, OSError, TypeError) as error:
        raise InputError(
            f"{path}: no features ({error}). Delete it, if it is there, and run snakemake again."
        ) from None


def write_truth_features(manifest: str | Path, output: str | Path, device: str = "auto") -> None:
    """Features of a manifest's true images, each once, in the order in which it names them first.

    Raises:
        InputError: as :class:`Inception`, or an altered image.
    """
    network = Inception(runtime.device(device))
    truths = _truths(read_manifest(manifest))
    images = (
        checked_rgb(Path(manifest).parent / image, sha256)
        for image, sha256 in progress(truths.items(), desc="features", unit="image")
    )
    found = network(images)
    write_features(output, Features(found, manifest_hash(manifest), network.sha256, _digest(truths.values())))


def write_method_features(
    manifest: str | Path, predictions: str | Path, output: str | Path, device: str = "auto"
) -> None:
    """Features of a method's composited images, in the manifest's order.

    Raises:
        InputError: as :class:`Inception`, or a missing or unreadable image.
    """
    network = Inception(runtime.device(device))
    rows, hashes = read_manifest(manifest), []

    def images() -> Iterable[np.ndarray]:
        for image in progress(_predictions(rows, predictions), total=len(rows), desc="features", unit="image"):
            hashes.append(pixel_sha256(image))
            yield image

    found = network(images())
    write_features(output, Features(found, manifest_hash(manifest), network.sha256, _digest(hashes)))


def predictions_digest(manifest: str | Path, predictions: str | Path) -> str:
    """What ``images`` of features must be if they are of the composited images that are on disk now."""
    return _digest(map(pixel_sha256, _predictions(read_manifest(manifest), predictions)))


def _predictions(rows: Sequence[ManifestRow], predictions: str | Path) -> Iterable[np.ndarray]:
    return (read_rgb(find(Path(predictions, "composited", row.prediction))) for row in rows)


def _truths(rows: Sequence[ManifestRow]) -> dict[str, str]:
    """SHA-256 of every true image by its path."""
    return {row.image: row.image_sha256 for row in rows}


def _digest(hashes: Iterable[str]) -> str:
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


# --------------------------------------------------------------------------------------------------------------------
# Distances


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """FID of two sets of features, (n, d) and (m, d): what pytorch-fid computes from their means and covariances.

    A covariance is FᵀF of a factor F with at most d rows, and the trace of the square root of FᵀF GᵀG is the sum of
    the singular values of F Gᵀ. That matrix is no larger than the smaller of n, m and d: for a hundred images
    100x100, where the published way takes the square root of a 2048x2048 one.
    """
    gap = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    first, second = _factor(a), _factor(b)
    overlap = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    # Rounding may leave less than nothing of two equal sets.
    return max(0.0, float(gap @ gap + (first**2).sum() + (second**2).sum() - 2 * overlap))


def _factor(features: np.ndarray) -> np.ndarray:
    """F with FᵀF = the sample covariance, float64, at most as many rows as columns."""
    centred = (features - features.mean(0, dtype=np.float64)) / math.sqrt(len(features) - 1)
    return np.linalg.qr(centred, mode="r") if len(centred) > centred.shape[1] else centred


class KernelDistance(NamedTuple):
    """KID by pairs with its interval, and the estimate that takes the two sets for independent."""

    paired: Estimate
    unpaired: float


def kernel_distance(truths: np.ndarray, predictions: np.ndarray) -> KernelDistance:
    """KID: the squared maximum mean discrepancy with the kernel (x·y / d + 1)³, from all images, without subsets.

    A prediction shares its known pixels with its truth, so the two sets are not independent samples. ``paired`` is
    unbiased nevertheless: the mean over all i != j of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j), in which
    no image meets itself. Its 95 % interval is the jackknife's over images: a bootstrap would draw images twice,
    and an image is nearer to itself than to any other. ``unpaired`` is what torch-fidelity computes with one subset
    of all images; it also counts the k(x_i, y_i), and is too low by 2/n of their excess.

    Args:
        truths: features (n, d), at least three.
        predictions: (b, n, d), for every truth one prediction in each of b buckets; ``paired`` takes their mean kernel.
    """
    truths, predictions = truths.astype(np.float64), predictions.astype(np.float64)
    n, buckets = len(truths), len(predictions)
    rows, sums = np.empty(n), np.zeros(3)  # of xx, yy and xy, an image's own ones included
    for start in range(0, n, ROWS):
        part = slice(start, start + ROWS)
        xx = _kernel(truths[part], truths)
        yy = sum(_kernel(a[part], b) for a in predictions for b in predictions) / buckets**2
        xy = sum(_kernel(truths[part], b) for b in predictions) / buckets
        yx = sum(_kernel(a[part], truths) for a in predictions) / buckets
        sums += xx.sum(), yy.sum(), xy.sum()
        h = xx + yy - xy - yx
        rows[part] = h.sum(1) - h.diagonal(start)
    total = rows.sum()
    mean = total / (n * (n - 1))
    without = (total - 2 * rows) / ((n - 1) * (n - 2))  # one image each
    error = math.sqrt((n - 1) * without.var())
    m = buckets * n
    unpaired = (sums[0] - _self(truths)) / (n * (n - 1)) + (sums[1] * buckets**2 - _self(predictions)) / (m * (m - 1))
    estimate = Estimate(float(mean), float(mean - 1.96 * error), float(mean + 1.96 * error), n, n)
    return KernelDistance(estimate, float(unpaired - 2 * sums[2] / n**2))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    base = a @ b.T / a.shape[1] + 1
    return base * base * base


def _self(features: np.ndarray) -> float:
    """Sum of every image's kernel with itself."""
    return float((((features**2).sum(-1) / features.shape[-1] + 1) ** 3).sum())


def distances(manifest: str | Path, truth: Features, method: Features) -> pd.DataFrame:
    """FID and KID of one method, a row a bucket, and one of all predictions together.

    Returns:
        ``FID_COLUMNS``: n counts true images; with fewer than three, the numbers are ``nan`` and ``reason`` says so.

    Raises:
        InputError: features of another manifest, of other weights, or a bucket that lacks images of another one.
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
    """Write a method's fid.csv from features on disk; see :func:`distances`."""
    frame = distances(manifest, read_features(truth), read_features(method))
    write_text(output, frame.to_csv(index=False, lineterminator="\n", float_format="%.10g"))
