"""Read pickled weights without running anything that the file names.

A pickle is a program: it may name any function and have it called. The readers here resolve the names of a short table.
Every other name is refused, or becomes an object that does nothing; it is never imported.
"""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, ClassVar

import numpy as np
import torch

from sair.common.errors import InputError
from sair.common.file_kinds import largest_unpacked, unpacked_size


def load_arrays(path: str | Path) -> Any:
    """Read a pickle that may hold dictionaries and NumPy arrays and nothing else.

    Raises:
        InputError: the file names anything else (which is then neither imported nor called), or it is not a pickle.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(Path(path).read_bytes())).load()
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise InputError(
            f"{path}: refused ({error}). Expected a pickle of NumPy arrays in dictionaries; do not trust this file."
        ) from None


def load_tensors(path: str | Path) -> Any:
    """Read a PyTorch file that may hold tensors and plain values and nothing else.

    Raises:
        pickle.UnpicklingError: the file names anything else (which is then neither imported nor called), or it is no
            PyTorch file.
        OSError, RuntimeError, EOFError: there is no such file, or it is damaged.
    """
    return torch.load(path, map_location="cpu", weights_only=True)


def load_torch(path: str | Path) -> Any:
    """Read a PyTorch file of any age.

    Returns:
        The content of the file: its tensors and plain values, with an ``Inert`` in place of every other object.

    Raises:
        InputError: the file is an archive that would unpack to far more than its size.
        Exception: of any kind, if the file is old, damaged or malicious.
    """
    if zipfile.is_zipfile(path) and unpacked_size(path) > largest_unpacked(path):
        raise InputError(f"{path}: refused: far larger when it is unpacked. Do not trust this file.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # asks the user to report it to PyTorch
        try:
            return load_tensors(path)
        except pickle.UnpicklingError:  # PyTorch's own safe reader refuses the whole file for one foreign object in it
            # PyTorch before 1.6 wrote several pickles in a row, for which it calls `load`.
            reader = SimpleNamespace(__name__="inert_pickle", Unpickler=_TorchUnpickler, load=_load_inert)
            return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)


class Inert:
    """A placeholder for an object of any other class: it accepts every call, does nothing and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Return a new placeholder for any arguments."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Ignore the arguments."""

    def _ignore(self, *args: Any) -> None:
        pass

    # All methods that unpickling calls on an object that it has built.
    __setstate__ = __setitem__ = append = extend = add = update = _ignore


class _Unpickler(pickle.Unpickler):
    """Resolves the names of a table; a subclass decides how other names are handled."""

    KNOWN: ClassVar[Mapping[tuple[str, str], Any]]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            return self.foreign(module, name)
        known = self.KNOWN[module, name]
        # A pickle may set attributes on what it has looked up. Classes of C code refuse that; a function is wrapped.
        return known if isinstance(known, type) else lambda *args: known(*args)

    def foreign(self, module: str, name: str) -> Any:
        """Return a replacement for a name that is not in the table, or raise ``pickle.UnpicklingError``."""
        raise NotImplementedError


def _load_inert(stream: IO[bytes], **options: Any) -> Any:
    """Read one pickle of a stream, like ``pickle.load``; objects of other classes are ``Inert``."""
    return _TorchUnpickler(stream, **options).load()


class _ArrayUnpickler(_Unpickler):
    """Rebuilds dictionaries of NumPy arrays and refuses every other name."""

    # NumPy's own function that rebuilds an array; the module that it is in depends on NumPy's version.
    _RECONSTRUCT = np.empty(0).__reduce__()[0]
    KNOWN: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
    }

    def foreign(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed in a file of arrays")


class _TorchUnpickler(_Unpickler):
    """Rebuilds tensors. ``torch.load`` resolves the types of their storage itself, so these are not in the table."""

    KNOWN: ClassVar = {
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
        ("collections", "OrderedDict"): OrderedDict,
    }

    def foreign(self, module: str, name: str) -> Any:
        return Inert
