"""Tell which version of the package this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Return the installed package's version, or a note that this checkout is not installed."""
    try:
        return version("sair-benchmark")
    except PackageNotFoundError:
        return "of a checkout that is not installed"
