"""Use SAM's image encoder as another source of semantic embeddings (paper, section 5.3 and Table 6, "SAM Encoder").

Unlike CLIP, it was trained on regions without any text (Kirillov et al., 2023).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from skimage.measure import label as connected_regions
from timm.models.vision_transformer_sam import VisionTransformerSAM, checkpoint_filter_fn
from torch import Tensor, nn

from sair import weights
from sair.common.errors import InputError
from sair.models.resizing import DeterministicResizing
from sair.weights.imagenet import IMAGENET_MEAN, IMAGENET_STD
from sair.weights.unpickle import load_tensors


class DenseSAM(nn.Module):
    """SAM's image encoder with its neck, one vector per patch.

    Args:
        architecture: timm's name of one (``samvit_base_patch16``) or keyword arguments of timm's
            ``VisionTransformerSAM``.
    """

    mean: Tensor
    std: Tensor
    visual: Any  # timm's VisionTransformerSAM

    def __init__(self, architecture: str | dict[str, Any]) -> None:
        super().__init__()
        if isinstance(architecture, str):
            if not timm.is_model(architecture):
                raise InputError(f"timm has no architecture {architecture!r}; see timm.list_models('samvit*').")
            self.visual = timm.create_model(architecture, num_classes=0)
        else:
            options = {**architecture, "global_attn_indexes": tuple(architecture.get("global_attn_indexes", ()))}
            self.visual = VisionTransformerSAM(num_classes=0, use_rel_pos=True, **options)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def channels(self) -> int:
        """Return the size of an embedding."""
        return self.visual.neck[0].out_channels

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return the dense embeddings of images.

        Args:
            images: (B, 3, H, W) in [0, 1], any size; position tables are resized to the image's grid. SAM was trained
                on a longest side of 1024 pixels; here images keep their own size.
            masks: (B, 1, H, W), 1 = hole, shown as the mean colour.

        Returns:
            (B, channels, ceil(H / patch), ceil(W / patch)), unit length
        """
        x = (images - self.mean) / self.std
        x = x if masks is None else x * (1 - masks)
        height, width = self.visual.patch_embed.patch_size
        x = F.pad(x, (0, -x.shape[-1] % width, 0, -x.shape[-2] % height))
        with DeterministicResizing():  # for timm's position tables
            features = self.visual.forward_features(x)
        return F.normalize(features.float(), dim=1)


class SAM(nn.Module):
    """A SAM image encoder that can be trained on region maps, without class names.

    The task is SAM's own: find the region in which a given point lies. The mask decoder is a dot product: a pixel
    belongs to the point's region as far as their embeddings agree. So almost all trained weights are in the encoder.

    Args:
        architecture: see ``DenseSAM``.
        pretrained: a weights file of timm or of the authors, whose ``sam_vit_b_01ec64.pth`` can come from any source
            of ``sair.weights``. None: train from random weights.
        lr: Adam's learning rate.
        points: number of points in each image.
        classes: ignored; accepted because every semantic encoder gets the dataset's classes.

    ``description`` is what ``SEMANTIC_ENCODERS`` needs to build ``dense`` again.
    """

    def __init__(
        self,
        *,
        architecture: str | dict[str, Any],
        pretrained: str | None = None,
        lr: float = 1e-3,
        points: int = 16,
        classes: object = (),
    ) -> None:
        super().__init__()
        self.description = {"name": "sam", "architecture": architecture}
        self.dense = DenseSAM(architecture)
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(-5.0))
        self.lr, self.points = lr, points
        if pretrained:
            _load_pretrained(self.dense.visual, pretrained)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizers that ``training_step`` steps, by name."""
        return {"sam": torch.optim.Adam(self.parameters(), lr=self.lr)}

    def training_step(self, batch: dict[str, Any], step: Callable[[str, Tensor], None]) -> dict[str, Tensor]:
        """Take one step on ``images`` (B, 3, H, W); connected regions of ``labels`` (B, H, W) are the targets."""
        images = batch["images"]
        size = images.shape[-2:]
        regions, count = number_regions(batch["labels"])
        dense = F.interpolate(self.dense(images), size, mode="bilinear", align_corners=False)
        pixels = F.normalize(dense, dim=1).flatten(2)
        index = self._sample(regions.flatten(1), count)
        prompts = pixels.gather(2, index[:, None].expand(-1, pixels.shape[1], -1))
        logits = self.scale * torch.einsum("bcq,bcn->bqn", prompts, pixels) + self.bias
        target = (regions.flatten(1).gather(1, index)[..., None] == regions.flatten(1)[:, None]).float()
        # SAM's two mask losses: focal 20 to dice 1.
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        probability = logits.sigmoid()
        focal = ((target - probability).square() * cross_entropy).mean()
        overlap = (probability * target).sum(-1)
        dice = (1 - (2 * overlap + 1) / (probability.sum(-1) + target.sum(-1) + 1)).mean()
        loss = 20 * focal + dice
        step("sam", loss)
        return {"loss": loss, "focal": focal, "dice": dice}

    def _sample(self, regions: Tensor, count: int) -> Tensor:
        """Draw pixel numbers (B, points): first a region, all equally likely, then one of its pixels.

        Args:
            regions: region numbers of the pixels, (B, N).
            count: a number above all of these.
        """
        # `bincount` is avoided, because it waits for the device to return the largest number.
        size = regions.new_zeros(len(regions), count).scatter_add_(1, regions, torch.ones_like(regions))
        return torch.multinomial(1 / size.gather(1, regions), self.points, replacement=True)


def number_regions(labels: Tensor) -> tuple[Tensor, int]:
    """Number the connected regions of equal label from 0 in each image; this is done on the CPU.

    Args:
        labels: (B, H, W) integers.

    Returns:
        The numbers, (B, H, W) int64 on the labels' device; and the largest of them plus one.
    """
    arrays = labels.cpu().numpy().astype(int)
    numbered = np.stack([connected_regions(image, background=-1, connectivity=1) - 1 for image in arrays])
    return torch.from_numpy(numbered).to(labels.device, non_blocking=True), int(numbered.max()) + 1


def _load_pretrained(visual: nn.Module, file: str | Path) -> None:
    """Fill the encoder from a weights file: SAM's own or timm's; strictly, and without running a pickle."""
    file = weights.resolve(file) or file
    try:
        safe = str(file).endswith(".safetensors")
        state = load_file(file) if safe else load_tensors(file)
        visual.load_state_dict(checkpoint_filter_fn(state, visual), strict=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, SafetensorError) as error:
        raise InputError(
            f"SAM weights {file} cannot be loaded ({type(error).__name__}: {error}). Name the complete file of this "
            "architecture, the authors' .pth or timm's .safetensors, in `pretrained`."
        ) from None
