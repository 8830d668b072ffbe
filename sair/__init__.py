"""A benchmark of image inpainting. From a notebook: ``load`` a method, ``inpaint``, ``score``, ``compare``.

>>> import sair
>>> sorted(sair.__all__)
['InputError', 'Method', 'compare', 'load', 'score']
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sair.api import Method, compare, load, score
    from sair.common.errors import InputError

__all__ = ["InputError", "Method", "compare", "load", "score"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the command ``sair`` and the planning of the workflow need no torch."""
    if name == "__version__":
        return importlib.import_module("sair.common.version").package_version()
    if name == "InputError":
        return importlib.import_module("sair.common.errors").InputError
    if name in __all__:
        return getattr(importlib.import_module("sair.api"), name)
    raise AttributeError(f"module 'sair' has no attribute {name!r}")
