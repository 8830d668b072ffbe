"""JPGNet (Guo et al., ACM MM 2021): predictive filtering and a generative network, joined by a second filtering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from baselines.checkpoints import load_authors_checkpoint
from baselines.jpgnet.losses import structural_similarity
from baselines.jpgnet.model import KernelNetwork, uncertainty
from baselines.method import PublishedMethod, Stages, Step, detached
from baselines.networks import symmetric_pad
from sair.methods.build import build
from sair.methods.checkpoint import weights_of

__all__ = ["JPGNet", "KernelNetwork", "structural_similarity", "uncertainty"]

NETWORKS = ("kpn1", "kpn2")


class JPGNet(PublishedMethod):
    """The method: another method's painting, a filtered image, and a network that filters both into one.

    ``kpn1`` filters the image with its hole, which extends textures a few pixels into the hole. The input of ``kpn2``
    is the painted and the filtered image, the kernels of ``kpn1`` and their uncertainty. The painting method is trained
    first (``over`` in the method's file). Then ``kpn1`` and ``kpn2`` are each trained in their own stage, with the
    networks before them fixed. The stages' shares of a run are not published.

    Args:
        generator: the painting method, as in the registry: ``class``, and its ``parameters``.
        channels: width of both filtering networks' first block.
        downsamplings: halvings of the side in both filtering networks.
        init_gain: gain of both filtering networks' initial weights.
        signed: whether the painted image that ``kpn2`` gets, and its output, are in [-1, 1], as in the authors' code
            over StructureFlow, although the filtered image is in [0, 1].
        stages: shares of a run, by name: ``kpn1`` and ``kpn2``.
        ssim_weight: weight of structural similarity, added to L1 in the filtering networks' loss.
        lr: Adam's learning rate for the filtering networks.
        pretrained: the authors' files of ``kpn1`` and ``kpn2``, and under ``generator`` the value of that method's
            parameter ``pretrained``. Any of the three can be left out.

    Raises:
        InputError: the generator cannot be built, or a file does not contain exactly the weights of its network.
    """

    painting = NETWORKS
    betas = (0.5, 0.999)

    def __init__(
        self,
        *,
        generator: Mapping[str, Any] | None = None,
        channels: int = 64,
        downsamplings: int = 4,
        init_gain: float = 0.02,
        signed: bool = False,
        stages: Mapping[str, float] | None = None,
        ssim_weight: float = 0.2,
        lr: float = 2e-4,
        pretrained: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.stages = Stages(stages, dict.fromkeys(NETWORKS, 1 / 2))
        files = pretrained or {}
        if not isinstance(files, Mapping) or not files.keys() <= {"generator", *NETWORKS}:
            raise ValueError(f"pretrained {files!r}: expected files for some of generator, {', '.join(NETWORKS)}.")
        spec = {"class": "baselines.edgeconnect:EdgeConnect", **(generator or {})}
        own = {"pretrained": files["generator"]} if "generator" in files else {}
        parameters = {**spec.get("parameters", {}), **own}
        painter: Any = build({"name": "the generator of JPGNet", "class": spec["class"], "parameters": parameters})
        self.generator = painter.requires_grad_(False)
        self.kpn1 = KernelNetwork(3, 1, channels, downsamplings, init_gain)
        self.kpn2 = KernelNetwork(34, 2, channels, downsamplings, init_gain)
        self.factor = 2**downsamplings
        self.signed = signed
        self.ssim_weight = ssim_weight
        self.learning_rates = dict.fromkeys(NETWORKS, lr)
        for name in NETWORKS:
            if name in files:
                load_authors_checkpoint(getattr(self, name), files[name])

    def paint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Paint, filter, and merge both by a second filter; same as in ``PublishedMethod``.

        The networks' output is linear and is clamped.
        """
        joined = self._join(self.generator.inpaint(images, masks), images, masks)
        return ((joined + 1) / 2 if self.signed else joined).clamp(0, 1)

    def _join(self, painted: Tensor, images: Tensor, masks: Tensor) -> Tensor:
        """Return the output of ``kpn2`` for painted images (B, 3, H, W); gradients reach only its weights."""
        height, width = images.shape[-2:]
        everything = torch.cat([images * (1 - masks), masks, painted], dim=1)
        padded = symmetric_pad(everything, *(-(-side // self.factor) * self.factor for side in (height, width)))
        known, holes, painted = padded.split([3, 1, 3], dim=1)
        with torch.no_grad():
            filtered, kernels = self.kpn1(known, known)
        painted, filtered = known + painted * holes, known + filtered * holes
        candidates = torch.cat([2 * painted - 1 if self.signed else painted, filtered], dim=1)
        joined, _ = self.kpn2(torch.cat([candidates, kernels, uncertainty(kernels)], dim=1), candidates)
        return joined[..., :height, :width]

    def training_step(self, batch: Mapping[str, Any], step: Step) -> dict[str, Tensor]:
        """Make a step of the filtering network that the current stage trains.

        Arguments and result are the same as in ``PublishedMethod``; 2 to the number of downsamplings must divide the
        images' sides.
        """
        stage = self.stages.at(batch.get("progress", 0.0))
        images, masks = batch["images"], batch["masks"]
        if stage == "kpn1":
            known = images * (1 - masks)
            found, wanted = self.kpn1(known, known)[0], images
        else:
            found = self._join(self.generator.inpaint(images * (1 - masks), masks), images, masks)
            wanted = 2 * images - 1 if self.signed else images
        l1 = functional.l1_loss(found, wanted)
        ssim = -self.ssim_weight * structural_similarity(found, wanted)
        step(stage, l1 + ssim)
        return detached({"loss": l1 + ssim, "l1": l1, "ssim": ssim})

    def weights_to_save(self) -> dict[str, Tensor]:
        """Return the weights of both filtering networks, and those of the generator that it saves itself."""
        saved = {f"generator.{name}": value for name, value in weights_of(self.generator).items()}
        return saved | super().weights_to_save()
