"""Resize with a gradient that CUDA computes deterministically.

CUDA has no deterministic backward pass for bicubic, linear and antialiased interpolation, and raises in the mode that
``sair.common.runtime.set_up`` switches on. They are linear and act on each axis separately, so a matrix product per
axis gives the same values, and products are deterministic. ``sair.common.pooling`` does the same for pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LINEAR = ("linear", "bilinear", "bicubic")


def resize(x: Tensor, size: int | Sequence[int], mode: str, antialias: bool = False) -> Tensor:
    """Return ``functional.interpolate(x, size, mode=mode, antialias=antialias)``, computed by matrix products.

    Args:
        x: (B, C, W) or (B, C, H, W), float32 or float64.
        size: new length of each axis, or of all.
        mode: ``linear``, ``bilinear`` or ``bicubic``, with ``align_corners=False``.
        antialias: widen the filter when shrinking.
    """
    size = [size] * (x.ndim - 2) if isinstance(size, int) else size
    with torch.autocast(x.device.type, enabled=False):  # rounding to bfloat16 would be coarser than interpolating
        matrices = [_matrix(old, new, mode, antialias, x) for old, new in zip(x.shape[-len(size) :], size, strict=True)]
        x = x @ matrices[-1].T
        return matrices[0] @ x if len(size) == 2 else x


def _matrix(old: int, new: int, mode: str, antialias: bool, like: Tensor) -> Tensor:
    """Return the (new, old) matrix that resizes one axis: the resized identity, its second axis left as it is."""
    mode = "bilinear" if mode == "linear" else mode
    identity = torch.eye(old, dtype=like.dtype, device=like.device)[None, None]
    return functional.interpolate(identity, (new, old), mode=mode, align_corners=False, antialias=antialias)[0, 0]


class DeterministicResizing(TorchFunctionMode):
    """While active, ``resize`` replaces ``functional.interpolate`` in another package's code where possible."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``function``, or ``resize`` in place of an interpolation."""
        kwargs = dict(kwargs or {})
        linear = function is functional.interpolate and kwargs["mode"] in LINEAR
        if linear and kwargs["size"] is not None and not kwargs["align_corners"]:
            [x] = args
            return resize(x, kwargs["size"], kwargs["mode"], kwargs["antialias"])
        return function(*args, **kwargs)
