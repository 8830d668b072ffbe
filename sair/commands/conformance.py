"""Check what every method must do before its scores mean anything: one suite for the whole registry.

The message of each check explains what is wrong with a method, so that the author of an adapter can fix it.
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
from sair.inference.method import Method, load
from sair.methods.build import build

# Two 8-bit steps: batches may change the last bits of a float, and rounding may then flip.
TOLERANCE = 2 / 255


def samples(count: int = 3, size: int = 64) -> tuple[Tensor, Tensor]:
    """Draw faces and stroke masks of 20-40 %: (count, 3, size, size) in [0, 1] and (count, 1, size, size)."""
    images = torch.stack([to_tensor(draw_face(seed, size).image) for seed in range(count)])
    masks = torch.stack([torch.from_numpy(draw_strokes(s, size, size, 20, 40)).float()[None] for s in range(count)])
    return images, masks


def maker(spec: dict[str, Any]) -> Callable[[], Method]:
    """Return a function that builds a method for the suite, with random weights if the method is trained."""

    def make() -> Method:
        torch.manual_seed(0)
        if spec.get("training") is None:
            return load(spec, device="cpu")
        return Method(build(spec), spec)

    return make


def check(make: Callable[[], Method], size: int = 64) -> None:
    """Run the suite on a method.

    Args:
        make: function that builds the method, always the same one (``maker``).
        size: side of the test images in pixels.

    Raises:
        InputError: the method breaks a requirement; the message names the first one.
    """
    method = _evaluating(make())
    if hasattr(method.network, "check_manifest"):
        return  # precomputed images can only be checked against their own manifest, which happens on reading
    images, masks = samples(size=size)
    outputs = method.predict(images, masks)  # refuses a wrong size and values that are not finite
    _require(method, "range", bool(outputs.min() >= 0 and outputs.max() <= 1), "returns values outside [0, 1]")
    _require(
        method,
        "hole filled",
        bool((((outputs - images * (1 - masks)).abs() * masks).flatten(1).amax(1) > 0).all()),
        "leaves the hole unchanged",
    )
    _check_polarity(method, images, masks, outputs)
    one_by_one = torch.cat([method.predict(i[None], m[None]) for i, m in zip(images, masks, strict=True)])
    _require(
        method,
        "batch independence",
        bool((one_by_one - outputs).abs().max() <= TOLERANCE),
        "gives different results for an image alone and in a batch",
    )
    wide_images, wide_masks = images[..., : size - 13, :], masks[..., : size - 13, :]
    method.predict(wide_images, wide_masks)  # neither square nor divisible by anything
    _require(
        method,
        "repeatability",
        torch.equal(_evaluating(make()).predict(images, masks), outputs),
        "gives a different result when built again with the same seed",
    )


def _evaluating(method: Method) -> Method:
    if isinstance(method.network, torch.nn.Module):
        method.network.eval()
    return method


def _check_polarity(method: Method, images: Tensor, masks: Tensor, outputs: Tensor) -> None:
    """Check that the prediction depends on the known pixels. It does not if a method takes mask value 1 for known."""
    if method.spec["sees_truth"]:
        return
    changed = copy.deepcopy(method).predict(1 - images, masks)
    moved = ((changed - outputs).abs() * masks).flatten(1).amax(1)
    _require(
        method,
        "mask polarity",
        bool((moved > 1e-7).all()),
        "fills the hole without regard to the known pixels; it probably takes mask value 1 for known pixels",
    )


def _require(method: Method, requirement: str, holds: bool, fault: str) -> None:
    if not holds:
        raise InputError(f"method {method.spec['name']} breaks '{requirement}': it {fault}.")
