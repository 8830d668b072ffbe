"""Compute feature vectors of images with the networks of ``metrics/features.py``."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from sair.common.errors import InputError
from sair.common.files import file_sha256
from sair.evaluation.metrics.features import NETWORKS
from sair.evaluation.precision import full_precision
from sair.weights.fetch import file
from sair.weights.imagenet import IMAGENET_MEAN, IMAGENET_STD
from sair.weights.openai import clip_state
from sair.weights.unpickle import load_tensors

SIDE = 299  # pixels; what both Inceptions see
# Mean and deviation of each channel.
IMAGENET = IMAGENET_MEAN, IMAGENET_STD
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PATCHES = 16  # of 14 pixels along the side of the 224 pixels that DINOv2 sees


class Extractor:
    """A network with its preparation of images, always float32.

    Args:
        name: name in ``NETWORKS``.
        device: where the network runs.

    Attributes:
        sha256: of the file of its weights.

    Raises:
        InputError: the weights are missing, or are not this network's.
    """

    def __init__(self, name: str, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        path = file(NETWORKS[name].entry)
        self.sha256 = file_sha256(path)
        build, self._prepare = EXTRACTORS[name]
        # Constructors draw random weights, which are overwritten; a forked generator leaves the caller's state.
        with torch.random.fork_rng(devices=[]):
            network, self._forward = build(path)
        self._network = network.to(self.device)

    def __call__(self, images: Iterable[np.ndarray], batch_size: int = 32) -> np.ndarray:
        """Return the features of images.

        Args:
            images: uint8 (H, W, 3) each, of any sizes.
            batch_size: images at once; it changes no result beyond the last bits.

        Returns:
            float32 (N, d)
        """
        waiting, parts = iter(images), []
        with full_precision(self.device):
            while batch := list(islice(waiting, batch_size)):
                parts.append(self._features(batch))
        return np.concatenate(parts)

    def _features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        # Prepare image by image, so that images of different sizes can share a batch.
        prepared = torch.cat([self._prepare(image, self.device) for image in images])
        return self._forward(self._network, prepared).flatten(1).float().cpu().numpy()


# --------------------------------------------------------------------------------------------------------------------
# Preparation of one image: (uint8 (H, W, 3), device) -> float32 (1, 3, side, side)


def _unit(image: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255


def _scaled(image: Tensor, constants: tuple[Sequence[float], Sequence[float]]) -> Tensor:
    mean, deviation = (torch.tensor(values, device=image.device).view(1, 3, 1, 1) for values in constants)
    return (image - mean) / deviation


def _for_pytorch_fid(image: np.ndarray, device: torch.device) -> Tensor:
    # Exactly as the network would resize.
    return F.interpolate(_unit(image, device), (SIDE, SIDE), mode="bilinear", align_corners=False)


def _for_torchvision(image: np.ndarray, device: torch.device) -> Tensor:
    from torchvision.models import Inception_V3_Weights

    transform = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    return transform(Image.fromarray(image))[None].to(device)


def for_clip(image: np.ndarray, device: torch.device) -> Tensor:
    """Resize the shorter side to 224 pixels with Pillow's bicubic filter in 8 bits, and crop the centre."""
    from torchvision.transforms import functional

    resized = functional.resize(Image.fromarray(image), 224, functional.InterpolationMode.BICUBIC)
    return _scaled(_unit(np.array(functional.center_crop(resized, [224, 224])), device), CLIP)


def _for_clip336(image: np.ndarray, device: torch.device) -> Tensor:
    """Resize to 336 pixels by bicubic interpolation without antialiasing, as CMMD's code does."""
    return _scaled(F.interpolate(_unit(image, device), (336, 336), mode="bicubic"), CLIP)


def _for_dinov2(image: np.ndarray, device: torch.device) -> Tensor:
    resized = Image.fromarray(image).resize((14 * PATCHES, 14 * PATCHES), Image.Resampling.BICUBIC)
    return _scaled(_unit(np.array(resized), device), IMAGENET)


