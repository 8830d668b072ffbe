"""The canonical metrics: pure functions of 8-bit images.

Every function takes uint8 RGB arrays (H, W, 3), first the truth, then the prediction, and returns a Python float. The
metrics see the 8-bit image that would be published, so the range is known and nothing can be fed in a wrong scale.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from sair.common.errors import InputError
from sair.weights.networks import alexnet_state, lpips_linear_state

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_BORDER = SSIM_WINDOW // 2
PSNR_CAP = 100.0  # dB; what an infinite PSNR counts as wherever images are averaged or compared
LPIPS_SMALLEST = 31  # AlexNet's second pooling has nothing left to pool below this side


class Metric(NamedTuple):
    """How a metric is read and printed."""

    higher_is_better: bool
    decimals: int


METRICS: dict[str, Metric] = {
    "psnr": Metric(True, 2),
    "ssim": Metric(True, 3),
    "l1": Metric(False, 3),
    "lpips": Metric(False, 3),
}
MIOU = Metric(True, 3)
DISTANCES = {"fid": Metric(False, 2), "kid": Metric(False, 5)}

# Printed under each table, so that a number can be compared with another one or be known not to be comparable.
CONVENTION: dict[str, str] = {
    "psnr": f"rgb,8bit,range=255,identical=inf,at-most-{PSNR_CAP:g}-in-means",
    "ssim": f"rgb-mean,gaussian={SSIM_WINDOW}x{SSIM_WINDOW},sigma={SSIM_SIGMA},sample_covariance=no,k=0.01/0.03,"
    "range=255,region=valid",
    "l1": "rgb,mean-absolute-error/255",
    "lpips": "v0.1,alexnet,range=[-1,1]",
    "fid": "pytorch-fid,inception-2015-12-05,pool3,composited",
    "kid": "pool3,degree=3,gamma=1/2048,coef0=1,all-images,pairs-excluded",
    "rounding": "nearest-8bit",
    "aggregate": "mean-over-images",
}


def psnr(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB over RGB, range 255; ``inf`` when the images are equal.

    Args:
        truth, prediction: uint8 (H, W, 3).
        hole: bool (H, W), True = hole; given, only hole pixels count.

    Returns:
        dB; ``nan`` where ``hole`` is empty.

    Raises:
        InputError: sizes differ, or a side is under 11 pixels. TypeError: not uint8 RGB, or ``hole`` not bool.
    """
    difference = _difference(truth, prediction, hole)
    if difference.size == 0:
        return math.nan
    # Summed in integers, so the result does not depend on the order of summation.
    squares = int(np.square(difference).sum())
    return 10 * math.log10(255**2 * difference.size / squares) if squares else math.inf


