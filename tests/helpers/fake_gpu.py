"""Apply a GPU's rules without a GPU: fake tensors have shapes and a device, but no values.

So a tensor made on another device raises where it meets one of the device, and a value cannot be read. Uses torch's
interface for devices that are written in Python, which is new and may change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

AUTOCAST = Path(__file__).parents[1] / "models/autocast.yaml"
# Operators whose result's value or size the host needs: the CPU waits until the GPU has done all earlier work.
READS = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
}


class BreaksRule(RuntimeError):
    """An operator that a GPU refuses, or that makes the CPU wait for it."""


class _Rules(TorchDispatchMode):
    """Note operators that a GPU refuses and, with ``no_reads``, those that make the CPU wait for it.

    Args:
        refused: name of an operator, with or without its overload -> why it is refused.
        no_reads: also note where a value or a size is read, or a copy between devices blocks.
    """

    def __init__(self, refused: Mapping[str, str], no_reads: bool) -> None:
        super().__init__()
        self.refused, self.no_reads = refused, no_reads
        self.faults: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.name().removeprefix("aten::")
        fault = self.refused.get(name) or self.refused.get(name.partition(".")[0])
        if self.no_reads:
            fault = fault or read(name.partition(".")[0], args, kwargs)
        if fault:
            self.faults.append(f"{function}: {fault}")
        if function is torch.ops.aten._to_copy.default and kwargs.get("device") not in (None, args[0].device):
            # Here, because a constant's copy would be a real one.
            return torch.empty(args[0].shape, device=kwargs["device"], dtype=kwargs.get("dtype") or args[0].dtype)
        return function(*args, **kwargs)


@contextmanager
def rules(refused: Mapping[str, str], no_reads: bool) -> Iterator[None]:
    """Raise at the end for all operators that break a rule; arguments as in ``_Rules``.

    Not at once, because an exception in the backward pass of a device that is written in Python ends the process.
    """
    mode = _Rules(refused, no_reads)
    try:
        with mode:
            yield
    except Exception as error:
        mode.faults.append(f"{type(error).__name__}: {error}")
        raise BreaksRule("\n".join(mode.faults)) from error
    if mode.faults:
        raise BreaksRule("\n".join(mode.faults))


def read(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Return why an operator makes the CPU wait for the GPU, or None."""
    if name in READS:
        return "a value or a size is read from the device"
    if name in ("index", "index_put", "index_put_"):
        masks = [index for index in args[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
        return "selecting by a mask reads the number of selected values" if masks else None
    if name == "_to_copy":
        source, target, free = args[0].device, kwargs.get("device") or args[0].device, kwargs.get("non_blocking")
    elif name == "copy_":
        source, target, free = args[1].device, args[0].device, (*args, False, False)[2] or kwargs.get("non_blocking")
    else:
        return None
    if source == target or (free and source.type == "cpu"):
        return None
    return f"a copy from {source} to {target} blocks"


def move(module: nn.Module, device: torch.device) -> None:
    """Replace a module's parameters and buffers by fake ones on a device. Other tensors stay where they are, as in
    ``module.to(device)``, which cannot change real tensors into fake ones.
    """
    moved: dict[int, Tensor] = {}  # a tensor in two places stays one
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, old in tensors.items():
                if old is not None and id(old) not in moved:
                    new = torch.empty_like(old, device=device, requires_grad=False)
                    moved[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
                tensors[name] = None if old is None else moved[id(old)]


class _Module(backend_registration._DummyBackendModule):
    """The module that torch expects of a device: autocast, which methods turn off in places, needs its types."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


@cache
def _autocast() -> tuple[torch.library.Library, ...]:
    """Register CUDA's autocast for the device, once: PyTorch has none for a device that is written in Python."""
    key = "AutocastPrivateUse1"
    others, some = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    others.fallback(torch.library.fallthrough_kernel, key)
    for dtype, names in yaml.safe_load(AUTOCAST.read_text()).items():
        for name in names:
            operator, _, overload = name.partition(".")
            function = getattr(getattr(torch.ops.aten, operator), overload or "default")
            some.impl(name, partial(_cast_and_call, function, getattr(torch, dtype)), key)
    return others, some


def _cast_and_call(function: Any, dtype: torch.dtype, *args: Any, **kwargs: Any) -> Any:
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
        args, kwargs = tree_map_only(Tensor, lambda x: _cast(x, dtype), (args, kwargs))
        return function(*args, **kwargs)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype) if x.is_floating_point() and x.dtype != torch.float64 else x


def autocast(precision: str) -> torch.autocast:
    """Return the autocast context of the fake device for ``fp32`` or ``bf16``, with CUDA's rules."""
    _autocast()
    return torch.autocast("gpu", torch.bfloat16, enabled=precision == "bf16")


@cache
def _mode() -> FakeTensorMode:
    """Register a device named ``gpu``, once: a fake tensor on ``cuda`` has no backward pass where no GPU is present.

    One mode serves all tests, because methods cache tensors per device and size, and modes do not mix.
    """
    backend_registration._setup_privateuseone_for_python_backend("gpu", backend_module=_Module())
    return FakeTensorMode(allow_non_fake_inputs=True)


@contextmanager
def fake_gpu() -> Iterator[torch.device]:
    """Let tensors be fake inside; yields the fake device."""
    # In the calling thread, because torch starts the threads of the devices that it knows at its first backward pass.
    with _mode(), torch.autograd.set_multithreading_enabled(False):
        yield torch.device("gpu", 0)
