"""Compute LaMa's training losses as pure functions, in float32.

Source: Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions", WACV 2022, section 2.2,
and the authors' training configuration, which adds the L1 term on known pixels. Predictions are never composited
before a loss, and images are (B, 3, H, W) in [0, 1], masks (B, 1, H, W) with 1 = hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional


def masked_l1(
    prediction: Tensor, target: Tensor, mask: Tensor, known_weight: float = 10.0, hole_weight: float = 0.0
) -> Tensor:
    """Return the mean over all pixels of the absolute error, with one weight for known and one for hole pixels.

    In the published configuration the weight of the hole is 0, because many fillings of it are right.
    """
    weights = known_weight * (1 - mask.float()) + hole_weight * mask.float()
    return (weights * (prediction.float() - target.float()).abs()).mean()


def adversarial_generator(fake_logits: Tensor) -> Tensor:
    """Return the non-saturating generator loss, -log D(fake), over all patches (equation 3)."""
    return functional.softplus(-fake_logits.float()).mean()


def adversarial_discriminator(real_logits: Tensor, fake_logits: Tensor, mask: Tensor) -> Tensor:
    """Return the non-saturating discriminator loss with a mask-aware target (equation 2).

    Only patches that touch generated pixels are called fake; the rest of a painted image counts as real. The mask
    is resized to the logits' size by nearest neighbour.
    """
    fake_logits = fake_logits.float()
    hole = functional.interpolate(mask.float(), size=fake_logits.shape[-2:], mode="nearest")
    fake = hole * functional.softplus(fake_logits) + (1 - hole) * functional.softplus(-fake_logits)
    return functional.softplus(-real_logits.float()).mean() + fake.mean()


def r1_penalty(real_logits: Tensor, real_images: Tensor) -> Tensor:
    """Return the squared gradient of the discriminator on real images, mean over the batch (section 2.2.3, R1).

    ``real_images`` must require a gradient, and ``real_logits`` must come from them in float32.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def feature_matching(fake_features: Sequence[Tensor], real_features: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers of the MSE between the discriminator's features (section 2.2.3, L_DiscPL)."""
    return torch.stack(_layer_errors(fake_features, real_features)).mean()


def perceptual(features: Callable[[Tensor], Sequence[Tensor]], prediction: Tensor, target: Tensor) -> Tensor:
    """Return the high-receptive-field perceptual loss: the sum over layers of the MSE between features (equation 1).

    Args:
        features: any frozen extractor of a list of feature maps from images in [0, 1]. The authors use a dilated
            ResNet-50 trained for segmentation on ADE20K.
        prediction: painted images.
        target: complete images; no gradient flows into them.
    """
    with torch.no_grad():
        wanted = features(target)
    return torch.stack(_layer_errors(features(prediction), wanted)).sum()


def _layer_errors(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[Tensor]:
    # Not `mse_loss`: the gradient of its mean would be a new tensor, in a layout that the network before would have to
    # change.
    return [(a.float() - b.float()).square().sum() / a.numel() for a, b in zip(found, wanted, strict=True)]
