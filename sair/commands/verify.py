"""Check that every printed number is backed: recompute scores from images, and tables and claims from scores."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd

from sair.commands.budgets import is_recorded, recorded
from sair.common.errors import InputError
from sair.common.progress import progress
from sair.evaluation import fid
from sair.evaluation.metrics.features import KINDS, metrics_of
from sair.evaluation.metrics.of_images import NETWORKS, OPTIONAL_METRICS
from sair.evaluation.metrics.registry import SET_METRICS
from sair.evaluation.score import score_predictions
from sair.evaluation.score_conventions import score_conventions
from sair.pipeline import pages
from sair.pipeline.project import FID_NETWORK, Project
from sair.provenance import records as provenance
from sair.reporting import conditions
from sair.reporting.claims import write_claims
from sair.reporting.conventions import write_conventions
from sair.reporting.equal_budgets_page import write_budgets
from sair.reporting.inputs import QUALITY
from sair.reporting.measured import read_distances, read_network_distances, read_stored
from sair.reporting.report import comparable, write_report
from sair.reporting.rows import read_frame
from sair.reporting.tables import write_table

BACKED, NOT_BACKED, NOT_MADE = "backed", "NOT BACKED", "not made"
MIXED = "mixed"  # backed, but by rows that differ in device, precision or versions, as the table states
TABLE_FILES, PAGE_FILES = (".md", ".tex", ".csv"), (".md", ".csv")  # files of a table, and of the claims
DIGITS = 1e-9  # scores are stored with ten significant digits
# A network's sums depend on the number of threads and on the processor (docs/metrics.md: up to 6e-8).
NETWORK = 1e-6
MEASURED_BY_NETWORKS = [
    column
    for metric in (*NETWORKS.values(), *OPTIONAL_METRICS)
    if metric.network is not None or metric.captioned is not None
    for column in metric.columns
]


class Finding(NamedTuple):
    """Whether one file of results is backed, and in which place it is not."""

    state: str
    file: str
    said: str = ""


def verify(project: Project, lpips: bool = False) -> Iterator[Finding]:
    """Check every table, the claims, the report, and the scores behind them.

    Args:
        project: the config whose results are checked.
        lpips: also recompute LPIPS, which takes as long as scoring did.

    Yields:
        One finding per file of scores and per page; others for changed files and rows with different conditions.
    """
    tables = [table for table in project.config["tables"] if _is_made(f"{project.results}/{table}", TABLE_FILES)]
    yield from _verify_scores(project, tables, lpips)
    yield from _verify_tables(project, tables)
    for path, problem in provenance.changed(project.results, project.checkouts()):
        yield Finding(NOT_BACKED, path, problem)
    yield from _verify_claims(project)
    yield from _verify_conventions(project)
    yield from _verify_budgets(project.results)
    report = f"{project.results}/report.html"
    yield _caught(report, lambda: _report(project, report)) if Path(report).is_file() else Finding(NOT_MADE, report)


def _is_made(name: str, endings: tuple[str, ...]) -> bool:
    """Return whether any file of a table exists: without its page, a table still shows its numbers."""
    return any(Path(f"{name}{ending}").is_file() for ending in endings)


def _verify_scores(project: Project, tables: Collection[str], lpips: bool) -> Iterator[Finding]:
    """Recompute the scores, FID and KID behind some tables; several tables may share a file."""
    scores = {table: project.measured(table) for table in tables if project.layout(table).measure == QUALITY}
    for path, dataset in progress(_with_datasets(project, scores), desc="scores", unit="file"):
        yield _caught(path, partial(_quality, project, path, dataset, lpips))
    distances = {table: _printed_distances(project, table) for table in tables}
    for path, dataset in progress(_with_datasets(project, distances), desc="FID and KID", unit="file"):
        yield _caught(path, partial(_distances, project, path, dataset))
    for network in project.config.get("distances", ()):
        files = {table: _printed_networks(project, table).get(network, {}) for table in tables}
        for path, dataset in progress(_with_datasets(project, files), desc=f"distances by {network}", unit="file"):
            yield _caught(path, partial(_distances, project, path, dataset, network))


def _with_datasets(project: Project, tables: Mapping[str, Mapping[str, Sequence[str]]]) -> list[tuple[str, str]]:
    """Return the files of some tables, each once, with their datasets."""
    return sorted(
        {
            (path, project.layout(table).dataset)
            for table, methods in tables.items()
            for path in chain.from_iterable(methods.values())
        }
    )


def _verify_tables(project: Project, made: Collection[str]) -> Iterator[Finding]:
    """Recompute tables from their scores, and report rows that were computed under different conditions."""
    for table in project.config["tables"]:
        output = f"{project.results}/{table}"
        if table not in made:
            yield Finding(NOT_MADE, f"{output}.md")
            continue
        yield from _compared(output, TABLE_FILES, partial(_table, project, table))
        labels = {project.method(method)["label"]: files for method, files in project.measured(table).items()}
        if differ := conditions.differences(labels):
            yield Finding(MIXED, f"{output}.md", f"its rows were computed under different conditions. {differ}")


def _verify_claims(project: Project) -> Iterator[Finding]:
    """Recompute the page of claims from scores; a config without claims has no such page."""
    inputs, output = pages.claims_inputs(project), f"{project.results}/claims"
    if inputs is None:
        return
    if not _is_made(output, PAGE_FILES):
        yield Finding(NOT_MADE, f"{output}.md")
        return
    yield from _compared(output, PAGE_FILES, lambda again: write_claims(inputs, project.config, project.methods, again))


def _verify_conventions(project: Project) -> Iterator[Finding]:
    """Recompute the scores under published conventions from images, and their page from these scores."""
    inputs, output = pages.conventions_inputs(project), f"{project.results}/conventions"
    if not _is_made(output, PAGE_FILES):
        yield Finding(NOT_MADE, f"{output}.md")
        return
    for path in progress(sorted(chain.from_iterable(inputs.measured.values())), desc="conventions", unit="file"):
        yield _caught(path, partial(_scores, path, inputs.manifest, score_conventions))
    methods = project.specifications(project.config["conventions"]["table"])
    yield from _compared(output, PAGE_FILES, lambda again: write_conventions(inputs, project.config, methods, again))


def _verify_budgets(results: str) -> Iterator[Finding]:
    """Recompute the page of equal budgets, which only the folders of `sair budgets` have, from the folders it names."""
    if is_recorded(results):
        yield from _compared(f"{results}/budgets", PAGE_FILES, lambda again: write_budgets(recorded(results), again))


def _caught(file: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except InputError as error:
        return Finding(NOT_BACKED, file, str(error))


def _quality(project: Project, path: str, dataset: str, lpips: bool) -> Finding:
    again = partial(score_predictions, networks=lpips, metrics=project.optional_metrics)
    found = _scores(path, project.manifest(dataset), again, () if lpips else MEASURED_BY_NETWORKS)
    return found if lpips or found.state != BACKED else found._replace(said=f"{found.said}, without LPIPS")


def _scores(path: str, manifest: str, score: Callable[..., pd.DataFrame], left_out: Collection[str] = ()) -> Finding:
    """Recompute a method's scores from its images, which also checks the ground truth's hashes and the compositing."""
    if not Path(path).is_file():
        return Finding(NOT_BACKED, path, "is missing, but a table uses it")
    stored = read_stored(path)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "scores.csv"
        score(manifest, Path(path).parent / "predictions", again, show=False)
        made = read_stored(again)
    if list(stored.columns) != list(made.columns):
        return Finding(NOT_BACKED, path, "its columns are not those that scoring writes")
    names = ["id", "bucket"]
    if not stored[names].equals(made[names]):
        return Finding(NOT_BACKED, path, "its rows are not the manifest's")
    for column in made.columns.difference([*names, *left_out], sort=False):
        pair = stored[column], made[column]
        slack = NETWORK if column in MEASURED_BY_NETWORKS else 0
        same = pair[0] == pair[1] if column == "cluster" else np.isclose(*pair, rtol=DIGITS, atol=slack, equal_nan=True)
        if not same.all():
            first = int(np.argmin(same))
            found, wanted = (
                value if column == "cluster" else f"{value:g}" for value in (pair[0][first], pair[1][first])
            )
            return Finding(
                NOT_BACKED,
                path,
                f"{column} of {stored.bucket[first]}/{stored.id[first]} is {found}, but its image gives {wanted} "
                f"({np.count_nonzero(~same)} such rows)",
            )
    return Finding(BACKED, path, f"{len(made)} images")


def _printed_distances(project: Project, table: str) -> dict[str, list[str]]:
    """Return the files of FID and KID that a table shows, even if this machine lacks the weights to compute them."""
    path = Path(f"{project.results}/{table}.csv")
    if project.layout(table).measure != QUALITY or not path.is_file():
        return {}
    frame = read_frame(path)
    return project.distances(table) if frame.n[frame.metric.isin(SET_METRICS)].any() else {}


def _printed_networks(project: Project, table: str) -> dict[str, dict[str, list[str]]]:
    """Return the files of distances that a table shows, by network, even if this machine lacks their weights."""
    path = Path(f"{project.results}/{table}.csv")
    if project.layout(table).measure != QUALITY or not path.is_file():
        return {}
    frame = read_frame(path)
    return {
        network: project.distances(table, f"distances.{network}.csv")
        for network in project.config.get("distances", ())
        if frame.n[frame.metric.isin(metrics_of(network))].any()
    }


def _distances(project: Project, path: str, dataset: str, network: str = FID_NETWORK) -> Finding:
    """Recompute FID and KID from the stored features, which must belong to the images on disk."""
    if not Path(path).is_file():
        return Finding(NOT_BACKED, path, "is missing, but a table uses it")
    folder, manifest = Path(path).parent, project.manifest(dataset)
    own = Path(project.features(network, dataset, "", 0)).name
    method = fid.read_features(folder / own)
    if method.images != fid.predictions_digest(manifest, folder / "predictions"):
        return Finding(NOT_BACKED, path, "its features are of other images")
    truth = fid.read_features(project.features(network, dataset))
    made, stored = fid.distances(manifest, truth, method), read_distances(path)
    if Path(path).name != "fid.csv":
        made, stored = fid.all_distances(manifest, truth, method), read_network_distances(path)
    for column in ("bucket", "n", "weights_sha256"):
        if list(stored[column]) != list(made[column]):
            return Finding(NOT_BACKED, path, f"{column} is {list(stored[column])}, but should be {list(made[column])}")
    numbers = [column for column in made.columns if column.startswith(tuple(KINDS))]
    # Other machines' libraries round differently, and a distance is the difference of far larger numbers.
    same = np.isclose(stored[numbers], made[numbers], rtol=1e-6, atol=1e-6, equal_nan=True)
    if not same.all():
        row, column = np.argwhere(~same)[0]
        found, wanted = (frame[numbers[column]][row] for frame in (stored, made))
        said = f"{numbers[column]} of {made.bucket[row]} is {found:g}, but its features give {wanted:g}"
        return Finding(NOT_BACKED, path, said)
    return Finding(BACKED, path, f"{len(made)} buckets, from features")


def _table(project: Project, table: str, output: SimpleNamespace) -> None:
    # Check the numbers that a table shows even on a machine without the network that computed them.
    inputs = replace(
        pages.table_inputs(project, table),
        distances=_printed_distances(project, table),
        networks=_printed_networks(project, table),
    )
    write_table(table, inputs, project.config, project.specifications(table), output)


def _report(project: Project, path: str) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "report.html"
        write_report(pages.report_inputs(project), project.config, project.methods, made)
        return _same_text(path, made, comparable)


def _compared(name: str, endings: tuple[str, ...], make: Callable[[SimpleNamespace], object]) -> Iterator[Finding]:
    """Write files again beside the existing ones, and compare them line by line."""
    kinds = {".md": "markdown", ".tex": "latex", ".csv": "csv"}
    made = SimpleNamespace(**{kinds[ending]: Path(f"{name}.verify{ending}") for ending in endings})
    try:
        make(made)
        for ending in endings:
            yield _same_text(f"{name}{ending}", getattr(made, kinds[ending]))
    except (InputError, FileNotFoundError) as error:
        yield Finding(NOT_BACKED, f"{name}{endings[0]}", str(error))
    finally:
        for path in vars(made).values():
            path.unlink(missing_ok=True)


def _same_text(file: str, made: Path, seen: Callable[[str], str] = str) -> Finding:
    if not Path(file).is_file():
        return Finding(NOT_BACKED, file, "is missing")
    try:
        printed = seen(Path(file).read_text(encoding="utf-8")).splitlines()
    except (OSError, ValueError) as error:  # no UTF-8, or a page whose images are damaged
        return Finding(NOT_BACKED, file, f"cannot be read ({error}). Delete it and run again")
    backed = seen(made.read_text(encoding="utf-8")).splitlines()
    for number in range(max(len(printed), len(backed))):
        pair = [lines[number] if number < len(lines) else "" for lines in (printed, backed)]
        if pair[0] != pair[1]:
            found, wanted = _around(*pair), _around(*pair[::-1])
            return Finding(NOT_BACKED, file, f"line {number + 1} has {found} where the scores give {wanted}")
    return Finding(BACKED, file, f"{len(printed)} lines")


def _around(line: str, other: str) -> str:
    """Return the part of a line where it first differs from another line."""
    start = next((k for k in range(min(len(line), len(other))) if line[k] != other[k]), min(len(line), len(other)))
    return repr(line[max(0, start - 20) : start + 20])
