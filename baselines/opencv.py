"""Fill holes with OpenCV's four algorithms: Telea, Navier-Stokes, frequency-selective reconstruction and shift-map.

The first two are in ``cv2``, the others in its ``contrib`` modules. The masks of the two groups have opposite
polarities, and those of ``contrib`` also change known pixels (findings/opencv_xphoto_masks.sh). On a surface of one
colour shift-map's result differs from run to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sair.common.errors import InputError, near
from sair.common.optional import not_installed, require
from sair.data.samples import to_pixels, to_tensor

EXTRA = "opencv"
PLAIN = {"telea": "INPAINT_TELEA", "navier_stokes": "INPAINT_NS"}
CONTRIB = {"fsr": "INPAINT_FSR_FAST", "fsr_best": "INPAINT_FSR_BEST", "shift_map": "INPAINT_SHIFTMAP"}


class OpenCV:
    """One of OpenCV's inpainting algorithms.

    Args:
        algorithm: ``telea`` (Telea, 2004), ``navier_stokes`` (Bertalmio et al., 2001), ``fsr`` or ``fsr_best``
            (frequency-selective reconstruction, Genser et al., 2018, with the library's fast or best settings) or
            ``shift_map`` (Pritch et al., 2009).
        radius: distance in pixels of the known pixels that ``telea`` and ``navier_stokes`` use.

    Raises:
        InputError: an unknown algorithm, a radius that is not positive, or OpenCV or its contrib modules are missing.
    """

    def __init__(self, *, algorithm: str, radius: float = 3) -> None:
        if algorithm not in (*PLAIN, *CONTRIB):
            raise InputError(
                f"algorithm {algorithm!r}: there is no such one. {near(str(algorithm), (*PLAIN, *CONTRIB))}"
            )
        if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 < radius < 1000:
            raise InputError(f"radius: {radius!r}; expected a positive number of pixels, such as 3.")
        require("cv2", EXTRA)
        import cv2

        if algorithm in CONTRIB and not hasattr(cv2, "xphoto"):
            raise InputError(
                f"algorithm {algorithm!r} is in OpenCV's contrib modules, which this OpenCV does not have. Install "
                "them: pip uninstall opencv-python opencv-python-headless; pip install 'sair-benchmark[opencv]'."
            )
        self.algorithm, self.radius = algorithm, radius

    @staticmethod
    def missing(parameters: Mapping[str, Any]) -> list[str]:
        """Return what a method file with these parameters lacks on this machine: OpenCV, or nothing."""
        return not_installed("cv2", EXTRA)

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Fill the holes; an image that is all hole becomes grey.

        Args:
            images: (B, 3, H, W) in [0, 1]; the algorithms get them rounded to 8 bits.
            masks: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1]: the whole output, in which ``fsr`` and ``shift_map`` also change known pixels.
        """
        filled = [
            to_tensor(self._fill(to_pixels(image), mask[0].bool().cpu().numpy()))
            for image, mask in zip(images, masks, strict=True)
        ]
        return torch.stack(filled).to(images)

    def _fill(self, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Fill an image, uint8 RGB (H, W, 3), where ``hole``, bool (H, W), is True."""
        import cv2

        if hole.all():  # cv2 returns its input unchanged (findings/opencv_inpaint_all_hole.sh); grey, as in MeanFill
            return np.full_like(image, 128)
        cv2.setNumThreads(torch.get_num_threads())
        if self.algorithm in PLAIN:  # each channel by itself, so the order of the channels does not matter
            marked = np.where(hole, 255, 0).astype(np.uint8)
            return cv2.inpaint(image, marked, self.radius, getattr(cv2, PLAIN[self.algorithm]))
        # FSR expects BGR, and shift-map a colour space whose first channel is the lightness.
        there, back = (
            (cv2.COLOR_RGB2Lab, cv2.COLOR_Lab2RGB)
            if self.algorithm == "shift_map"
            else (cv2.COLOR_RGB2BGR, cv2.COLOR_BGR2RGB)
        )
        known = np.where(hole, 0, 255).astype(np.uint8)
        # Not zeros_like: OpenCV would write into a copy of an array with other strides, and `filled` would stay zero.
        filled = np.zeros(image.shape, np.uint8)
        cv2.xphoto.inpaint(cv2.cvtColor(image, there), known, filled, getattr(cv2.xphoto, CONTRIB[self.algorithm]))
        return cv2.cvtColor(filled, back)
