"""Choose the cases of a slow test that `make test-fast` runs."""

from collections.abc import Iterable

import pytest


def quick(cases: Iterable[str], *named: str) -> list:
    """Mark all cases slow but the named ones, which must be among them."""
    cases = list(cases)
    unknown = set(named) - set(cases)
    if unknown:
        raise ValueError(f"no such cases: {', '.join(sorted(unknown))}")
    return [case if case in named else pytest.param(case, marks=pytest.mark.slow) for case in cases]
