"""Compute learned perceptual image patch similarity (Zhang et al., CVPR 2018).

AlexNet's features are the default. Papers also print it with VGG16's (LaMa) and SqueezeNet's (BrushNet); the three are
different numbers under one name.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sair.common.errors import InputError
from sair.evaluation.metrics.metric import Metric, check_image

# torch is imported by the functions that compute: the workflow reads the registry while it plans.
if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Pixels; below this side nothing is left for the last pooling.
SMALLEST_OF = {"alex": 31, "vgg": 16, "squeeze": 17}
LPIPS_SMALLEST = SMALLEST_OF["alex"]
NO_LENGTH = 1e-10  # added to the length of a feature vector before it divides the vector, as the lpips package does


class Lpips:
    """LPIPS v0.1, a ``PairNetwork``.

    The network is that of the ``lpips`` package, with the convolutions of ``sair.weights`` and the linear layers of the
    package's own file, both loaded strictly. On a CPU, AlexNet convolves images above 170 pixels with fewer
    multiplications (``sair.evaluation.metrics.winograd``), which changes a distance by less than 1e-6.

    Args:
        device: where the network runs; always float32.
        backbone: ``alex``, ``vgg`` or ``squeeze``.

    Raises:
        InputError: the weights are missing or do not fit.
    """

    def __init__(self, device: str | torch.device = "cpu", backbone: str = "alex") -> None:
        import torch

        from sair.evaluation.metrics.winograd import use_winograd

        self.device = torch.device(device)
        self._smallest = SMALLEST_OF[backbone]
        network: Any = _build_lpips(backbone).to(self.device)  # with the lpips package's attributes
        if self.device.type == "cpu" and backbone == "alex":  # the features of the others are too large for it
            use_winograd(network.net)
        self._network = network

    def __call__(
        self,
        truths: Sequence[np.ndarray] | np.ndarray,
        predictions: Sequence[np.ndarray] | np.ndarray,
        batch_size: int = 16,
    ) -> np.ndarray:
        """Return the distances of image pairs.

        Args:
            truths, predictions: two lists of uint8 (H, W, 3) or two arrays (N, H, W, 3), all of one size.
            batch_size: pairs at once; changes the result by less than 1e-6.

        Returns:
            float64 (N,), 0 for equal images.

        Raises:
            InputError: images too small or of several sizes.
            TypeError: an image that is not uint8 RGB.
            ValueError: lists of different lengths.
        """
        if len(truths) != len(predictions):
            raise ValueError(f"{len(truths)} truths and {len(predictions)} predictions: expected equal numbers")
        starts = range(0, len(truths), batch_size)
        batches = [slice(start, start + batch_size) for start in starts]
        for truth, prediction in zip(truths, predictions, strict=True):
            if truth.shape != prediction.shape:
                raise InputError(
                    f"a ground truth of {truth.shape} and a prediction of {prediction.shape}: give them one size."
                )
        parts = [self.distance(self.features(truths[b]), self.features(predictions[b])) for b in batches]
        return np.concatenate(parts) if parts else np.empty(0)

    def features(self, images: Sequence[np.ndarray] | np.ndarray) -> list[Tensor]:
        """Return the unit-length features of a batch.

        Args:
            images: uint8 (H, W, 3) each, all of one size, both sides at least 31 pixels (VGG16: 16, SqueezeNet: 17).

        Returns:
            Five float32 maps (N, C, h, w) on the device, of SqueezeNet seven.

        Raises:
            InputError: images too small or of several sizes.
            TypeError: an image that is not uint8 RGB.
        """
        import torch

        from sair.evaluation.precision import full_precision

        for image in images:
            check_image(image, self._smallest)
        if len({image.shape for image in images}) != 1:
            raise InputError("LPIPS takes a batch of one or more images of one size; batch them by size.")
        # Contiguous: stacked images keep the order in memory that they share, such as that of a transposed tensor, and
        # then `flatten` copies, so that the scaling in place would be lost.
        stacked = np.ascontiguousarray(np.stack(list(images)))
        batch = torch.from_numpy(stacked).to(self.device).float()
        scaling = self._network.scaling_layer
        # Repeated for a row of pixels: an operation over rows is many times as fast as one over the three channels.
        shift, scale = (values.flatten().repeat(batch.shape[2]) for values in (scaling.shift, scaling.scale))
        # In place throughout: new tensors of this size cost as much time as a tenth of the convolutions.
        with full_precision(self.device):
            # The published scaling: [0, 255] to [-1, 1], then by mean and deviation of each channel.
            batch.flatten(2).div_(127.5).sub_(1).sub_(shift).div_(scale)
            return [
                features.div_(torch.linalg.vector_norm(features, dim=1, keepdim=True).add_(NO_LENGTH))
                for features in self._network.net(batch.permute(0, 3, 1, 2))
            ]

    def distance(self, features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> np.ndarray:
        """Return the distances of two batches of features, float64 (N,)."""
        from sair.evaluation.precision import full_precision

        with full_precision(self.device):
            layers = [
                # A trained non-negative weight per channel, then the mean over positions.
                linear((a - b).square_()).mean(dim=(1, 2, 3))
                for linear, a, b in zip(self._network.lins, features_a, features_b, strict=True)
            ]
            # Summed in the order of the layers.
            total = sum(layers[1:], layers[0])
        return total.double().cpu().numpy()


def _build_lpips(backbone: str) -> torch.nn.Module:
    """Return the network of the lpips package with checked weights, in evaluation mode and without gradients."""
    import lpips
    import torch

    from sair.weights import networks

    states: dict[str, Callable[[], dict[str, Tensor]]] = {
        "alex": networks.alexnet_state,
        "vgg": networks.vgg16_state,
        "squeeze": networks.squeezenet_state,
    }
    # The constructor draws random weights, which are overwritten below; a forked generator leaves the caller's state.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # torchvision's deprecation of the arguments that lpips passes
        network = lpips.LPIPS(pretrained=False, net=backbone, version="0.1", pnet_rand=True, verbose=False)
    # lpips splits torchvision's `features` into slices but keeps the index: slice2.3.weight is features.3.weight.
    state = states[backbone]()
    renamed = {key: f"features.{key.partition('.')[2]}" for key in network.net.state_dict()}
    if set(renamed.values()) != set(state):
        raise InputError(
            f"lpips: its {backbone} lacks or adds {sorted(set(renamed.values()) ^ set(state))}; use lpips 0.1.4."
        )
    network.net.load_state_dict({key: state[name] for key, name in renamed.items()}, strict=True)
    linear = networks.lpips_linear_state(backbone)
    _same_keys("linear layers", (f"lin{index}.model.1.weight" for index in range(len(network.lins))), linear)
    for index, layer in enumerate(network.lins):
        layer.load_state_dict({"model.1.weight": linear[f"lin{index}.model.1.weight"]}, strict=True)
    return network.eval().requires_grad_(False)


def _same_keys(part: str, expected: Iterable[str], given: Iterable[str]) -> None:
    different = sorted(set(expected) ^ set(given))
    if different:
        raise InputError(f"lpips: its {part} and the weights differ in {different}; install lpips 0.1.4.")


METRIC = Metric(
    name="lpips",
    label="LPIPS",
    decimals=3,
    higher_is_better=False,
    convention="v0.1,alexnet,range=[-1,1]",
    network=Lpips,
    smallest=LPIPS_SMALLEST,
    valid=(-1e-6, math.inf),  # rounding may pass 0 in the last digits
)

VGG = Metric(
    name="lpipsvgg",
    label="LPIPS (VGG)",
    decimals=3,
    higher_is_better=False,
    convention="v0.1,vgg16,range=[-1,1]",
    network=partial(Lpips, backbone="vgg"),
    weights=("vgg16", "lpips_vgg"),
    optional=True,
    smallest=SMALLEST_OF["vgg"],
    valid=(-1e-6, math.inf),
)

SQUEEZE = Metric(
    name="lpipssqueeze",
    label="LPIPS (SqueezeNet)",
    decimals=3,
    higher_is_better=False,
    convention="v0.1,squeezenet1.1,range=[-1,1]",
    network=partial(Lpips, backbone="squeeze"),
    weights=("squeezenet", "lpips_squeeze"),
    optional=True,
    smallest=SMALLEST_OF["squeeze"],
    valid=(-1e-6, math.inf),
)

OUTSIDE = Metric(
    name="lpipsoutside",
    label="LPIPS outside",
    decimals=3,
    higher_is_better=False,
    convention="v0.1,alexnet,range=[-1,1],raw-prediction,hole-black-in-both",
    network=Lpips,
    known_only=True,
    optional=True,
    smallest=LPIPS_SMALLEST,
    valid=(-1e-6, math.inf),
)