def l1(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> float:
    """Mean absolute error over RGB divided by 255, in [0, 1]; arguments and errors as :func:`psnr`."""
    difference = _difference(truth, prediction, hole)
    return int(np.abs(difference).sum()) / (255 * difference.size) if difference.size else math.nan


def ssim_map(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Structural similarity at every place where the window fits into the image.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: Gaussian window
    11x11 with sigma 1.5, weighted (not sample) covariance, K = (0.01, 0.03), range 255, on each of R, G, B, averaged.

    Args:
        truth, prediction: uint8 (H, W, 3).

    Returns:
        float64 (H - 10, W - 10), entry [y, x] belonging to the window centred on pixel [y + 5, x + 5].

    Raises:
        As :func:`psnr`.
    """
    check_pair(truth, prediction)
    _, full = structural_similarity(
        truth,
        prediction,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
        full=True,
    )
    return full[SSIM_BORDER:-SSIM_BORDER, SSIM_BORDER:-SSIM_BORDER].mean(axis=2)


def mean_ssim(similarity: np.ndarray, hole: np.ndarray | None = None) -> float:
    """Mean of a map from :func:`ssim_map`, over all of it or where the window's centre is a hole pixel.

    Args:
        similarity: (H - 10, W - 10).
        hole: bool (H, W) of the whole image.

    Returns:
        At most 1; ``nan`` where no hole pixel lies inside the valid region.
    """
    if hole is not None:
        similarity = similarity[hole[SSIM_BORDER:-SSIM_BORDER, SSIM_BORDER:-SSIM_BORDER]]
    return float(similarity.mean()) if similarity.size else math.nan


def ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> float:
    """Mean structural similarity, the mean of :func:`ssim_map`; arguments and errors as :func:`psnr`.

    With ``hole`` it is the mean over hole pixels inside the valid region, ``nan`` if there are none.
    """
    check_pair(truth, prediction, hole)
    return mean_ssim(ssim_map(truth, prediction), hole)


class Lpips:
    """Learned perceptual distance, LPIPS v0.1 with AlexNet (Zhang et al., CVPR 2018).

    The network is the ``lpips`` package's own, its backbone from :mod:`sair.weights` and its linear layers from the
    package's file, both loaded strictly. The image's features and the distance of two sets of features are separate
    steps, so that a truth is seen once however many predictions it is compared with.

    Args:
        device: where the network runs; always float32.

    Raises:
        InputError: the weights cannot be had.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._network = _build_lpips().to(self.device)

    def __call__(
        self,
        truths: Sequence[np.ndarray] | np.ndarray,
        predictions: Sequence[np.ndarray] | np.ndarray,
        batch_size: int = 16,
    ) -> np.ndarray:
        """Distances of pairs.

        Args:
            truths, predictions: two lists of uint8 (H, W, 3) or two arrays (N, H, W, 3), all of one size.
            batch_size: pairs at once; changes the result by less than 1e-6.

        Returns:
            float64 (N,), 0 for equal images.
        """
        if len(truths) != len(predictions):
            raise ValueError(f"{len(truths)} truths and {len(predictions)} predictions: expected as many")
        starts = range(0, len(truths), batch_size)
        batches = [slice(start, start + batch_size) for start in starts]
        parts = [self.distance(self.features(truths[b]), self.features(predictions[b])) for b in batches]
        return np.concatenate(parts) if parts else np.empty(0)

    def features(self, images: Sequence[np.ndarray] | np.ndarray) -> list[Tensor]:
        """Unit-length AlexNet features of a batch.

        Args:
            images: uint8 (H, W, 3) each, all of one size, both sides at least 31 pixels.

        Returns:
            Five float32 maps (N, C, h, w) on the device.

        Raises:
            InputError: images too small or of several sizes. TypeError: not uint8 RGB.
        """
        from lpips import normalize_tensor

        for image in images:
            check_image(image, LPIPS_SMALLEST)
        if len({image.shape for image in images}) != 1:
            raise InputError("LPIPS takes a batch of one or more images of one size; batch them by size.")
        # Exactly the published scaling: [0, 255] to [-1, 1], once, here.
        batch = torch.from_numpy(np.stack(list(images))).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with full_precision(self.device):
            maps = self._network.net(self._network.scaling_layer(batch))
            return [normalize_tensor(features) for features in maps]

    def distance(self, features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> np.ndarray:
        """Distances of two batches of features, float64 (N,)."""
        with full_precision(self.device):
            total: Tensor | float = 0.0
            for linear, a, b in zip(self._network.lins, features_a, features_b, strict=True):
                total = total + linear((a - b) ** 2).mean(dim=(1, 2, 3))
        return total.double().cpu().numpy()


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """No gradients, and float32 whatever autocast or TF32 setting the caller is in."""
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.no_grad(), torch.autocast(device.type, enabled=False), cudnn:
        yield


def _build_lpips() -> torch.nn.Module:
    import lpips

    # A forked generator, because the network draws weights that are overwritten at once; the caller's seed is its own.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # torchvision's deprecation of the arguments that lpips passes
        network = lpips.LPIPS(pretrained=False, net="alex", version="0.1", pnet_rand=True, verbose=False)
    # lpips splits torchvision's `features` into slices but keeps the index: slice2.3.weight is features.3.weight.
    state = alexnet_state()
    renamed = {key: f"features.{key.partition('.')[2]}" for key in network.net.state_dict()}
    if set(renamed.values()) != set(state):
        raise InputError(
            f"lpips: its AlexNet lacks or adds {sorted(set(renamed.values()) ^ set(state))}; use lpips 0.1.4."
        )
    network.net.load_state_dict({key: state[name] for key, name in renamed.items()}, strict=True)
    linear = lpips_linear_state()
    _same_keys("linear layers", (f"lin{index}.model.1.weight" for index in range(len(network.lins))), linear)
    for index, layer in enumerate(network.lins):
        layer.load_state_dict({"model.1.weight": linear[f"lin{index}.model.1.weight"]}, strict=True)
    return network.eval().requires_grad_(False)


def _same_keys(part: str, wanted: Iterable[str], given: Iterable[str]) -> None:
    different = sorted(set(wanted) ^ set(given))
    if different:
        raise InputError(f"lpips: its {part} and the weights differ in {different}; install lpips 0.1.4.")


def check_image(image: np.ndarray, smallest: int = SSIM_WINDOW) -> None:
    """Refuse what is no uint8 RGB image with both sides at least ``smallest`` pixels."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise TypeError(f"expected a uint8 image (H, W, 3), got {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    if min(height, width) < smallest:
        raise InputError(f"an image of {height}x{width} pixels: each side must be at least {smallest} pixels.")


def check_pair(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> None:
    """Refuse images, and a hole mask, that do not belong together; errors as :func:`psnr`."""
    check_image(truth)
    check_image(prediction)
    if truth.shape != prediction.shape:
        raise InputError(f"truth {truth.shape[:2]} and prediction {prediction.shape[:2]}: expected one size.")
    if hole is None:
        return
    if hole.dtype != np.bool_:
        raise TypeError(f"expected a bool mask, True = hole, got {hole.dtype}")
    if hole.shape != truth.shape[:2]:
        raise InputError(f"mask {hole.shape} and images {truth.shape[:2]}: expected one size.")


def _difference(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None) -> np.ndarray:
    check_pair(truth, prediction, hole)
    difference = truth.astype(np.int64) - prediction
    return difference if hole is None else difference[hole]
