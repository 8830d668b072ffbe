"""Compute losses that several published methods share, in float32 on images (B, 3, H, W) in [0, 1].

Any frozen ``images -> list of maps`` can be a feature extractor; ``sair.weights.networks.vgg16_features`` is the one
that works offline (the authors of EdgeConnect, StructureFlow and MISF use VGG19, those of RFRNet VGG16).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sair.common.tensors import constants
from sair.weights.imagenet import IMAGENET_MEAN, IMAGENET_STD

Features = Callable[[Tensor], Sequence[Tensor]]


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of a loss's terms; there must be at least one."""
    return cast(Tensor, sum(terms.values()))


def gram(features: Tensor) -> Tensor:
    """Return Gram matrices over positions, (B, C, h, w) -> (B, C, C), divided by C * h * w."""
    flat = features.float().flatten(2)
    # Under autocast a product of float32 tensors is bfloat16, which is too coarse for a difference of sums.
    with torch.autocast(features.device.type, enabled=False):
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def perceptual(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return the sum over layers of the mean absolute difference of features (Johnson et al., 2016)."""
    return torch.stack([_distance(a.float(), b.float()) for a, b in zip(found, wanted, strict=True)]).sum()


def _distance(a: Tensor, b: Tensor) -> Tensor:
    # The gradient of a mean would be a new tensor, in a layout that the network before would have to change.
    return (a - b).abs().sum() / a.numel()


def style(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return the sum over layers of the mean absolute difference of Gram matrices (Gatys et al., 2016)."""
    return torch.stack([functional.l1_loss(gram(a), gram(b)) for a, b in zip(found, wanted, strict=True)]).sum()


def due(share: float) -> bool:
    """Return whether this step is one of a random ``share`` of the steps; with ``share`` 1, every step is."""
    return share >= 1 or bool(torch.rand(()) < share)


def lazily(share: float, terms: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Compute costly terms only in a random ``share`` of the steps, divided by it, so that their mean is unchanged.

    This is known as lazy regularisation (Karras et al., CVPR 2020, appendix B). ``share`` 1 is every step.
    """
    return shared(share, terms()) if due(share) else {}


def shared(share: float, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Divide terms by the share of the steps in which they are computed."""
    return {name: value / share for name, value in terms.items()}


def content_and_style(
    vgg: Features, painted: Tensor, images: Tensor, masks: Tensor, content_weight: float, style_weight: float
) -> dict[str, Tensor]:
    """Return the perceptual loss of images and the style loss of their holes, as in EdgeConnect and MISF.

    Args:
        vgg: the extractor; the style loss does not use its first map.
        painted: (B, 3, H, W) in [0, 1].
        images: the ground truth, same shape and range.
        masks: (B, 1, H, W), 1 = hole.
        content_weight: factor of the term ``content``; 0 leaves it out.
        style_weight: factor of the term ``style``; 0 leaves it out.

    Returns:
        the terms by name, weighted.
    """
    terms = {}
    if content_weight:
        terms["content"] = content_weight * perceptual(vgg(painted), vgg(images))
    if style_weight:
        terms["style"] = style_weight * style(vgg(painted * masks)[1:], vgg(images * masks)[1:])
    return terms


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of vertical neighbours plus that of horizontal ones."""
    images = images.float()
    return (images[..., 1:, :] - images[..., :-1, :]).abs().mean() + (images[..., 1:] - images[..., :-1]).abs().mean()


def adversarial(logits: Tensor, real: bool, kind: str = "nsgan") -> Tensor:
    """Return the mean loss of a discriminator's logits with respect to calling everything real (or fake).

    Args:
        logits: the discriminator's last layer, before any sigmoid.
        real: whether the images should be called real.
        kind: ``nsgan``, binary cross entropy, or ``lsgan``, squared error.
    """
    target = torch.full_like(logits, float(real), dtype=torch.float32)
    if kind == "nsgan":
        return functional.binary_cross_entropy_with_logits(logits.float(), target)
    return functional.mse_loss(logits.float(), target)


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Return a discriminator's loss: the mean of ``adversarial`` on its logits of real and of painted images."""
    return (adversarial(real, real=True) + adversarial(fake, real=False)) / 2


class Extractor:
    """A frozen feature extractor, built on first use and not stored in its owner's checkpoint.

    Args:
        make: function that builds the network.
    """

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self._make = make
        self._network: list[nn.Module] = []  # in a list, so that nn.Module does not register it as a part of its owner

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """Return the feature maps of images (B, 3, H, W) in [0, 1]."""
        return self.network(images.device)(images)

    def network(self, device: torch.device) -> nn.Module:
        """Return the network on a device."""
        if not self._network:
            # Channels last, as the trained networks, because both a CPU and a GPU are faster with it in bfloat16.
            network: Any = self._make()  # PyTorch's types lack `memory_format`
            self._network.append(network.to(memory_format=torch.channels_last))
        return self._network[0].to(device)

    def __deepcopy__(self, memo: Any) -> Extractor:
        copied = copy.copy(self)
        copied._network = []
        return copied


class Vgg(Extractor):
    """VGG16 as a frozen feature extractor.

    Args:
        maps: number of its five feature maps to compute at most, starting with the finest.
        normalised: normalise images as in VGG16's own training. Several authors omit this, and chose their weights of
            the losses accordingly.
    """

    def __init__(self, maps: int = 5, normalised: bool = True) -> None:
        super().__init__(self._cut)
        self._maps, self._normalised = maps, normalised

    def _cut(self) -> nn.Module:
        from sair.weights.networks import vgg16_features  # only training needs its weights

        network = vgg16_features()
        if self._maps < 5:
            del network.features[sorted(network.TAPS)[self._maps - 1] + 1 :]
        return network

    def __call__(self, images: Tensor, maps: int = 5) -> Sequence[Tensor]:
        """Return the finest ``maps`` feature maps of images (B, 3, H, W) in [0, 1]."""
        if not self._normalised:
            # The extractor begins with the normalisation. Invert it beforehand, so that the two cancel.
            mean, std = (constants(v, images.device, images.dtype).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
            images = images * std + mean
        return self.network(images.device)(images, maps)
