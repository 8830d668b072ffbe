"""StructureFlow (Ren et al., ICCV 2019): inpainting via structure-aware appearance flow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.checkpoints import load_parts
from baselines.losses import Vgg, due, perceptual, shared, style, total
from baselines.method import PublishedMethod, Stages, Step, detached
from baselines.networks import frozen, symmetric_pad
from baselines.structureflow.losses import least_squares, sampling_correctness
from baselines.structureflow.model import (
    Discriminator,
    FlowGenerator,
    StructureGenerator,
    Window,
    add_spectral_norm,
)
from baselines.structureflow.resample import gaussian_resample
from baselines.structureflow.structure import structure_images

__all__ = [
    "Discriminator",
    "FlowGenerator",
    "StructureFlow",
    "StructureGenerator",
    "gaussian_resample",
    "structure_images",
]

STAGES = dict.fromkeys(("structure", "texture", "joint"), 1 / 3)
STRUCTURES = ("masked", "complete")
FACTOR, SMALLEST = 16, 48  # a sixteenth of the side is padded by two mirrored pixels, which requires three


class StructureFlow(PublishedMethod):
    """The method: a structure generator, a texture generator with appearance flow, and their three training stages.

    The structure image of the known region can leak the ground truth. The authors smooth the complete image and then
    cut the hole out, but smoothing spreads the hole's content beyond its border (8-14 of 255 grey levels within 2
    pixels, and still 1-2 at 10-30 pixels). Here the masked image is smoothed, with the hole as a border.

    Args:
        channels: width of both generators' first full layer.
        structure_blocks: residual blocks at each resolution of the structure generator.
        flow_blocks: residual blocks at each resolution of the texture generator.
        discriminator_channels: width of the discriminators' first layer.
        windows: side and standard deviation of each resampling window; the last also samples for the correctness loss.
        structure: ``masked``, or ``complete`` as published. The latter leaks, and requires the complete image:
            without ``sees_truth: true`` in the method's YAML the emptied hole is treated as a black object.
        strength: smoothing of structure images, see ``structure_images``.
        sigma: texture window of structure images, see ``structure_images``.
        sharpness: lower bound of gradients in structure images, see ``structure_images``.
        iterations: number of iterations of the smoothing of structure images.
        stages: shares of a run, by name: ``structure``, ``texture`` (on the true structure) and ``joint``.
        structure_l1_weight: L1 of the structure generator.
        l1_weight: L1 of the texture generator.
        adversarial_weight: adversarial loss of both generators.
        correctness_weight: sampling correctness of the flow.
        style_weight: distance of Gram matrices in the hole, in the third stage; 0 for none.
        content_weight: distance of features, in the third stage; 0 for none.
        vgg_share: share of the steps in which these two are computed (``losses.lazily``), as published 1.
        lr: Adam's learning rate, for all networks.
        betas: Adam's betas. (0.9, 0.999) gains 0.4 dB in runs of a few hundred steps.
        pretrained: the authors' files, ``{"s_gen": <iteration>_net_s_gen.pth, "f_gen": <iteration>_net_f_gen.pth}``.
    """

    painting = ("s_gen", "f_gen")

    def __init__(
        self,
        *,
        channels: int = 64,
        structure_blocks: int = 4,
        flow_blocks: int = 2,
        discriminator_channels: int = 64,
        windows: Sequence[Window] = ((16, 4.0), (4, 2.0)),
        structure: str = "masked",
        strength: float = 0.015,
        sigma: float = 3.0,
        sharpness: float = 0.001,
        iterations: int = 3,
        stages: Mapping[str, float] | None = None,
        structure_l1_weight: float = 4.0,
        l1_weight: float = 5.0,
        adversarial_weight: float = 1.0,
        correctness_weight: float = 0.25,
        style_weight: float = 250.0,
        content_weight: float = 0.1,
        vgg_share: float = 1.0,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.0, 0.999),
        pretrained: Mapping[str, str | Path] | str | None = None,
    ) -> None:
        super().__init__()
        if structure not in STRUCTURES:
            raise ValueError(f"structure {structure!r}: expected one of {', '.join(STRUCTURES)}.")
        if any(window % 2 for window, _ in windows):
            raise ValueError(f"windows {windows}: their sides must be even.")
        self.stages = Stages(stages, STAGES)
        self.s_gen = StructureGenerator(channels, structure_blocks)
        self.f_gen = FlowGenerator(channels, flow_blocks, windows)
        self.s_dis = Discriminator(discriminator_channels)
        self.f_dis = Discriminator(discriminator_channels)
        self.apply(_initialise)
        self.structure = structure
        self.smoothing: dict[str, Any] = {
            "strength": strength,
            "sigma": sigma,
            "sharpness": sharpness,
            "iterations": iterations,
        }
        self.sampling = windows[-1]
        self.weights = {
            "structure_l1": structure_l1_weight,
            "l1": l1_weight,
            "adv": adversarial_weight,
            "correctness": correctness_weight,
            "style": style_weight,
            "content": content_weight,
        }
        self.vgg_share = vgg_share
        self.learning_rates = dict.fromkeys(("s_gen", "s_dis", "f_gen", "f_dis"), lr)
        self.betas = betas
        self._vgg = Vgg(maps=5 if style_weight or content_weight else 3)
        self.pretrained = pretrained is not None
        if pretrained is not None:
            load_parts({"s_gen": self.s_gen, "f_gen": self.f_gen}, pretrained)

    def paint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Complete the structure image, then paint on it; same as in ``PublishedMethod``.

        With ``structure: complete``, the content of the hole in ``images`` must be the ground truth.
        """
        height, width = images.shape[-2:]
        images, masks = _padded(images, masks)
        signed = 2 * images - 1
        structure = self._complete_structure(signed, self._known_structure(images, masks), masks)
        painted, _ = self.f_gen(torch.cat([signed * (1 - masks), structure, masks], 1))
        return ((painted[..., :height, :width] + 1) / 2).clamp(0, 1)

    def _known_structure(self, images: Tensor, masks: Tensor) -> Tensor:
        """Return structure images in [-1, 1]; only their known region may be used."""
        return 2 * structure_images(images, masks if self.structure == "masked" else None, **self.smoothing) - 1

    def _true_structure(self, images: Tensor) -> Tensor:
        """Return structure images of complete images, in [-1, 1]."""
        return 2 * structure_images(images, **self.smoothing) - 1

    def _complete_structure(self, signed: Tensor, structure: Tensor, masks: Tensor) -> Tensor:
        known = 1 - masks
        return self.s_gen(torch.cat([signed * known, structure * known, masks], 1))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return an Adam for each network, and put networks under spectral norm as the authors do.

        The norm of a loaded structure generator is already folded in. It is not normalised again, as in the authors'
        third stage.
        """
        for network in (self.s_dis, self.f_dis) if self.pretrained else (self.s_gen, self.s_dis, self.f_dis):
            add_spectral_norm(network)
        return super().optimizers()

    def training_step(self, batch: Mapping[str, Any], step: Step) -> dict[str, Tensor]:
        """Make a step of the current stage's discriminator, then one of its generator, as published.

        First the structure generator is trained; then the texture generator on the true structure; then the texture
        generator on the structure that the first one, now fixed, completes. Arguments and result are the same as in
        ``PublishedMethod``.
        """
        images, masks = _padded(batch["images"], batch["masks"])
        signed = 2 * images - 1
        stage = self.stages.at(batch.get("progress", 0.0))
        if stage == "structure":
            wanted = self._true_structure(images)
            known = wanted if self.structure == "complete" else self._known_structure(images, masks)
            painted = self._complete_structure(signed, known, masks)
            terms = {"l1": self.weights["structure_l1"] * functional.l1_loss(painted, wanted)}
            return self._adversarial_step("s", painted, wanted, terms, step)
        if stage == "texture":
            structure = self._true_structure(images)
        else:
            with torch.no_grad():
                structure = self._complete_structure(signed, self._known_structure(images, masks), masks)
        painted, flow = self.f_gen(torch.cat([signed * (1 - masks), structure, masks], 1))
        terms = self._texture_terms(painted, flow, images, masks, joint=stage == "joint")
        return self._adversarial_step("f", painted, signed, terms, step)

    def _texture_terms(
        self, painted: Tensor, flow: Tensor, images: Tensor, masks: Tensor, joint: bool
    ) -> dict[str, Tensor]:
        signed = 2 * images - 1
        masked = (signed * (1 - masks) + 1) / 2  # grey holes
        terms = {"l1": self.weights["l1"] * functional.l1_loss(painted, signed)}
        with_features = joint and due(self.vgg_share)
        with torch.no_grad():
            # The correctness of the flow compares the third map alone.
            wanted, source = self._vgg(images, 5 if with_features else 3), self._vgg(masked, 3)
        correctness = sampling_correctness(wanted[2], source[2], flow, masks, *self.sampling)
        terms["correctness"] = self.weights["correctness"] * correctness
        if with_features:
            terms |= shared(self.vgg_share, self._feature_terms(painted, signed, masks, wanted))
        return terms

    def _feature_terms(
        self, painted: Tensor, signed: Tensor, masks: Tensor, wanted: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        terms = {}
        if self.weights["style"]:
            holes = [self._vgg((image * masks + 1) / 2)[1:] for image in (painted, signed)]
            terms["style"] = self.weights["style"] * style(*holes)
        if self.weights["content"]:
            terms["content"] = self.weights["content"] * perceptual(self._vgg((painted + 1) / 2), wanted)
        return terms

    def _adversarial_step(
        self, stage: str, painted: Tensor, real: Tensor, terms: dict[str, Tensor], step: Step
    ) -> dict[str, Tensor]:
        discriminator = getattr(self, f"{stage}_dis")
        answers = discriminator(torch.cat([real, painted.detach()]))
        truths, fakes = zip(*(scale.chunk(2) for scale in answers), strict=True)
        d = (least_squares(truths, real=True) + least_squares(fakes, real=False)) / 2
        step(f"{stage}_dis", d)
        with frozen(discriminator):
            terms["adv"] = self.weights["adv"] * least_squares(discriminator(painted), real=True)
            loss = total(terms)
            step(f"{stage}_gen", loss)
        return detached({"loss": loss, "d": d} | terms)


def _padded(*maps: Tensor) -> list[Tensor]:
    """Return maps that are padded by mirroring at the bottom and right to sides that the networks accept."""
    sides = [max(SMALLEST, math.ceil(side / FACTOR) * FACTOR) for side in maps[0].shape[-2:]]
    return [symmetric_pad(x, *sides) for x in maps]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_normal_(module.weight, gain=math.sqrt(2))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
