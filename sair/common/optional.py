"""Report optional libraries that are not installed, with the command that installs them."""

from __future__ import annotations

import importlib.util

from sair.common.errors import InputError


def not_installed(module: str, extra: str) -> list[str]:
    """Return a message if an optional library is not installed; an empty list if it is.

    Args:
        module: the module that is imported, such as ``cv2``.
        extra: the name of the group of ``pyproject.toml`` that installs it, such as ``opencv``.
    """
    if importlib.util.find_spec(module) is not None:
        return []
    return [f"the library {module} is not installed. Install it: pip install 'sair-benchmark[{extra}]'"]


def require(module: str, extra: str) -> None:
    """Refuse to continue without an optional library; arguments: same as in ``not_installed``.

    Raises:
        InputError: it is not installed; the message names the command that installs it.
    """
    for message in not_installed(module, extra):
        raise InputError(f"{message}.")
