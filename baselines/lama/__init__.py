"""LaMa (Suvorov et al., WACV 2022): resolution-robust large mask inpainting with Fourier convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.lama import losses
from baselines.lama.checkpoint import load_authors_checkpoint
from baselines.lama.discriminator import PatchDiscriminator
from baselines.lama.model import LaMaGenerator
from baselines.lama.perceptual import hrf_features
from baselines.losses import Extractor, Vgg, lazily, total
from baselines.method import PublishedMethod, Step, detached
from baselines.networks import frozen

__all__ = ["LaMa", "LaMaGenerator", "PatchDiscriminator", "load_authors_checkpoint"]

# By the network of the perceptual loss: its extractor and default weight. The published weight of 30 is for `hrf`, the
# authors' own network. In their ablation with a VGG the weight is 0.03 and the loss a sum over a batch of 10: 0.3 times
# the mean.
PERCEPTUAL = {None: (None, 0.0), "vgg16": (Vgg, 0.3), "hrf": (partial(Extractor, hrf_features), 30.0)}


class LaMa(PublishedMethod):
    """The method: generator, discriminator and their alternating training step.

    The defaults are the published ``lama-fourier`` (9 blocks); ``blocks=18`` is ``big-lama``.

    Args:
        channels: the generator's width after its first convolution.
        blocks: residual blocks of the generator.
        ratio: global share of the blocks' channels.
        downsamplings: halvings of the side before the blocks; the published models have 3 for 256 pixels.
        discriminator_channels: width of the discriminator's first layer.
        discriminator_downsamplings: halvings of the side in the discriminator; sets its patch (142 pixels with 4).
        l1_weight: L1 on known pixels.
        l1_hole_weight: L1 in the hole; 0 in the published training.
        adversarial_weight: generator's adversarial loss.
        feature_matching_weight: distance in the discriminator's features.
        perceptual_weight: distance in the features of ``perceptual``; None: that network's default, 30 or 0.3.
        r1_weight: gradient penalty of the discriminator.
        lr: Adam's learning rate for the generator.
        discriminator_lr: Adam's learning rate for the discriminator.
        perceptual: ``hrf``, the authors' dilated ResNet-50 (its weights must be fetched by hand, see ``card.yaml``),
            ``vgg16``, or none.
        vgg_share: share of the steps in which the perceptual loss is computed (``losses.lazily``), as published 1.
        pretrained: the authors' ``best.ckpt`` of this size.

    Raises:
        InputError: ``pretrained`` does not contain exactly the generator's weights.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        blocks: int = 9,
        ratio: float = 0.75,
        downsamplings: int = 3,
        discriminator_channels: int = 64,
        discriminator_downsamplings: int = 4,
        l1_weight: float = 10.0,
        l1_hole_weight: float = 0.0,
        adversarial_weight: float = 10.0,
        feature_matching_weight: float = 100.0,
        perceptual_weight: float | None = None,
        r1_weight: float = 0.001,
        lr: float = 1e-3,
        discriminator_lr: float = 1e-4,
        perceptual: str | None = "vgg16",
        vgg_share: float = 1.0,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        if perceptual not in PERCEPTUAL:
            raise ValueError(f"perceptual {perceptual!r}: expected one of {', '.join(map(str, PERCEPTUAL))}.")
        self.generator = LaMaGenerator(channels, blocks, ratio, downsamplings)
        self.discriminator = PatchDiscriminator(discriminator_channels, discriminator_downsamplings)
        self.learning_rates = {"generator": lr, "discriminator": discriminator_lr}
        self.perceptual = perceptual
        self.vgg_share = vgg_share
        extractor, usual = PERCEPTUAL[perceptual]
        self._features = extractor() if extractor is not None else None
        self.weights = {
            "l1": l1_weight,
            "l1_hole": l1_hole_weight,
            "adv": adversarial_weight,
            "fm": feature_matching_weight,
            "perceptual": usual if perceptual_weight is None else perceptual_weight,
            "r1": r1_weight,
        }
        if pretrained is not None:
            load_authors_checkpoint(self.generator, pretrained)

    def paint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Paint the whole image; same as in ``PublishedMethod``."""
        return self.generator(images, masks)

    def training_step(self, batch: Mapping[str, Any], step: Step) -> dict[str, Tensor]:
        """Make a step of the generator, then one of the discriminator against the updated generator, as published.

        Arguments and result are the same as in ``PublishedMethod``.
        """
        images, masks = batch["images"], batch["masks"]
        with frozen(self.discriminator):
            terms = self._generator_terms(images, masks)
            loss = total(terms)
            step("generator", loss)
        terms_d = self._discriminator_terms(images, masks)
        step("discriminator", total(terms_d))
        return detached({"loss": loss} | terms | terms_d)

    def _generator_terms(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        painted = self.generator(images, masks)
        with torch.no_grad():
            _, real_features = self.discriminator(images)
        fake_logits, fake_features = self.discriminator(painted)
        terms = {
            "l1": losses.masked_l1(painted, images, masks, self.weights["l1"], self.weights["l1_hole"]),
            "adv": self.weights["adv"] * losses.adversarial_generator(fake_logits),
            "fm": self.weights["fm"] * losses.feature_matching(fake_features, real_features),
        }
        if (features := self._features) is not None:
            weight = self.weights["perceptual"]
            terms |= lazily(
                self.vgg_share, lambda: {"perceptual": weight * losses.perceptual(features, painted, images)}
            )
        return terms

    def _discriminator_terms(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            painted = self.generator(images, masks)
        # R1 differentiates twice through this pass, which reduced precision makes inaccurate or impossible.
        with torch.autocast(images.device.type, enabled=False):
            real = images.float().detach().requires_grad_(True)
            real_logits, _ = self.discriminator(real)
            r1 = losses.r1_penalty(real_logits, real)
        fake_logits, _ = self.discriminator(painted)
        adversarial = losses.adversarial_discriminator(real_logits, fake_logits, masks)
        return {"d": adversarial, "r1": self.weights["r1"] * r1}
