"""Read what the trainings of a table's rows cost: parameters and operations from checkpoints, time from records."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from tabulate import tabulate

from sair.common.errors import InputError
from sair.common.file_kinds import SAFETENSORS, kind_of, safetensors_metadata
from sair.provenance.records import is_amount, read_record
from sair.reporting.conditions import record_folder

TERA = 1e12
CHECKPOINT = "checkpoint.safetensors"  # beside the scores of a training


class Budget(NamedTuple):
    """The cost of one training; nan where it was not recorded. Of several seeds, the mean.

    parameters: trainable numbers.
    operations: of all steps, a multiplication and an addition as two.
    core_seconds: wall time times threads, of a training on a CPU.
    gpu_seconds: wall time of a training on a GPU, times the GPUs.
    """

    parameters: float = math.nan
    operations: float = math.nan
    core_seconds: float = math.nan
    gpu_seconds: float = math.nan

    @property
    def counted(self) -> tuple[float, float]:
        """Return what does not depend on the machine: parameters and operations."""
        return self.parameters, self.operations

    @property
    def known(self) -> bool:
        """Return whether anything was recorded."""
        return not all(map(math.isnan, self))


class Counted(NamedTuple):
    """What the checkpoint of one training states about its size; nan where it does not.

    parameters: trainable numbers.
    steps: of the optimizer.
    operations: of all steps, a multiplication and an addition as two.
    """

    parameters: float = math.nan
    steps: float = math.nan
    operations: float = math.nan


NO_BUDGET = Budget()
COUNTED = Budget._fields[:2]  # columns of a table's CSV, which two runs on one machine make equal


def budget_of(files: Sequence[str | Path]) -> Budget:
    """Return the cost of a row's trainings, averaged over its seeds.

    Args:
        files: its scores.csv or segmentation.csv, one per seed; the checkpoints are beside them.

    Raises:
        InputError: a checkpoint or record beside them is not one.
    """
    found = [_budget(Path(file)) for file in files]
    return Budget(*map(fmean, zip(*found, strict=True))) if found else NO_BUDGET


def _budget(file: Path) -> Budget:
    size = counted(file.with_name(CHECKPOINT))
    return Budget(size.parameters, size.operations, *_seconds(file))


def counted(checkpoint: Path) -> Counted:
    """Return what a checkpoint states about the size of its training; nan if there is no such file.

    Raises:
        InputError: the file is not a checkpoint of this project.
    """
    if not checkpoint.is_file():
        return Counted()
    try:
        facts: Any = (
            json.loads(safetensors_metadata(checkpoint)["sair"]) if kind_of(checkpoint) == SAFETENSORS else None
        )
        amounts = [facts.get(key) for key in Counted._fields]
        amounts = [None if amount != amount else amount for amount in amounts]  # nan: not counted
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        amounts = None
    if amounts is None or not all(amount is None or is_amount(amount) for amount in amounts):
        raise InputError(f"{checkpoint}: not a checkpoint of this project. Delete it and train again.")
    parameters, steps, operations = (math.nan if amount is None else float(amount) for amount in amounts)
    return Counted(parameters, steps, operations * steps)


def _seconds(file: Path) -> tuple[float, float]:
    """Return the core seconds and the GPU seconds of the training that the record beside a file's results states."""
    path = record_folder(file) / "train.json"
    if not path.is_file():
        return math.nan, math.nan
    facts = read_record(path)
    if facts.get("wall_seconds") is None or facts.get("threads") is None:
        return math.nan, math.nan
    used = float(facts["wall_seconds"]) * max(1, int(facts["threads"]))
    return (math.nan, used) if facts.get("device_type") == "cuda" else (used, math.nan)


def budget_table(labels: Mapping[str, str], budgets: Mapping[str, Budget], timed: bool = False) -> str:
    """Return the costs as a Markdown table with its heading; "" if none was recorded.

    Args:
        labels: label of each method as Markdown, in the table's order.
        budgets: cost of each method; those without a training are left out.
        timed: state seconds, too. Then two runs do not give the same table.
    """
    known = {method: budgets[method] for method in labels if method in budgets and budgets[method].known}
    if not timed:
        known = {method: Budget(*own.counted) for method, own in known.items() if Budget(*own.counted).known}
    if not known:
        return ""
    columns = {
        "trainable parameters": [f"{own.parameters:,.0f}" for own in known.values()],
        "operations (10¹²)": [f"{own.operations / TERA:.3g}" for own in known.values()],
        "core seconds": [f"{own.core_seconds:,.0f}" for own in known.values()],
        "GPU seconds": [f"{own.gpu_seconds:,.0f}" for own in known.values()],
    }
    shown = {name: cells for name, cells in columns.items() if set(cells) != {"nan"}}
    body = zip((labels[method] for method in known), *shown.values(), strict=True)
    cells = [["–" if cell == "nan" else cell for cell in line] for line in body]
    align = ["left", *["right"] * len(shown)]
    table = tabulate(cells, ["Method", *shown], tablefmt="pipe", colalign=align, disable_numparse=True)
    seconds = " Seconds are wall time times threads, or GPUs, of the last start." if timed else ""
    return f"{_heading(labels, known)}{seconds}\n\n{table}\n\n"


def _heading(labels: Mapping[str, str], known: Mapping[str, Budget]) -> str:
    counted = {method: own.operations for method, own in known.items() if own.operations > 0}
    text = "What one training of each method cost. Rows are compared at these budgets, which are not equal"
    if len(counted) > 1:
        most, least = max(counted, key=counted.__getitem__), min(counted, key=counted.__getitem__)
        text += f": {labels[most]} took {counted[most] / counted[least]:.1f} times the operations of {labels[least]}"
    return (
        f"{text}. Operations are those of matrix products and convolutions, forward and backward, without the training "
        "of a semantic encoder."
    )
