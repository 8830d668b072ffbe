"""Fill holes without training: controls, which fix the scale of every table.

The ground truth must score perfectly and the mean fill poorly. If they do not, an image is paired with the wrong
ground truth or a mask is inverted.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor


class GroundTruth:
    """The complete image itself. Its method file has ``sees_truth: true``, so the hole is not emptied."""

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Return the images as they come."""
        return images


class MeanFill:
    """The mean colour of the image's known pixels, everywhere in the hole."""

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Fill the holes; an image that is all hole becomes grey.

        Args:
            images: (B, 3, H, W) in [0, 1].
            masks: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1].
        """
        known = 1 - masks
        count = known.sum((2, 3), keepdim=True)
        mean = (images * known).sum((2, 3), keepdim=True) / count.clamp_min(1)
        mean = torch.where(count > 0, mean, 0.5)
        return images * known + mean * masks


class Biharmonic:
    """Smooth continuation into the hole: scikit-image's biharmonic inpainting (Damelin and Hoang, 2018)."""

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Fill the holes; an image that is all hole becomes grey.

        Args:
            images: (B, 3, H, W) in [0, 1].
            masks: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1].
        """
        filled = [
            _biharmonic(image.movedim(0, -1).double().cpu().numpy(), mask[0].bool().cpu().numpy())
            for image, mask in zip(images, masks, strict=True)
        ]
        return torch.from_numpy(np.stack(filled)).movedim(-1, 1).clamp(0, 1).to(images)


def _biharmonic(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    if hole.all():  # nothing to continue from; grey, same as in MeanFill
        return np.full_like(image, 0.5)
    return inpaint_biharmonic(image, hole, channel_axis=-1)
