"""JPGNet (Guo et al., ACM MM 2021): predictive filtering and a generative network, joined by a second filtering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.checkpoints import load_network, read_checkpoint, state_of
from baselines.jpgnet.losses import structural_similarity
from baselines.jpgnet.model import KernelNetwork, uncertainty
from baselines.networks import symmetric_pad
from sair.methods.build import build

__all__ = ["JPGNet", "KernelNetwork", "load_authors_checkpoint", "structural_similarity", "uncertainty"]

Step = Callable[[str, Tensor], None]
NETWORKS = ("kpn1", "kpn2")


class JPGNet(nn.Module):
    """The method: another method's painting, a filtered image, and a network that filters both into one.

    ``kpn1`` filters the image with its hole, which carries textures a few pixels over the rim; ``kpn2`` sees the
    painted and the filtered image, the kernels of ``kpn1`` and how unsure they are. The painting method is trained
    before (`over` in the method's file); then each of the two learns in its own stage with the ones before it fixed.
    The stages' shares of a run are not published.

    Args:
        generator: the painting method, as in the registry: ``class``, and its ``parameters``.
        base_channels: width of both filtering networks' first block.
        downsamplings: halvings of the side in both filtering networks.
        init_gain: of both filtering networks' initial weights.
        signed: show ``kpn2`` the painted image in [-1, 1], and take its result so, as the authors do over
            StructureFlow, although the filtered image beside it is in [0, 1].
        stages: shares of a run, by name: ``kpn1`` and ``kpn2``.
        ssim_weight: of structural similarity beside L1 in the filtering networks' loss.
        lr: Adam's learning rate for the filtering networks.
        pretrained: the authors' files of ``kpn1`` and ``kpn2``; ``generator``: what that method's own parameter
            ``pretrained`` takes. Any of the three can be left out.

    Raises:
        InputError: the generator cannot be built, or a file does not hold exactly the weights of its network.
    """

    def __init__(
        self,
        *,
        generator: Mapping[str, Any] | None = None,
        base_channels: int = 64,
        downsamplings: int = 4,
        init_gain: float = 0.02,
        signed: bool = False,
        stages: Mapping[str, float] | None = None,
        ssim_weight: float = 0.2,
        lr: float = 2e-4,
        pretrained: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        shares = dict.fromkeys(NETWORKS, 1 / 2) if stages is None else dict(stages)
        if shares.keys() != set(NETWORKS) or min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ValueError(f"stages {stages!r}: expected shares of a run for {', '.join(NETWORKS)}.")
        self.first_stage = shares["kpn1"] / sum(shares.values())
        files = pretrained or {}
        if not isinstance(files, Mapping) or not files.keys() <= {"generator", *NETWORKS}:
            raise ValueError(f"pretrained {files!r}: expected files for some of generator, {', '.join(NETWORKS)}.")
        spec = {"class": "baselines.edgeconnect:EdgeConnect", **(generator or {})}
        own = {"pretrained": files["generator"]} if "generator" in files else {}
        parameters = {**spec.get("parameters", {}), **own}
        self.generator = build({"name": "the generator of JPGNet", "class": spec["class"], "parameters": parameters})
        self.generator.requires_grad_(False)
        self.kpn1 = KernelNetwork(3, 1, base_channels, downsamplings, init_gain)
        self.kpn2 = KernelNetwork(34, 2, base_channels, downsamplings, init_gain)
        self.factor = 2**downsamplings
        self.signed = signed
        self.ssim_weight = ssim_weight
        self.lr = lr
        for name in NETWORKS:
            if name in files:
                load_authors_checkpoint(files[name], getattr(self, name))

    @torch.no_grad()
    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Paint, filter, and filter both into one, without gradients.

        Args:
            images: (B, 3, H, W) in [0, 1], hole pixels zero; any size, mirrored to a multiple of the networks'.
            masks: (B, 1, H, W) in {0, 1}, 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1]: the whole image, not composited. The networks' output is linear and is clamped.
        """
        joined = self._join(self.generator.inpaint(images, masks), images, masks)
        return ((joined + 1) / 2 if self.signed else joined).clamp(0, 1)

    def _join(self, painted: Tensor, images: Tensor, masks: Tensor) -> Tensor:
        """What ``kpn2`` makes of painted images (B, 3, H, W); gradients reach its weights only."""
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

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam with betas (0.5, 0.999) for each filtering network, as published."""
        return {
            name: torch.optim.Adam(getattr(self, name).parameters(), lr=self.lr, betas=(0.5, 0.999))
            for name in NETWORKS
        }

    def stage(self, progress: float) -> str:
        """Name of the network that learns at ``progress`` of a run, in [0, 1)."""
        return NETWORKS[progress >= self.first_stage]

    def training_step(self, batch: Mapping[str, Any], step: Step) -> dict[str, Tensor]:
        """One step of the stage that ``progress`` has reached.

        Args:
            batch: ``images`` (B, 3, H, W) complete, in [0, 1], sides that 2 to the number of downsamplings divides;
                ``masks`` (B, 1, H, W), 1 = hole; ``progress`` in [0, 1), 0 if missing.
            step: called with an optimizer's name and its loss; runs backward and the update.

        Returns:
            scalars to log, weighted as they enter the losses.
        """
        stage = self.stage(float(batch.get("progress", 0.0)))
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
        return {name: value.detach() for name, value in {"loss": l1 + ssim, "l1": l1, "ssim": ssim}.items()}

    def weights_to_save(self) -> dict[str, Tensor]:
        """What inference needs: all three networks; of the generator, what it saves itself."""
        generator = self.generator
        own = generator.weights_to_save() if hasattr(generator, "weights_to_save") else generator.state_dict()
        parts = {"generator": own, **{name: getattr(self, name).state_dict() for name in NETWORKS}}
        return {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}


def load_authors_checkpoint(path: str | Path, network: KernelNetwork) -> None:
    """Copy a published file of ``kpn1`` or ``kpn2`` into a network of the published size, all of it or nothing.

    The authors' own loader keeps what happens to fit.

    Raises:
        InputError: not such a file, or names or shapes that are missing, left over or wrong; it lists them.
    """
    load_network(network, state_of(read_checkpoint(path), path), path)
