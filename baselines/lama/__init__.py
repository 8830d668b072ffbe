"""LaMa (Suvorov et al., WACV 2022): resolution-robust large mask inpainting with Fourier convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from baselines.lama import losses
from baselines.lama.checkpoint import load_authors_checkpoint
from baselines.lama.discriminator import PatchDiscriminator
from baselines.lama.model import LaMaGenerator
from baselines.lama.perceptual import hrf_features
from baselines.losses import Extractor, Vgg, lazily
from baselines.networks import evaluating, frozen

__all__ = ["LaMa", "LaMaGenerator", "PatchDiscriminator", "load_authors_checkpoint"]

Step = Callable[[str, Tensor], None]
# The perceptual loss by its network: the extractor, and the default weight. The published 30 belongs to the authors'
# own network, `hrf`; where they ablate it with a VGG, they weigh 0.03 and sum over a batch of 10, 0.3 times the mean.
PERCEPTUAL = {None: (None, 0.0), "vgg16": (Vgg, 0.3), "hrf": (partial(Extractor, hrf_features), 30.0)}


class LaMa(nn.Module):
    """The method: generator, discriminator and their alternating training step.

    The defaults are the published ``lama-fourier`` (9 blocks); ``blocks=18`` is ``big-lama``.

    Args:
        base_channels: generator's width after its first convolution.
        blocks: residual blocks of the generator.
        ratio: global share of the blocks' channels.
        downsamplings: halvings of the side before the blocks; the published models have 3 for 256 pixels.
        discriminator_channels: width of the discriminator's first layer.
        discriminator_layers: halvings of the side in the discriminator; sets its patch (142 pixels with 4).
        l1_weight: L1 on known pixels.
        l1_hole_weight: L1 in the hole, none in the published training.
        adversarial_weight: generator's adversarial loss.
        feature_matching_weight: distance in the discriminator's features.
        perceptual_weight: distance in the features of ``perceptual``; None takes that network's own, 30 or 0.3.
        r1_weight: gradient penalty of the discriminator.
        generator_lr: Adam's learning rate for the generator.
        discriminator_lr: Adam's learning rate for the discriminator.
        perceptual: ``hrf``, the authors' dilated ResNet-50 (its weights are fetched by hand, see ``card.yaml``),
            ``vgg16``, or none.
        vgg_share: share of the steps in which the perceptual loss is computed (``losses.lazily``), as published 1.
        pretrained: the authors' ``best.ckpt`` of this size.

    Raises:
        InputError: ``pretrained`` does not hold exactly the generator's weights.
    """

    def __init__(
        self,
        *,
        base_channels: int = 64,
        blocks: int = 9,
        ratio: float = 0.75,
        downsamplings: int = 3,
        discriminator_channels: int = 64,
        discriminator_layers: int = 4,
        l1_weight: float = 10.0,
        l1_hole_weight: float = 0.0,
        adversarial_weight: float = 10.0,
        feature_matching_weight: float = 100.0,
        perceptual_weight: float | None = None,
        r1_weight: float = 0.001,
        generator_lr: float = 1e-3,
        discriminator_lr: float = 1e-4,
        perceptual: str | None = "vgg16",
        vgg_share: float = 1.0,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        if perceptual not in PERCEPTUAL:
            raise ValueError(f"perceptual {perceptual!r}: expected one of {', '.join(map(str, PERCEPTUAL))}.")
        self.generator = LaMaGenerator(base_channels, blocks, ratio, downsamplings)
        self.discriminator = PatchDiscriminator(discriminator_channels, discriminator_layers)
        self.l1_weight = l1_weight
        self.l1_hole_weight = l1_hole_weight
        self.adversarial_weight = adversarial_weight
        self.feature_matching_weight = feature_matching_weight
        self.r1_weight = r1_weight
        self.learning_rates = {"generator": generator_lr, "discriminator": discriminator_lr}
        self.perceptual = perceptual
        self.vgg_share = vgg_share
        extractor, usual = PERCEPTUAL[perceptual]
        self._features = extractor and extractor()
        self.perceptual_weight = usual if perceptual_weight is None else perceptual_weight
        if pretrained is not None:
            load_authors_checkpoint(pretrained, self.generator)

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Fill holes with the generator, in evaluation mode and without gradients.

        Args:
            images: (B, 3, H, W) in [0, 1], hole pixels zero.
            masks: (B, 1, H, W) in {0, 1}, 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1]: the whole painted image, not composited.
        """
        with evaluating(self.generator):
            return self.generator(images, masks)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam with default betas for each network, as published."""
        return {
            name: torch.optim.Adam(getattr(self, name).parameters(), lr=rate)
            for name, rate in self.learning_rates.items()
        }

    def training_step(self, batch: Mapping[str, Tensor], step: Step) -> dict[str, Tensor]:
        """One step of the generator, then one of the discriminator against the updated generator, as published.

        Args:
            batch: ``images`` (B, 3, H, W) complete, in [0, 1]; ``masks`` (B, 1, H, W), 1 = hole.
            step: called with an optimizer's name and its loss; runs backward and the update.

        Returns:
            scalars to log, weighted as they enter the losses.
        """
        images, masks = batch["images"], batch["masks"]
        with frozen(self.discriminator):
            terms = self._generator_terms(images, masks)
            loss = sum(terms.values())
            step("generator", loss)
        terms_d = self._discriminator_terms(images, masks)
        step("discriminator", sum(terms_d.values()))
        logged = {"loss": loss} | terms | terms_d
        return {name: value.detach() for name, value in logged.items()}

    def _generator_terms(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        painted = self.generator(images, masks)
        with torch.no_grad():
            _, real_features = self.discriminator(images)
        fake_logits, fake_features = self.discriminator(painted)
        terms = {
            "l1": losses.masked_l1(painted, images, masks, self.l1_weight, self.l1_hole_weight),
            "adv": self.adversarial_weight * losses.adversarial_generator(fake_logits),
            "fm": self.feature_matching_weight * losses.feature_matching(fake_features, real_features),
        }
        if self._features is not None:
            terms |= lazily(
                self.vgg_share,
                lambda: {"perceptual": self.perceptual_weight * losses.perceptual(self._features, painted, images)},
            )
        return terms

    def _discriminator_terms(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            painted = self.generator(images, masks)
        # R1 differentiates twice through this pass, which reduced precision would spoil (or refuse).
        with torch.autocast(images.device.type, enabled=False):
            real = images.float().detach().requires_grad_(True)
            real_logits, _ = self.discriminator(real)
            r1 = losses.r1_penalty(real_logits, real)
        fake_logits, _ = self.discriminator(painted)
        adversarial = losses.adversarial_discriminator(real_logits, fake_logits, masks)
        return {"d": adversarial, "r1": self.r1_weight * r1}

    def weights_to_save(self) -> dict[str, Tensor]:
        """What inference needs: the generator's state, names prefixed ``generator.``."""
        return {f"generator.{key}": value for key, value in self.generator.state_dict().items()}
