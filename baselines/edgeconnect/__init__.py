"""EdgeConnect (Nazeri et al., ICCV workshops 2019): complete the edges, then paint along them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from baselines import losses
from baselines.checkpoints import load_parts
from baselines.edgeconnect.edges import canny_edges, grey
from baselines.edgeconnect.model import EdgeGenerator, InpaintGenerator
from baselines.method import PublishedMethod, Stages, Step, detached
from baselines.networks import PatchDiscriminator, frozen, normalise_spectrally

__all__ = ["EdgeConnect", "EdgeGenerator", "InpaintGenerator"]

STAGES = dict.fromkeys(("edge", "inpaint", "joint"), 1 / 3)
PARTS = ("edge", "inpaint")
KNOWN_EDGES = ("complete", "masked")
DRAWN_EDGES = ("everywhere", "hole")


class EdgeConnect(PublishedMethod):
    """The method: edge and inpainting generator, their discriminators, and training in three stages.

    The defaults are the published sizes and the authors' example configuration. The stages' shares of a run are not
    published: the authors ended each stage by hand.

    Args:
        channels: generators' width after their first convolution.
        blocks: residual blocks of each generator.
        downsamplings: halvings of the side before the blocks.
        discriminator_channels: width of the discriminators' first layer.
        discriminator_downsamplings: halvings of the side in the discriminators; sets their patch (70 pixels with 3).
        sigma: smoothing of Canny's edge detector, in pixels.
        known_edges: image from which the edges around the hole are computed in training: the ``complete`` image, as
            published, or the ``masked`` one, as in the test. With the first, edges within about ``sigma`` pixels of the
            hole differ in the test, which matters for small images: 0.8 dB at 32 pixels and holes of 40-60 %.
        drawn_edges: region in which the test uses the edge generator's edges instead of the known ones:
            ``everywhere``, as in the authors' test, or in the ``hole``, as in training. In the known region only
            ``feature_matching_weight`` makes the generator draw edges: at a hundredth of it, the first costs 2 dB.
        stages: shares of a run, by name: ``edge``, ``inpaint`` (on the true edges) and ``joint``.
        edge_adversarial_weight, feature_matching_weight: of the edge generator's losses.
        l1_weight, adversarial_weight, content_weight, style_weight: of the inpainting generator's losses; without the
            last two, no VGG16 is needed.
        vgg_share: share of the steps in which VGG16's losses are computed (``losses.lazily``), as published 1.
        lr: Adam's learning rate for the generators.
        discriminator_lr: Adam's learning rate for the discriminators.
        betas: Adam's betas, for all networks. (0.9, 0.999) gains 0.3 dB in runs of a few thousand steps.
        pretrained: the authors' files, ``{"edge": EdgeModel_gen.pth, "inpaint": InpaintingModel_gen.pth}``.
    """

    painting = ("edge_generator", "inpaint_generator")

    def __init__(
        self,
        *,
        channels: int = 64,
        blocks: int = 8,
        downsamplings: int = 2,
        discriminator_channels: int = 64,
        discriminator_downsamplings: int = 3,
        sigma: float = 2.0,
        known_edges: str = "complete",
        drawn_edges: str = "everywhere",
        stages: Mapping[str, float] | None = None,
        edge_adversarial_weight: float = 1.0,
        feature_matching_weight: float = 10.0,
        l1_weight: float = 1.0,
        adversarial_weight: float = 0.1,
        content_weight: float = 0.1,
        style_weight: float = 250.0,
        vgg_share: float = 1.0,
        lr: float = 1e-4,
        discriminator_lr: float = 1e-5,
        betas: tuple[float, float] = (0.0, 0.9),
        pretrained: Mapping[str, str | Path] | str | None = None,
    ) -> None:
        super().__init__()
        self.stages = Stages(stages, STAGES)
        if known_edges not in KNOWN_EDGES:
            raise ValueError(f"known_edges {known_edges!r}: expected one of {', '.join(KNOWN_EDGES)}.")
        if drawn_edges not in DRAWN_EDGES:
            raise ValueError(f"drawn_edges {drawn_edges!r}: expected one of {', '.join(DRAWN_EDGES)}.")
        self.edge_generator = EdgeGenerator(channels, blocks, downsamplings)
        self.inpaint_generator = InpaintGenerator(channels, blocks, downsamplings)
        size = discriminator_channels, discriminator_downsamplings
        self.edge_discriminator = PatchDiscriminator(2, *size)
        self.inpaint_discriminator = PatchDiscriminator(3, *size)
        self.sigma = sigma
        self.known_edges = known_edges
        self.drawn_edges = drawn_edges
        self.weights = {
            "edge_adv": edge_adversarial_weight,
            "edge_fm": feature_matching_weight,
            "l1": l1_weight,
            "adv": adversarial_weight,
            "content": content_weight,
            "style": style_weight,
        }
        self.vgg_share = vgg_share
        self.learning_rates = {"generator": lr, "discriminator": discriminator_lr}
        self.betas = betas
        self._vgg = losses.Vgg(normalised=False)
        if pretrained is not None:
            load_parts({"edge": self.edge_generator, "inpaint": self.inpaint_generator}, pretrained)

    def paint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Complete the edges, then paint along them; same as in ``PublishedMethod``."""
        known = canny_edges(images, masks, self.sigma)
        edges = self.edge_generator(grey(images), known, masks)
        if self.drawn_edges == "hole":
            edges = edges * masks + known * (1 - masks)
        return self.inpaint_generator(images, edges, masks)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return one Adam for both generators and one for both discriminators.

        The authors have one for each network. The steps are the same, because Adam keeps its state for each weight and
        skips weights without a gradient in a stage. This call also puts the edge generator under spectral norm for
        training; ``weights_to_save`` folds it.
        """
        normalise_spectrally(self.edge_generator.spectrally_normalised())
        return {
            f"{kind}s": torch.optim.Adam(
                [parameter for part in PARTS for parameter in getattr(self, f"{part}_{kind}").parameters()],
                lr=rate,
                betas=self.betas,
            )
            for kind, rate in self.learning_rates.items()
        }

    def training_step(self, batch: Mapping[str, Any], step: Step) -> dict[str, Tensor]:
        """Make a step of the generators and one of the discriminators; both losses are computed before either step.

        Arguments and result are the same as in ``PublishedMethod``.
        """
        images, masks = batch["images"], batch["masks"]
        stage = self.stages.at(batch.get("progress", 0.0))
        edges = canny_edges(images, sigma=self.sigma)
        terms: dict[str, Tensor] = {}
        discriminators: dict[str, Tensor] = {}
        if stage != "inpaint":
            known = edges if self.known_edges == "complete" else canny_edges(images, masks, self.sigma)
            drawn = self.edge_generator(grey(images), known, masks)
            terms |= self._edge_terms(drawn, edges, images, discriminators)
            edges = drawn * masks + known * (1 - masks)
        if stage != "edge":
            painted = self.inpaint_generator(images, edges, masks)
            terms |= self._inpaint_terms(painted, images, masks, discriminators)
        loss = losses.total(terms)
        step("generators", loss)
        step("discriminators", losses.total(discriminators))
        return detached({"loss": loss} | terms | discriminators)

    def _edge_terms(
        self, drawn: Tensor, edges: Tensor, images: Tensor, discriminators: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        tones = grey(images)
        verdict = _judge(self.edge_discriminator, torch.cat([tones, edges], 1), torch.cat([tones, drawn], 1))
        discriminators["edge_d"] = verdict.discriminator
        return {
            "edge_adv": self.weights["edge_adv"] * verdict.generator,
            "edge_fm": self.weights["edge_fm"] * verdict.feature_matching,
        }

    def _inpaint_terms(
        self, painted: Tensor, images: Tensor, masks: Tensor, discriminators: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        verdict = _judge(self.inpaint_discriminator, images, painted)
        discriminators["d"] = verdict.discriminator
        terms = {
            "l1": self.weights["l1"] * (painted - images).abs().mean() / masks.mean(),
            "adv": self.weights["adv"] * verdict.generator,
        }
        weights = self.weights["content"], self.weights["style"]
        return terms | losses.lazily(
            self.vgg_share, lambda: losses.content_and_style(self._vgg, painted, images, masks, *weights)
        )


class _Verdict(NamedTuple):
    discriminator: Tensor
    generator: Tensor
    feature_matching: Tensor


def _judge(discriminator: PatchDiscriminator, real: Tensor, fake: Tensor) -> _Verdict:
    """Return the adversarial losses of both sides, and the distance of the activations (equations 2 and 3)."""
    real_activations, fake_activations = discriminator(real), discriminator(fake.detach())
    with frozen(discriminator):
        activations = discriminator(fake)
    return _Verdict(
        losses.discriminator(real_activations[-1], fake_activations[-1]),
        losses.adversarial(activations[-1], True),
        losses.perceptual(activations, [wanted.detach() for wanted in real_activations]),
    )
