"""Compute the losses that only StructureFlow uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from baselines.losses import adversarial
from baselines.structureflow.resample import gaussian_resample
from sair.common.pooling import average_pool

EPS = 1e-8


def least_squares(logits: Sequence[Tensor], real: bool) -> Tensor:
    """Return the LSGAN loss (Mao et al., ICCV 2017), mean over the discriminator's scales."""
    return torch.stack([adversarial(scale, real, "lsgan") for scale in logits]).mean()


def sampling_correctness(
    wanted: Tensor, source: Tensor, flow: Tensor, masks: Tensor, window: int = 4, sigma: float = 2.0
) -> Tensor:
    """Return how much worse the features that the flow fetches into the hole are than the best ones (equation 8).

    Args:
        wanted: the complete images' features, (B, C, h, w).
        source: the masked images' features, same shape.
        flow: (B, 2, h', w') in pixels of its own grid, which is that of the features if 4 divides the sides.
        masks: (B, 1, H, W), 1 = hole.
        window, sigma: same as in ``gaussian_resample``.

    Returns:
        mean over the hole of exp(-cosine / best cosine): 1/e if the flow is right, 1 if it is useless.
    """
    with torch.autocast(wanted.device.type, enabled=False):
        wanted, source, flow = wanted.float(), source.float(), flow.float()
        size = wanted.shape[-2:]
        hole = functional.interpolate(masks, size)[:, 0]
        units = [functional.normalize(features.flatten(2), dim=1, eps=EPS) for features in (source, wanted)]
        best = (units[0].transpose(1, 2) @ units[1]).amax(1).view_as(hole)
        fetched = gaussian_resample(source, average_pool(flow, size), window, sigma)
        cosine = functional.cosine_similarity(fetched, wanted, dim=1)
        return (torch.exp(-cosine / (best + EPS)) * hole).sum() / (hole.sum() + EPS)
