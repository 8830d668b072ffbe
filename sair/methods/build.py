"""Build the object that a specification describes, with initial weights."""

from __future__ import annotations

import importlib
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sair.common.arguments import check_arguments
from sair.common.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Inpainter(Protocol):
    """A network that fills holes. A trainable one also has ``optimizers`` and ``training_step`` (``training.loop``)."""

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Predict whole images; the harness composites and rounds them.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], hole pixels zero.
            masks: (B, 1, H, W), 1 = hole, 0 = known.

        Returns:
            (B, 3, H, W) in [0, 1].
        """
        ...


@dataclass(frozen=True)
class Built:
    """A network with the specification that it was built from.

    Attributes:
        network: the object of the specification's class.
        spec: plain data (``sair.methods.spec.load_spec``), with the parameters that the network was built with.
        image_size: side in pixels of the images that it was trained on; None for a method without a checkpoint.
    """

    network: Any  # an Inpainter, or a semantic encoder
    spec: dict[str, Any]
    image_size: int | None = None


def find_class(name: str, method: str) -> type:
    """Import the class that a specification names, from an installed package or a module of the working folder.

    Args:
        name: ``module:Class``.
        method: name of the method, for errors.

    Raises:
        InputError: it cannot be imported, or it is not a class that fills holes or can be trained.
    """
    # A console script has its own folder on the path, not the working folder. Add it last, so that it hides no package.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise InputError(f"method {method}: class {name!r} cannot be imported ({error}).") from None
    if not isinstance(found, type) or not (hasattr(found, "inpaint") or hasattr(found, "training_step")):
        raise InputError(f"method {method}: {name!r} is not a method: expected a class with `inpaint`.")
    return found


def build(spec: dict[str, Any]) -> Inpainter:
    """Make the object that a specification describes, with initial weights.

    ``sair.methods.loading.load`` also loads its weights. The specification must be one that the user chose; that of a
    checkpoint goes through ``sair.methods.checkpoint.restore``.

    Raises:
        InputError: the class cannot be found, or it does not accept the parameters of the specification.
    """
    cls = find_class(spec["class"], spec["name"])
    check_arguments(cls, spec["parameters"], f"method {spec['name']}")
    try:
        inspect.signature(cls).bind(**spec["parameters"])
    except TypeError as error:
        raise InputError(f"method {spec['name']}: {cls.__name__}: {error}. Name it in `parameters`.") from None
    try:
        return cls(**spec["parameters"])
    except ValueError as error:  # an InputError is one
        raise InputError(f"method {spec['name']}: {error}") from error
