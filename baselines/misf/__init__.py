"""MISF (Li et al., CVPR 2022): multi-level interactive siamese filtering for high-fidelity image inpainting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from baselines import losses
from baselines.checkpoints import load_authors_checkpoint
from baselines.method import PublishedMethod, Step, detached
from baselines.misf.model import MISFGenerator
from baselines.networks import PatchDiscriminator, frozen

__all__ = ["MISF", "MISFGenerator"]


class MISF(PublishedMethod):
    """The method: generator, discriminator and their training step. The defaults are the published ones.

    Args:
        channels: channels after the generator's first convolution.
        blocks: residual blocks of the generator.
        discriminator_channels: width of the discriminator's first layer.
        discriminator_downsamplings: halvings of the side in the discriminator; sets its patch (70 pixels with 3).
        l1_weight: L1 over the image, divided by the share of hole pixels in the batch.
        content_weight: distance of VGG16's features of the images.
        style_weight: distance of the Gram matrices of VGG16's features of the holes. VGG16 is not needed if this
            and ``content_weight`` are 0.
        vgg_share: share of the steps in which VGG16's losses are computed (``losses.lazily``), as published 1.
        adversarial_weight: the generator's adversarial loss.
        lr: Adam's learning rate for the generator.
        discriminator_lr: Adam's learning rate for the discriminator; None for a tenth of ``lr``.
        pretrained: the authors' ``<name>_InpaintingModel_gen.pth`` to load into the generator.

    Raises:
        InputError: ``pretrained`` does not contain exactly the generator's weights.
    """

    betas = (0.0, 0.9)

    def __init__(
        self,
        *,
        channels: int = 64,
        blocks: int = 8,
        discriminator_channels: int = 64,
        discriminator_downsamplings: int = 3,
        l1_weight: float = 1.0,
        content_weight: float = 0.1,
        style_weight: float = 250.0,
        vgg_share: float = 1.0,
        adversarial_weight: float = 0.1,
        lr: float = 1e-4,
        discriminator_lr: float | None = None,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.generator = MISFGenerator(channels, blocks)
        self.discriminator = PatchDiscriminator(3, discriminator_channels, discriminator_downsamplings)
        self.weights = {
            "l1": l1_weight,
            "adv": adversarial_weight,
            "content": content_weight,
            "style": style_weight,
        }
        self.vgg_share = vgg_share
        self.learning_rates = {
            "generator": lr,
            "discriminator": 0.1 * lr if discriminator_lr is None else discriminator_lr,
        }
        self._vgg = losses.Vgg(normalised=False)
        if pretrained is not None:
            load_authors_checkpoint(self.generator, pretrained)

    def paint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Paint the whole image; same as in ``PublishedMethod``."""
        return self.generator(images, masks)

    def training_step(self, batch: Mapping[str, Any], step: Step) -> dict[str, Tensor]:
        """Make a step of the generator, then one of the discriminator against the same painted images.

        Arguments and result are the same as in ``PublishedMethod``.
        """
        images, masks = batch["images"], batch["masks"]
        painted = self.generator(images, masks)
        with frozen(self.discriminator):
            terms = self._generator_terms(painted, images, masks)
            loss = losses.total(terms)
            step("generator", loss)
        d = losses.discriminator(self.discriminator(images)[-1], self.discriminator(painted.detach())[-1])
        step("discriminator", d)
        return detached({"loss": loss, **terms, "d": d})

    def _generator_terms(self, painted: Tensor, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        hole_share = masks.mean().clamp(min=1e-4)  # a batch without holes must not divide by zero
        terms = {
            "l1": self.weights["l1"] * functional.l1_loss(painted, images) / hole_share,
            "adv": self.weights["adv"] * losses.adversarial(self.discriminator(painted)[-1], real=True),
        }
        weights = self.weights["content"], self.weights["style"]
        return terms | losses.lazily(
            self.vgg_share, lambda: losses.content_and_style(self._vgg, painted, images, masks, *weights)
        )
