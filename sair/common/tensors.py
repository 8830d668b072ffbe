"""Copy weights into a network, all of them or none, once names, shapes and values fit; make constants on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sair.common.errors import InputError

_SHOWN = 10  # names of each kind of problem that an error lists


def constants(values: Sequence[float], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ``torch.tensor(values)`` made on the device, because a copy to a GPU makes the CPU wait."""
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values])


def load_strictly(own: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str | Path, owner: str) -> None:
    """Copy weights over a network's own, all of them or none.

    Args:
        own: the network's weights by name; they are changed in place.
        given: the weights that replace them, by the same names.
        source: the file that these come from, for the error.
        owner: name of the network, for the error.

    Raises:
        InputError: names that are missing or left over, or weights of another shape, kind or not finite. The message
            lists them.
    """
    problems = {
        "missing": sorted(own.keys() - given.keys()),
        "left over": sorted(given.keys() - own.keys()),
        "of another shape": [
            f"{name} {tuple(given[name].shape)}, expected {tuple(own[name].shape)}"
            for name in sorted(own.keys() & given.keys())
            if own[name].shape != given[name].shape
        ],
    }
    problems["unusable"] = [] if any(problems.values()) else unfit_values(own, given)
    if any(problems.values()):
        found = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items() if names)
        raise InputError(f"{source}: does not fit {owner}. {found}. Nothing was loaded.")
    with torch.no_grad():
        for name, value in given.items():
            own[name].copy_(value)


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def unfit_values(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """List weights whose values cannot be used: not finite, of another kind of number, or not stored densely.

    Args:
        own: the weights of a newly built network. Where these are themselves not finite, for example in an attention
            mask, the given ones need not be finite either.
        given: weights of the same names and shapes.

    Returns:
        A line for each weight: its name and what is wrong with it.
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
