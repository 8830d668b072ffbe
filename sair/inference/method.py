"""Load a method, and fill holes with ``inpaint`` (composited) or ``predict`` (whole images).

Only ``inpaint`` composites. ``predict`` and ``raw`` give all pixels as the network predicts them, known ones included.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sair.common import runtime
from sair.common.errors import InputError
from sair.data.manifest import ManifestRow
from sair.inference.kinds import ImageLike, read_images, read_masks
from sair.methods import loading
from sair.methods.build import Built

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Method(Built):
    """A method that is ready to fill holes, from ``sair.load``.

    Attributes:
        network: the object that computes predictions, in evaluation mode.
        spec: its specification: name, label, class, parameters and so on (``sair.methods.spec.load_spec``).
        image_size: side in pixels of the images that it was trained on; None for a method without a checkpoint.
        device: device on which it computes.
    """

    device: torch.device = CPU

    def inpaint(self, image: ImageLike, mask: ImageLike, *, size: int | None = None, hole: str = "white") -> Any:
        """Fill the hole of an image; known pixels are unchanged.

            >>> import numpy as np, sair
            >>> image = np.full((32, 32, 3), 100, np.uint8)
            >>> mask = np.zeros((32, 32), bool)
            >>> mask[8:16, 8:16] = True
            >>> image[mask] = 255  # never seen by the method
            >>> filled = sair.load("mean_fill").inpaint(image, mask)
            >>> filled[10, 10].tolist(), filled.raw.shape
            ([100, 100, 100], (32, 32, 3))

        Args:
            image: a NumPy array (H, W, 3), uint8 or float in [0, 1]; a Pillow image in RGB or grey; a torch tensor
                (3, H, W) or (B, 3, H, W), uint8 or float in [0, 1]; or the path of an image file.
            mask: of any of these kinds with one channel or none, and two values, of which the larger one is the hole;
                a mask of a single value is all hole or, if the value is 0, no hole.
            size: shorter side of the image that the network gets; None: that of its training (``predict_any_size``).
            hole: for a mask that is a path, what marks the hole in it (``sair.common.images.read_mask``).

        Returns:
            The composited image, of the kind and type of ``image`` (a Pillow image for a path). Its attribute ``raw``
            is the method's whole prediction, known pixels included.

        Raises:
            InputError: a kind, size or range that is not one of these, a mask that is not binary, or no hole.
        """
        check_sizes(size, 1.0)
        batch = read_images(image)
        masks = read_masks(mask, hole).to(batch.images)
        if masks.shape[-2:] != batch.images.shape[-2:] or len(masks) not in (1, len(batch.images)):
            raise InputError(
                f"mask of {tuple(masks.shape)}, but image of {tuple(batch.images.shape)}. Give each image a mask of "
                "its height and width; resize masks with nearest neighbour."
            )
        masks = masks.expand(len(batch.images), -1, -1, -1)
        if not masks.flatten(1).any(1).all():
            raise InputError("the mask has no hole: the larger of its two values marks the hole. Check the polarity.")
        shown = self.image_size if size is None else size
        raw = self.predict_any_size(batch.images.to(self.device), masks.to(self.device), shown).to(batch.images)
        filled = batch.back(raw, masks)
        filled.raw = batch.back(raw, torch.ones_like(masks))
        return filled

    @torch.no_grad()
    def predict(
        self, images: Tensor, masks: Tensor, rows: Sequence[ManifestRow] = (), captions: Sequence[str] = ()
    ) -> Tensor:
        """Predict whole images, and check the result. It is not composited.

        The hole is emptied before, unless the method's specification has ``sees_truth: true``.

        Args:
            images: complete images, (B, 3, H, W) in [0, 1].
            masks: (B, 1, H, W), 1 = hole.
            rows: the manifest's rows, for errors.
            captions: one per image, for a method that uses the dataset's captions.

        Returns:
            (B, 3, H, W)

        Raises:
            InputError: the prediction has another size, or a value that is not finite.
        """
        seen = images if self.spec["sees_truth"] else images * (1 - masks)
        given: dict[str, Any] = {"rows": rows, "captions": captions}
        by_row = {key: value for key, value in given.items() if key in self._options}
        predictions = self.network.inpaint(seen, masks, **by_row)
        name = self.spec["name"]
        if predictions.shape != images.shape:
            raise InputError(
                f"method {name} returned {tuple(predictions.shape)} for images of {tuple(images.shape)}. A prediction "
                "must have its image's size; see docs/add-a-method.md."
            )
        bad = (~torch.isfinite(predictions)).flatten(1).any(1).nonzero()[:, 0].tolist()
        if bad:
            which = ", ".join(f"{rows[i].bucket}/{rows[i].id}" for i in bad) if rows else f"number {bad}"
            raise InputError(
                f"method {name} predicted values that are not finite for {which}. Its training may have failed."
            )
        return predictions

    @torch.no_grad()
    def predict_any_size(self, images: Tensor, masks: Tensor, size: int | None = None, scale: float = 1.0) -> Tensor:
        """Predict whole images of any size. They are not composited.

        A network fills holes best at the scale that it was trained on, so a larger image is first reduced to about that
        scale. An implicit method then renders the full size; the prediction of another method is enlarged.

        Args:
            images: (B, 3, H, W) in [0, 1].
            masks: (B, 1, H, W), 1 = hole.
            size: shorter side in pixels to which a larger image is reduced; None does not reduce it.
            scale: side of the output / side of the image; only implicit methods can use another value than 1.

        Returns:
            (B, 3, round(scale * H), round(scale * W))

        Raises:
            InputError: same as in ``predict``.
        """
        full = images.shape[-2:]
        wanted = tuple(max(1, round(scale * side)) for side in full)
        if size is not None and size < min(full):
            images, masks = _reduce(images, masks, tuple(max(1, round(side * size / min(full))) for side in full))
        elif scale == 1:
            return self.predict(images, masks)
        if self.renders_any_size:
            return self.network.inpaint(images * (1 - masks), masks, size=wanted)
        return F.interpolate(self.predict(images, masks), wanted, mode="bicubic", align_corners=False)

    @property
    def renders_any_size(self) -> bool:
        """Whether the method is implicit and renders any size: its ``inpaint`` takes the ``size`` of the output."""
        return "size" in self._options

    @property
    def _options(self) -> Mapping[str, Any]:
        return inspect.signature(self.network.inpaint).parameters


def load(
    source: str | Path | Mapping[str, Any],
    weights: str | Path | None = None,
    *,
    device: str = "auto",
    preset: str = "mini",
) -> Method:
    """Load a method with its weights, onto a device.

        >>> import sair
        >>> sair.load("biharmonic").spec["label"]
        'Biharmonic'

    Args:
        source: a checkpoint, such as ``results/faces/sair/seed0/checkpoint.safetensors``; the name of a method of
            ``config/methods`` that needs no training; or a specification.
        weights: checkpoint of a trained method whose specification is given.
        device: ``auto``, ``cpu`` or ``cuda``.
        preset: size of a method that is given by name.

    Raises:
        InputError: no such method or file, a trained method without a checkpoint, or a checkpoint that may not be
            built (``sair.methods.trust``).
    """
    built = loading.load(source, weights, preset=preset)
    target = runtime.device(device)
    if isinstance(built.network, torch.nn.Module):
        built.network.to(target)
    return Method(built.network, built.spec, built.image_size, target)


def check_sizes(size: int | None, scale: float) -> None:
    """Raise unless a size and a scale are positive numbers.

    Raises:
        InputError: one of them is not; the message states which.
    """
    if size is not None and size < 1:
        raise InputError(f"a size of {size}: expected a positive number of pixels, such as 256.")
    if not 0 < scale < math.inf:
        raise InputError(f"a scale of {scale:g}: expected a positive number, such as 2.5.")


def _reduce(images: Tensor, masks: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Reduce images by averaging their known pixels; a reduced pixel that overlaps the hole is part of the hole."""
    known = F.interpolate(1 - masks, shape, mode="area")
    small = F.interpolate(images * (1 - masks), shape, mode="area") / known.clamp_min(1e-6)
    hole = (known < 1 - 1e-6).float()
    return (small * (1 - hole)).clamp(0, 1), hole
