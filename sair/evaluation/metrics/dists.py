"""Compute deep image structure and texture similarity (Ding et al., TPAMI 2022) with the features of VGG16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sair.common.errors import InputError
from sair.evaluation.metrics.metric import SMALLEST, Metric, check_image

# torch is imported by the functions that compute: the workflow reads the registry while it plans.
if TYPE_CHECKING:
    import torch
    from torch import Tensor

STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # convolutions between two poolings
CHANNELS = (3, 64, 128, 256, 512, 512)  # of the image, then of each stage's last map
SMALL = 1e-6  # keeps the quotients of structure and texture defined


class Dists:
    """DISTS, a ``PairNetwork``.

    Structure and texture of the image itself and of five maps of VGG16, whose max pooling is replaced by an L2 pooling.
    The images are not resized; the authors' example script first reduces the shorter side to 256 pixels.

    Args:
        device: where the network runs; always float32.

    Raises:
        InputError: the weights are missing or do not fit.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        import torch

        from sair.weights.imagenet import IMAGENET_MEAN, IMAGENET_STD
        from sair.weights.networks import dists_weights, vgg16_state

        self.device = torch.device(device)
        self._state = {name: tensor.to(self.device) for name, tensor in vgg16_state().items()}
        alpha, beta = (part.flatten().double() for part in dists_weights())
        if not len(alpha) == len(beta) == sum(CHANNELS):
            raise InputError(
                f"DISTS: {len(alpha)} and {len(beta)} weights, expected {sum(CHANNELS)} each. Delete its file and "
                "run: sair weights fetch dists"
            )
        total = alpha.sum() + beta.sum()
        self._texture, self._structure = (
            [part.to(self.device) for part in (weights / total).float().split(CHANNELS)] for weights in (alpha, beta)
        )
        window = torch.from_numpy(np.outer(np.hanning(5)[1:-1], np.hanning(5)[1:-1])).float()
        self._window = (window / window.sum()).to(self.device)
        self._mean = torch.tensor(IMAGENET_MEAN, device=self.device).view(1, 3, 1, 1)
        self._deviation = torch.tensor(IMAGENET_STD, device=self.device).view(1, 3, 1, 1)

    def features(self, images: Sequence[np.ndarray]) -> list[Tensor]:
        """Return the images in [0, 1], and the last map of each stage.

        Args:
            images: uint8 (H, W, 3) each, all of one size, both sides at least 11 pixels.

        Returns:
            Six float32 maps (N, C, h, w) on the device.

        Raises:
            InputError: images too small or of several sizes.
            TypeError: an image that is not uint8 RGB.
        """
        import torch
        import torch.nn.functional as F

        from sair.evaluation.precision import full_precision

        for image in images:
            check_image(image, SMALLEST)
        if len({image.shape for image in images}) != 1:
            raise InputError("DISTS takes a batch of one or more images of one size; batch them by size.")
        batch = torch.from_numpy(np.stack(list(images))).to(self.device).permute(0, 3, 1, 2).float() / 255
        maps, hidden = [batch], (batch - self._mean) / self._deviation
        with full_precision(self.device):
            for number, stage in enumerate(STAGES):
                if number:
                    hidden = self._pooled(hidden)
                for layer in stage:
                    weight, bias = (self._state[f"features.{layer}.{part}"] for part in ("weight", "bias"))
                    hidden = F.conv2d(hidden, weight, bias, padding=1).relu_()
                maps.append(hidden)
        return maps

    def _pooled(self, maps: Tensor) -> Tensor:
        """Return the L2 pooling: the root of the windowed mean of squares, at half the resolution."""
        import torch.nn.functional as F

        channels = maps.shape[1]
        window = self._window.expand(channels, 1, *self._window.shape)
        return (F.conv2d(maps**2, window, stride=2, padding=1, groups=channels) + 1e-12).sqrt()

    def distance(self, features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> np.ndarray:
        """Return the distances of two batches of features, float64 (N,)."""
        import torch

        similar = torch.zeros(len(features_a[0]), device=self.device)
        for a, b, texture, structure in zip(features_a, features_b, self._texture, self._structure, strict=True):
            mean_a, mean_b = (maps.mean((2, 3), keepdim=True) for maps in (a, b))
            of_means = (2 * mean_a * mean_b + SMALL) / (mean_a**2 + mean_b**2 + SMALL)
            variance_a, variance_b = (((maps - mean) ** 2).mean((2, 3)) for maps, mean in ((a, mean_a), (b, mean_b)))
            covariance = (a * b).mean((2, 3)) - (mean_a * mean_b)[:, :, 0, 0]
            of_variation = (2 * covariance + SMALL) / (variance_a + variance_b + SMALL)
            similar = similar + of_means[:, :, 0, 0] @ texture + of_variation @ structure
        return (1 - similar).double().cpu().numpy()


METRIC = Metric(
    name="dists",
    label="DISTS",
    decimals=3,
    higher_is_better=False,
    convention="vgg16,l2-pooling,range=[0,1],not-resized",
    network=Dists,
    weights=("vgg16", "dists"),
    optional=True,
    valid=(-1e-5, 2),  # rounding may pass 0 in the last digits
)
