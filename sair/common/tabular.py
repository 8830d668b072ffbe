"""Read CSV files by declared columns: names stay text, and a wrong cell is an error that names its line."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sair.common.errors import InputError


class Number(NamedTuple):
    """The allowed values of a numeric column.

    Attributes:
        missing: whether ``nan`` or an empty cell is allowed.
        infinite: whether ``inf`` is allowed.
        low, high: the range of finite values, inclusive.
    """

    missing: bool = False
    infinite: bool = False
    low: float = -math.inf
    high: float = math.inf


FINITE = Number()
ANY = Number(missing=True, infinite=True)
TEXT = None

Columns = Mapping[str, Number | None]


def read_csv(
    path: str | Path, columns: Columns, optional: Collection[str] = (), remedy: str = "Make the file again."
) -> pd.DataFrame:
    """Read the named columns of a CSV file, in the order of the file; other columns are ignored.

    pandas' own reader would turn the names ``NA``, ``007``, ``1e5`` and ``True`` into values, so every column has a
    declared type here.

    Args:
        path: a UTF-8 file with a header, with or without a byte-order mark.
        columns: column name -> ``TEXT`` (kept exactly as written), or the numbers that are allowed.
        optional: columns that may be absent.
        remedy: the last sentence of every error message.

    Raises:
        InputError: the file is missing, empty or not CSV, lacks a column, or has a cell with a value that its column
            does not allow. The message names the file and the line.
    """
    header, lines = _read(Path(path), remedy)
    double = sorted({name for name in columns if header.count(name) > 1})
    if double:
        raise InputError(f"{path}: the column {double[0]!r} occurs twice. {remedy}")
    missing = [name for name in columns if name not in header and name not in optional]
    if missing:
        expected = ", ".join(name for name in columns if name not in optional)
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; expected {expected}. {remedy}")
    found = {}
    for place, name in enumerate(header):
        if name not in columns:
            continue
        allowed = columns[name]
        if allowed is TEXT:
            found[name] = pd.Series([cells[place] for _, cells in lines], dtype=object)
        else:
            values = [_number(cells[place], allowed, f"{path}, line {n}, {name}", remedy) for n, cells in lines]
            found[name] = pd.Series(values, dtype=float)
    return pd.DataFrame(found)


def _read(path: Path, remedy: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, and each further line as (line number, cells)."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, cells) for cells in reader if cells]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. {remedy}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error}). {remedy}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). {remedy}") from None
    if not lines:
        raise InputError(f"{path}: an empty file, expected a CSV file with a header. {remedy}")
    (_, header), *rest = lines
    for number, cells in rest:
        if len(cells) != len(header):
            raise InputError(f"{path}, line {number}: {len(cells)} cells, expected {len(header)}. {remedy}")
    return header, rest


def _number(cell: str, allowed: Number, where: str, remedy: str) -> float:
    try:
        value = float(cell) if cell else math.nan
    except ValueError:
        value = None
    if value is None or "_" in cell:  # float() accepts 1_000
        raise InputError(f"{where}: {cell!r} is not a number. {remedy}")
    if math.isnan(value) and not allowed.missing:
        raise InputError(f"{where}: {cell!r}, but every row needs a number here. {remedy}")
    if math.isinf(value) and not (allowed.infinite and value > 0):
        raise InputError(f"{where}: {cell!r}, but the number must be finite. {remedy}")
    if math.isfinite(value) and not allowed.low <= value <= allowed.high:
        raise InputError(f"{where}: {cell!r}, expected {allowed.low:g} to {allowed.high:g}. {remedy}")
    return value
