"""Compute the CLIP score of a prediction and of its filled region: how well they fit the image's caption."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sair.evaluation.metrics.metric import Metric

if TYPE_CHECKING:
    import torch


class ClipScore:
    """The CLIP score with OpenAI's ViT-L/14, as torchmetrics' ``CLIPScore`` computes it for BrushNet.

    100 times the cosine of image and text embedding, at least 0. The image is resized by Pillow's bicubic filter so
    that its shorter side has 224 pixels, and its centre is taken.

    Args:
        device: where the network runs; always float32.
        region: measure the bounding box of the hole in place of the whole image.

    Raises:
        InputError: the weights are missing, or are not this network's.
    """

    def __init__(self, device: str | torch.device = "cpu", region: bool = False) -> None:
        self._region = region
        self._clip, self._tokens = _network(str(device))
        self._device = str(device)

    def score(self, composited: np.ndarray, hole: np.ndarray, caption: str) -> float:
        """Return the score of one prediction.

        Args:
            composited: uint8 RGB (H, W, 3).
            hole: bool (H, W), True = hole.
            caption: what the image shows.

        Returns:
            In [0, 100]; ``nan`` without a caption, or without a hole where its region is measured.
        """
        import torch

        from sair.evaluation.features import for_clip
        from sair.evaluation.precision import full_precision

        if not caption or (self._region and not hole.any()):
            return math.nan
        if self._region:
            rows, columns = (np.flatnonzero(hole.any(axis)) for axis in (1, 0))
            composited = composited[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        with full_precision(torch.device(self._device)):
            image = self._clip.encode_image(for_clip(np.ascontiguousarray(composited), torch.device(self._device)))
            text = self._clip.encode_text(self._tokens([caption]).to(self._device))
            cosine = torch.nn.functional.cosine_similarity(image, text)
        return max(0.0, 100 * float(cosine))


@cache
def _network(device: str) -> tuple[Any, Any]:
    """Return CLIP and its tokenizer; both metrics share them, because the weights take 1.7 GB."""
    import open_clip
    import torch

    from sair.evaluation.features import load_clip
    from sair.weights.fetch import file

    with torch.random.fork_rng(devices=[]):
        clip = load_clip("ViT-L-14", file("clip_l14"))
    return clip.to(device), open_clip.get_tokenizer("ViT-L-14")


IMAGE = Metric(
    name="clipscore",
    label="CLIP score",
    decimals=2,
    higher_is_better=True,
    convention="openai-vit-l-14,caption,100*cosine,at-least-0,composited",
    captioned=ClipScore,
    weights=("clip_l14",),
    optional=True,
    valid=(0, 100),
)

REGION = Metric(
    name="clipscoreregion",
    label="CLIP score of the region",
    decimals=2,
    higher_is_better=True,
    convention="openai-vit-l-14,caption,100*cosine,at-least-0,composited,bounding-box-of-the-hole",
    captioned=partial(ClipScore, region=True),
    weights=("clip_l14",),
    optional=True,
    valid=(0, 100),
)
