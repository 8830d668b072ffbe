"""Write the page of equal budgets with its record, and read the record for ``sair verify``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

from sair.common.arguments import check_arguments
from sair.common.errors import InputError
from sair.common.files import check_output
from sair.pipeline.project import Project
from sair.provenance import records
from sair.reporting.equal_budgets import Request, complete, inputs_of
from sair.reporting.equal_budgets_page import write_budgets

NAME = "budgets"


def write_page(
    project: Project,
    folders: Sequence[str],
    output: Path,
    metric: str,
    dataset: str,
    methods: Sequence[str],
    pairs: Sequence[Sequence[str]],
) -> list[str]:
    """Compare methods at equal budgets, and write the page, its CSV, its figure and its record.

    Args:
        project: the config, for ``regression.least``, labels and the order of methods.
        folders: results folders, one per budget.
        output: folder to write into.
        metric, dataset, methods, pairs: same as in ``sair.reporting.equal_budgets.Request``.

    Returns:
        The verdicts on each pair, one sentence each.

    Raises:
        InputError: the folders cannot be compared, or the output cannot be written.
    """
    started = time.monotonic()
    labels = {name: spec["label"] for name, spec in project.methods.items()}
    least = project.config["regression"]["least"]
    order = [name for table in project.config["tables"] for name in project.rows(table)]
    request = complete(Request(folders, metric, dataset, methods, pairs, labels, least), order)
    paths = {"markdown": f"{NAME}.md", "csv": f"{NAME}.csv", "figure": f"{NAME}.png"}
    written = SimpleNamespace(**{key: output / name for key, name in paths.items()})
    for path in vars(written).values():
        check_output(path)
    sentences = write_budgets(request, written)
    job = SimpleNamespace(
        rule=NAME, threads=1, params={}, input=inputs_of(request), output=list(vars(written).values()),
        log=[f"{output}/logs/{NAME}.log"], config={"results": str(output), NAME: asdict(request)},
    )  # fmt: skip
    records.record(job, started, {})
    return sentences


def _record(results: str) -> Path:
    return records.record_of(f"{results}/logs/{NAME}.log", results)


def is_recorded(results: str) -> bool:
    """Return whether a folder has a page of equal budgets."""
    return _record(results).is_file()


def recorded(results: str) -> Request:
    """Read the request that the page of a folder answers; folders that were moved with it are found.

    Raises:
        InputError: the record is damaged.
    """
    facts = records.read_record(_record(results))
    try:
        given, home = facts["config"][NAME], facts["config"]["results"]
        check_arguments(Request, given, NAME)
        request = Request(**given)
    except (KeyError, TypeError, InputError):
        raise InputError(f"{_record(results)}: not the record of this page. Run sair budgets again.") from None
    folders = records.lying_in(results, home, dict.fromkeys(request.folders, ""))
    return complete(replace(request, folders=list(folders)))
