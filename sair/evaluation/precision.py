"""Set the precision in which networks measure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch gradients off and compute in float32, regardless of the caller's autocast or TF32 setting."""
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.no_grad(), torch.autocast(device.type, enabled=False), cudnn:
        yield
