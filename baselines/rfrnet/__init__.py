"""RFRNet (Li et al., CVPR 2020): recurrent feature reasoning for image inpainting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines import losses
from baselines.checkpoints import load_authors_checkpoint
from baselines.method import PublishedMethod, Stages, Step, detached
from baselines.rfrnet.model import RFRNetGenerator

__all__ = ["RFRNet", "RFRNetGenerator"]

PERCEPTUAL = (None, "vgg16")
STAGES = {"train": 0.7, "finetune": 0.3}


class RFRNet(PublishedMethod):
    """The method: generator, losses, and fine-tuning with fixed batch statistics. There is no discriminator.

    The defaults are the published ones.

    Args:
        channels, kernel, recurrences, strides: same as in ``RFRNetGenerator``.
        valid_weight: L1 on known pixels.
        hole_weight: L1 in the hole.
        tv_weight: total variation of the hole's filling.
        style_weight: distance of Gram matrices; not used without ``perceptual``.
        perceptual_weight: distance of features; not used without ``perceptual``.
        stages: shares of a run, by name: ``train`` and ``finetune``. The published values are 0.7 and 0.3 for
            CelebA, 2/3 and 1/3 elsewhere.
        lr: Adam's learning rate.
        finetune_lr: learning rate of the second stage, which starts with a fresh Adam.
        perceptual: the feature extractor, ``vgg16`` or none.
        vgg_share: share of the steps in which VGG16's losses are computed (``losses.lazily``), as published 1.
        pretrained: the authors' checkpoint to start from.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        kernel: int = 7,
        recurrences: int = 6,
        strides: Sequence[int] = (2, 2, 2),
        valid_weight: float = 1.0,
        hole_weight: float = 6.0,
        tv_weight: float = 0.1,
        style_weight: float = 120.0,
        perceptual_weight: float = 0.05,
        stages: Mapping[str, float] | None = None,
        lr: float = 2e-4,
        finetune_lr: float = 5e-5,
        perceptual: str | None = None,
        vgg_share: float = 1.0,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        if perceptual not in PERCEPTUAL:
            raise ValueError(f"perceptual {perceptual!r}: expected one of {', '.join(map(str, PERCEPTUAL))}.")
        self.generator = RFRNetGenerator(channels, kernel, recurrences, strides)
        self.weights = {
            "valid": valid_weight,
            "hole": hole_weight,
            "tv": tv_weight,
            "style": style_weight,
            "perceptual": perceptual_weight,
        }
        self.learning_rates = {"train": lr, "finetune": finetune_lr}
        self.stages = Stages(stages, STAGES)
        self.perceptual = perceptual
        self.vgg_share = vgg_share
        self._vgg = losses.Vgg(maps=3, normalised=False)
        if pretrained is not None:
            load_authors_checkpoint(self.generator, pretrained)

    def paint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Paint the whole image; same as in ``PublishedMethod``.

        The network's output is linear and is clamped here. A hole wider than the network can close (162 pixels at the
        published size) is black in its middle, same as in the authors' code.
        """
        return self.generator(images, masks).clamp(0, 1)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return an Adam for each stage, over the same weights."""
        parameters = list(self.generator.parameters())
        return {name: torch.optim.Adam(parameters, lr=rate) for name, rate in self.learning_rates.items()}

    def training_step(self, batch: Mapping[str, Any], step: Step) -> dict[str, Tensor]:
        """Make a step of the current stage; the second one keeps the running statistics of the batch normalisation.

        Arguments and result are the same as in ``PublishedMethod``.
        """
        stage = self.stages.at(batch.get("progress", 0.0))
        for module in self.generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(stage != "finetune")
        terms = self._terms(batch["images"], batch["masks"])
        loss = losses.total(terms)
        step(stage, loss)
        return detached({"loss": loss} | terms)

    def _terms(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        painted = self.generator(images, masks)
        composite = painted * masks + images * (1 - masks)
        error = (painted - images).abs()
        terms = {
            "valid": (error * (1 - masks)).mean(),
            "hole": (error * masks).mean(),
            "tv": losses.total_variation(composite * masks),
        }
        if self.perceptual is not None:
            terms |= losses.lazily(self.vgg_share, lambda: self._feature_terms(painted, composite, images))
        return {name: self.weights[name] * value for name, value in terms.items()}

    def _feature_terms(self, painted: Tensor, composite: Tensor, images: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = pools(self._vgg, images)
        found = [pools(self._vgg, images) for images in (painted, composite)]
        return {
            "style": losses.style(found[0], wanted) + losses.style(found[1], wanted),
            "perceptual": losses.perceptual(found[0], wanted) + losses.perceptual(found[1], wanted),
        }


def pools(vgg: losses.Features, images: Tensor) -> list[Tensor]:
    """Return VGG16's first three pooling layers of images (B, 3, H, W)."""
    return [functional.max_pool2d(features, 2) for features in vgg(images)[:3]]
