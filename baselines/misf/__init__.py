"""MISF (Li et al., CVPR 2022): multi-level interactive siamese filtering for high-fidelity image inpainting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines import losses
from baselines.misf.checkpoint import load_authors_checkpoint
from baselines.misf.model import MISFGenerator
from baselines.networks import PatchDiscriminator, frozen

__all__ = ["MISF", "MISFGenerator", "load_authors_checkpoint"]

Step = Callable[[str, Tensor], None]


class MISF(nn.Module):
    """The method: generator, discriminator and their training step. The defaults are the published ones.

    Args:
        base_channels: channels after the generator's first convolution.
        blocks: residual blocks of the generator.
        discriminator_channels: width of the discriminator's first layer.
        discriminator_downsamplings: halvings of the side in the discriminator; sets its patch (70 pixels with 3).
        l1_weight: L1 over the image, divided by the share of hole pixels in the batch.
        content_weight: distance of VGG16's features of the images.
        style_weight: distance of the Gram matrices of VGG16's features of the holes. VGG16 is not needed where this
            and ``content_weight`` are 0.
        vgg_share: share of the steps in which VGG16's losses are computed (``losses.lazily``), as published 1.
        adversarial_weight: the generator's adversarial loss.
        lr: Adam's learning rate for the generator; the discriminator has a tenth of it.
        pretrained: the authors' ``<name>_InpaintingModel_gen.pth`` to load into the generator.

    Raises:
        InputError: ``pretrained`` does not hold exactly the generator's weights.
    """

    def __init__(
        self,
        *,
        base_channels: int = 64,
        blocks: int = 8,
        discriminator_channels: int = 64,
        discriminator_downsamplings: int = 3,
        l1_weight: float = 1.0,
        content_weight: float = 0.1,
        style_weight: float = 250.0,
        vgg_share: float = 1.0,
        adversarial_weight: float = 0.1,
        lr: float = 1e-4,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.generator = MISFGenerator(base_channels, blocks)
        self.discriminator = PatchDiscriminator(3, discriminator_channels, discriminator_downsamplings)
        self.l1_weight = l1_weight
        self.content_weight = content_weight
        self.style_weight = style_weight
        self.vgg_share = vgg_share
        self.adversarial_weight = adversarial_weight
        self.learning_rates = {"generator": lr, "discriminator": 0.1 * lr}
        self._vgg = losses.Vgg(normalised=False)
        if pretrained is not None:
            load_authors_checkpoint(pretrained, self.generator)

    @torch.no_grad()
    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Fill holes with the generator, which has no mode: its norms see one image at a time.

        Args:
            images: (B, 3, H, W) in [0, 1], hole pixels zero.
            masks: (B, 1, H, W) in {0, 1}, 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1]: the whole painted image, not composited.
        """
        return self.generator(images, masks)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam with betas (0, 0.9) for each network, as published."""
        return {
            name: torch.optim.Adam(getattr(self, name).parameters(), lr=rate, betas=(0.0, 0.9))
            for name, rate in self.learning_rates.items()
        }

    def training_step(self, batch: Mapping[str, Tensor], step: Step) -> dict[str, Tensor]:
        """One step of the generator, then one of the discriminator against the same painted images.

        Args:
            batch: ``images`` (B, 3, H, W) complete, in [0, 1]; ``masks`` (B, 1, H, W), 1 = hole.
            step: called with an optimizer's name and its loss; runs backward and the update.

        Returns:
            scalars to log, weighted as they enter the losses.
        """
        images, masks = batch["images"], batch["masks"]
        painted = self.generator(images, masks)
        with frozen(self.discriminator):
            terms = self._generator_terms(painted, images, masks)
            loss = sum(terms.values())
            step("generator", loss)
        real = losses.adversarial(self.discriminator(images)[-1], real=True)
        fake = losses.adversarial(self.discriminator(painted.detach())[-1], real=False)
        terms["d"] = (real + fake) / 2
        step("discriminator", terms["d"])
        return {name: value.detach() for name, value in {"loss": loss, **terms}.items()}

    def _generator_terms(self, painted: Tensor, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        hole_share = masks.mean().clamp(min=1e-4)  # a batch without holes must not divide by zero
        terms = {
            "l1": self.l1_weight * functional.l1_loss(painted, images) / hole_share,
            "adv": self.adversarial_weight * losses.adversarial(self.discriminator(painted)[-1], real=True),
        }
        weights = self.content_weight, self.style_weight
        return terms | losses.lazily(
            self.vgg_share, lambda: losses.content_and_style(self._vgg, painted, images, masks, *weights)
        )

    def weights_to_save(self) -> dict[str, Tensor]:
        """What inference needs: the generator's state, names prefixed ``generator.``."""
        return {f"generator.{key}": value for key, value in self.generator.state_dict().items()}
