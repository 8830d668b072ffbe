"""Read the numbers that the SAIR paper prints (paper.yaml)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def all_claims() -> dict[str, Any]:
    """Return every table of the paper by name: title, measure, buckets, metrics, rows, orderings."""
    return yaml.safe_load(files("sair.reporting").joinpath("paper.yaml").read_text(encoding="utf-8"))


def claimed(claims: Mapping[str, Any], row: str) -> dict[tuple[str, str], float]:
    """Return the paper's numbers of one row of a table by (bucket, metric); empty if it prints none."""
    return {
        (bucket, metric): value
        for bucket, values in zip(claims["buckets"], claims["rows"].get(row, []), strict=False)
        for metric, value in zip(claims["metrics"], values, strict=True)
        if value is not None
    }
