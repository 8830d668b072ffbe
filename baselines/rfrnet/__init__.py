"""RFRNet (Li et al., CVPR 2020): recurrent feature reasoning for image inpainting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines import losses
from baselines.checkpoints import load_network, read_checkpoint, state_of
from baselines.networks import evaluating
from baselines.rfrnet.model import RFRNet

__all__ = ["RFR", "RFRNet", "load_authors_checkpoint"]

Step = Callable[[str, Tensor], None]
PERCEPTUAL = (None, "vgg16")


class RFR(nn.Module):
    """The method: RFRNet, its losses, and fine-tuning with fixed batch statistics. There is no discriminator.

    The defaults are the published ones.

    Args:
        channels, kernel, recurrences, strides: of :class:`RFRNet`.
        valid_weight: L1 on known pixels.
        hole_weight: L1 in the hole.
        tv_weight: total variation of the hole's filling.
        style_weight: distance of Gram matrices, none without ``perceptual``.
        perceptual_weight: distance of features, none without ``perceptual``.
        lr: Adam's learning rate.
        finetune_lr: that of the second stage, which starts with a fresh Adam.
        finetune_from: share of the training after which the second stage begins; 0.7 for CelebA, 2/3 elsewhere.
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
        lr: float = 2e-4,
        finetune_lr: float = 5e-5,
        finetune_from: float = 0.7,
        perceptual: str | None = None,
        vgg_share: float = 1.0,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        if perceptual not in PERCEPTUAL:
            raise ValueError(f"perceptual {perceptual!r}: expected one of {', '.join(map(str, PERCEPTUAL))}.")
        self.generator = RFRNet(channels, kernel, recurrences, strides)
        self.weights = {
            "valid": valid_weight,
            "hole": hole_weight,
            "tv": tv_weight,
            "style": style_weight,
            "perceptual": perceptual_weight,
        }
        self.learning_rates = {"generator": lr, "finetune": finetune_lr}
        self.finetune_from = finetune_from
        self.perceptual = perceptual
        self.vgg_share = vgg_share
        self._vgg = losses.Vgg(maps=3, normalised=False)
        if pretrained is not None:
            load_authors_checkpoint(pretrained, self.generator)

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Fill holes, in evaluation mode and without gradients.

        The network's output is linear and is clamped here. What a hole wider than the network can close (162 pixels
        at the published size) has in its middle comes out black, as from the authors' code.

        Args:
            images: (B, 3, H, W) in [0, 1], hole pixels zero; any size (mirrored to a multiple of the network's).
            masks: (B, 1, H, W) in {0, 1}, 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1]: the whole painted image, not composited.
        """
        with evaluating(self.generator):
            return self.generator(images, masks).clamp(0, 1)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """An Adam for each stage, over the same weights."""
        parameters = list(self.generator.parameters())
        return {name: torch.optim.Adam(parameters, lr=rate) for name, rate in self.learning_rates.items()}

    def training_step(self, batch: Mapping[str, Tensor], step: Step) -> dict[str, Tensor]:
        """One step of the stage that ``progress`` is in; the second one keeps the running batch statistics.

        Args:
            batch: ``images`` (B, 3, H, W) complete, in [0, 1]; ``masks`` (B, 1, H, W), 1 = hole; ``progress`` in
                [0, 1), the share of the training that is done, 0 if absent.
            step: called with an optimizer's name and its loss; runs backward and the update.

        Returns:
            scalars to log, weighted as they enter the loss.
        """
        finetuning = batch.get("progress", 0) >= self.finetune_from
        for module in self.generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(not finetuning)
        terms = self._terms(batch["images"], batch["masks"])
        loss = sum(terms.values())
        step("finetune" if finetuning else "generator", loss)
        return {name: value.detach() for name, value in ({"loss": loss} | terms).items()}

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
            terms |= losses.lazily(self.vgg_share, lambda: self._features_terms(painted, composite, images))
        return {name: self.weights[name] * value for name, value in terms.items()}

    def _features_terms(self, painted: Tensor, composite: Tensor, images: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = pools(self._vgg, images)
        found = [pools(self._vgg, images) for images in (painted, composite)]
        return {
            "style": sum(losses.style(maps, wanted) for maps in found),
            "perceptual": sum(losses.perceptual(maps, wanted) for maps in found),
        }


def pools(vgg: losses.Features, images: Tensor) -> list[Tensor]:
    """VGG16's first three pooling layers of images (B, 3, H, W)."""
    return [functional.max_pool2d(features, 2) for features in vgg(images)[:3]]


def load_authors_checkpoint(path: str | Path, network: RFRNet) -> None:
    """Copy the weights of a published ``g_<iteration>.pth`` into a network, all of them or none.

    The authors' variant for smaller holes needs ``RFRNet(kernel=5)``. Their own loader goes on with random weights
    where a file does not fit.

    Raises:
        InputError: not such a checkpoint, or names or shapes that are missing, left over or wrong; it lists them.
    """
    load_network(network, state_of(read_checkpoint(path), path, "generator"), path)
