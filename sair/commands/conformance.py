"""What every method must do before its scores mean anything: one suite over the whole registry.

Each check states what is wrong with a method that fails it, so an adapter's author can mend it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sair.common.errors import InputError
from sair.data.embedded.faces import draw_face
from sair.data.embedded.strokes import draw_strokes
from sair.data.samples import to_tensor
from sair.inference.predict import run
from sair.methods.build import Inpainter, build
from sair.methods.loading import load

# Two 8-bit steps: batches may change the last bits of a float, and rounding may then flip.
TOLERANCE = 2 / 255


def samples(count: int = 3, size: int = 64) -> tuple[Tensor, Tensor]:
    """Drawn faces and stroke masks of 20-40 %, (count, 3, size, size) in [0, 1] and (count, 1, size, size)."""
    images = torch.stack([to_tensor(draw_face(seed, size).image) for seed in range(count)])
    masks = torch.stack([torch.from_numpy(draw_strokes(s, size, size, 20, 40)).float()[None] for s in range(count)])
    return images, masks


def maker(spec: dict[str, Any]) -> Callable[[], Inpainter]:
    """Return what builds a method for the suite: on random weights if it is trained, else as it runs."""

    def make() -> Inpainter:
        torch.manual_seed(0)
        return build(spec) if spec.get("training") is not None else load(spec).method

    return make


def check(make: Callable[[], Inpainter], spec: dict[str, Any], size: int = 64) -> None:
    """Put a method through the suite.

    Args:
        make: builds the method; the same each time it is called (``maker``).
        spec: the method's specification.
        size: side of the test images in pixels.

    Raises:
        InputError: the first requirement that the method breaks, by name.
    """
    method = make()
    if hasattr(method, "check_manifest"):
        return  # a folder of images answers for its manifest alone, and is checked against it when it is read
    if isinstance(method, torch.nn.Module):
        method.eval()
    images, masks = samples(size=size)
    outputs = run(method, images, masks, spec)  # refuses a wrong size and values that are not finite
    _require(spec, "range", outputs.min() >= 0 and outputs.max() <= 1, "returns values outside [0, 1]")
    _require(
        spec,
        "hole filled",
        bool((((outputs - images * (1 - masks)).abs() * masks).flatten(1).amax(1) > 0).all()),
        "leaves the hole as it came",
    )
    _check_polarity(method, spec, images, masks, outputs)
    one_by_one = torch.cat([run(method, i[None], m[None], spec) for i, m in zip(images, masks, strict=True)])
    _require(
        spec,
        "batch independence",
        bool((one_by_one - outputs).abs().max() <= TOLERANCE),
        "gives an image another result in a batch than alone",
    )
    wide_images, wide_masks = images[..., : size - 13, :], masks[..., : size - 13, :]
    run(method, wide_images, wide_masks, spec)  # neither square nor divisible by anything
    again = make()
    if isinstance(again, torch.nn.Module):
        again.eval()
    _require(
        spec,
        "repeatability",
        torch.equal(run(again, images, masks, spec), outputs),
        "gives another result when built again with the same seed",
    )


def _check_polarity(method: Inpainter, spec: dict[str, Any], images: Tensor, masks: Tensor, outputs: Tensor) -> None:
    """The hole's filling must follow the known pixels: a method that takes 1 for known sees none of them."""
    if spec["sees_truth"]:
        return
    changed = run(copy.deepcopy(method), 1 - images, masks, spec)
    moved = ((changed - outputs).abs() * masks).flatten(1).amax(1)
    _require(
        spec,
        "mask polarity",
        bool((moved > 1e-7).all()),
        "fills the hole alike whatever surrounds it; it probably takes mask value 1 for known pixels",
    )


def _require(spec: dict[str, Any], requirement: str, holds: bool, fault: str) -> None:
    if not holds:
        raise InputError(f"method {spec['name']} breaks '{requirement}': it {fault}.")
