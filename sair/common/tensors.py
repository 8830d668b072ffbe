"""Judge the values of weights that come from a file, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def unfit_values(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """List weights whose values cannot be taken: not finite, not real numbers, or not stored in the plain way.

    Args:
        own: a method's weights as it was built. Where these are not finite themselves, an attention mask for example,
            the given ones need not be.
        given: weights of the same names and shapes.
    """
    wrong = []
    for name in sorted(own.keys() & given.keys()):
        value, wanted = given[name], own[name]
        if value.is_meta or value.layout != torch.strided or value.is_quantized:
            wrong.append(f"{name} is not stored as plain numbers")
        elif value.is_floating_point() != wanted.is_floating_point() or value.is_complex() != wanted.is_complex():
            wrong.append(f"{name} holds {value.dtype}, expected {wanted.dtype}")
        elif wanted.is_floating_point() and not _finite(value.to(wanted.dtype)) and _finite(wanted):
            wrong.append(f"{name} has values that are not finite")
    return wrong


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())