# --------------------------------------------------------------------------------------------------------------------
# Networks: path of the weights -> (network, its forward function)

Forward = Callable[[Any, Tensor], Tensor]


def _tensors(path: Path) -> Any:
    try:
        return load_tensors(path)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused ({error}). Expected tensors only; do not trust this file.") from None


def _filled(network: nn.Module, state: Any, path: Path) -> nn.Module:
    try:
        network.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{path}: not the weights of this network ({error}). Fetch the file again.") from None
    return network.eval().requires_grad_(False)


def _pytorch_fid(path: Path) -> tuple[nn.Module, Forward]:
    from pytorch_fid import inception as published

    state = _tensors(path)
    # The constructor would download the file and unpickle it unchecked, so it gets the checked tensors instead.
    handed = mock.patch.object(published, "load_state_dict_from_url", lambda *_, **__: state)
    try:
        with handed:
            network = published.InceptionV3().eval()
    except RuntimeError as error:
        raise InputError(
            f"{path}: not the weights of pytorch-fid's Inception ({error}). Fetch the file again."
        ) from None
    return network, lambda network, images: network(images)[0]


def _torchvision(path: Path) -> tuple[nn.Module, Forward]:
    from torchvision.models import inception_v3

    # `transform_input` rescales the images to the [-1, 1] that the weights, ported from TensorFlow, were trained on.
    network = inception_v3(weights=None, transform_input=True, aux_logits=True, init_weights=False)
    network = _filled(network, _tensors(path), path)
    network.fc = nn.Identity()
    return network, lambda network, images: network(images)


def load_clip(architecture: str, path: Path) -> Any:
    """Return a CLIP of open_clip with OpenAI's weights, float32, without gradients.

    Args:
        architecture: such as ``ViT-L-14``.
        path: OpenAI's file, whose hash has been checked.

    Raises:
        InputError: the file has the weights of another network.
    """
    import open_clip

    # OpenAI's weights were trained with QuickGELU.
    clip = open_clip.create_model(f"{architecture}-quickgelu", load_weights=False)
    _filled(clip, clip_state(path), path)
    return clip


def _clip(architecture: str, path: Path) -> tuple[nn.Module, Forward]:
    return load_clip(architecture, path).visual, lambda visual, images: visual(images)


def _dinov2(path: Path) -> tuple[nn.Module, Forward]:
    import timm
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    network = timm.create_model(
        "vit_large_patch14_dinov2", pretrained=False, num_classes=0, img_size=14 * PATCHES, global_pool="token"
    )
    state = dict(_tensors(path))
    state["pos_embed"] = _positions(state["pos_embed"])
    state = checkpoint_filter_fn(state, cast(VisionTransformer, network))
    return _filled(network, state, path), lambda network, images: network(images)


def _positions(stored: Tensor) -> Tensor:
    """Return DINOv2's position embeddings (1, 1 + P², d) for ``PATCHES`` patches a side, resized as in its own code."""
    token, grid = stored[:, :1], stored[:, 1:]
    side = math.isqrt(grid.shape[1])
    grid = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    # Its code adds 0.1 so that rounding cannot lose a patch, which also shifts the positions slightly.
    scale = (PATCHES + 0.1) / side
    grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([token, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


Build = Callable[[Path], tuple[nn.Module, Forward]]
Prepare = Callable[[np.ndarray, torch.device], Tensor]
EXTRACTORS: dict[str, tuple[Build, Prepare]] = {
    "inception": (_pytorch_fid, _for_pytorch_fid),
    "torchvision": (_torchvision, _for_torchvision),
    "clip": (lambda path: _clip("ViT-B-32", path), for_clip),
    "clip336": (lambda path: _clip("ViT-L-14-336", path), _for_clip336),
    "dinov2": (_dinov2, _for_dinov2),
}
