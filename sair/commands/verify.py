"""Is every number that is printed backed? Scores are made again from images, tables and claims from scores."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd

from sair.common.errors import InputError
from sair.common.progress import progress
from sair.evaluation import fid
from sair.evaluation.metrics.registry import NETWORKS, SET_METRICS, columns_of
from sair.evaluation.score import score_predictions
from sair.evaluation.score_conventions import score_conventions
from sair.pipeline.project import Project
from sair.provenance import records as provenance
from sair.reporting import conditions
from sair.reporting.claims import write_orderings
from sair.reporting.conventions import write_conventions
from sair.reporting.measured import read_distances, read_stored
from sair.reporting.report import Sources, comparable, write_report
from sair.reporting.rows import read_frame
from sair.reporting.tables import write_quality_table, write_segmentation_table

BACKED, NOT_BACKED, NOT_MADE = "backed", "NOT BACKED", "not made"
MIXED = "mixed"  # backed, but by rows that differ in device, precision or versions; the table says so itself
TABLE_FILES, PAGE_FILES = (".md", ".tex", ".csv"), (".md", ".csv")  # what a table, and the claims, are written as
DIGITS = 1e-9  # scores are stored with ten significant digits
# A network's sums depend on the number of threads and on the processor (docs/metrics.md: up to 6e-8).
NETWORK = 1e-6
MEASURED_BY_NETWORKS = [column for metric in NETWORKS for column in columns_of(metric)]


class Finding(NamedTuple):
    """One file of results: whether what it says is backed, and where it is not."""

    state: str
    file: str
    said: str = ""


def verify(project: Project, lpips: bool = False) -> Iterator[Finding]:
    """Check every table, the claims, the report, and the scores behind them.

    Args:
        project: the config whose results are checked.
        lpips: also compute LPIPS again, which takes as long as scoring did.
    """
    tables = [table for table in project.config["tables"] if _is_made(f"{project.results}/{table}", TABLE_FILES)]
    scored = {
        (path, project.config["tables"][table]["dataset"])
        for table in tables
        if table in project.tables("quality")
        for paths in project.measured(table).values()
        for path in paths
    }
    for path, dataset in progress(sorted(scored), desc="scores", unit="file"):
        yield _caught(path, lambda path=path, dataset=dataset: _quality(project, path, dataset, lpips))
    compared = {
        (path, project.config["tables"][table]["dataset"])
        for table in tables
        for paths in _printed_distances(project, table).values()
        for path in paths
    }
    for path, dataset in progress(sorted(compared), desc="FID and KID", unit="file"):
        yield _caught(path, lambda path=path, dataset=dataset: _distances(project, path, dataset))
    for table in project.config["tables"]:
        output = f"{project.results}/{table}"
        if table not in tables:
            yield Finding(NOT_MADE, f"{output}.md")
            continue
        yield from _compared(f"{output}{{}}", TABLE_FILES, lambda made, t=table: _table(project, t, made))
        if differ := conditions.differences(
            {project.method(m)["label"]: f for m, f in project.measured(table).items()}
        ):
            yield Finding(MIXED, f"{output}.md", f"its rows differ in what made them. {differ}")
    for path, said in provenance.changed(project.results, project.checkouts()):
        yield Finding(NOT_BACKED, path, said)
    claims = f"{project.results}/claims"
    if _is_made(claims, PAGE_FILES):
        yield from _compared(f"{claims}{{}}", PAGE_FILES, lambda made: _claims(project, made))
    else:
        yield Finding(NOT_MADE, f"{claims}.md")
    yield from _verify_conventions(project)
    report = f"{project.results}/report.html"
    yield _caught(report, lambda: _report(project, report)) if Path(report).is_file() else Finding(NOT_MADE, report)


def _is_made(name: str, endings: tuple[str, ...]) -> bool:
    """Whether any file of a table is there: one whose page was deleted still shows its numbers."""
    return any(Path(f"{name}{ending}").is_file() for ending in endings)


def _verify_conventions(project: Project) -> Iterator[Finding]:
    """The scores under published conventions, made again from images, and their table from them."""
    output = f"{project.results}/conventions"
    if not _is_made(output, PAGE_FILES):
        yield Finding(NOT_MADE, f"{output}.md")
        return
    manifest = f"{project.results}/{project.conventions_dataset}/manifest.csv"
    for path in progress(sorted(chain.from_iterable(project.conventions().values())), desc="conventions", unit="file"):
        yield _caught(path, lambda path=path: _scores(path, manifest, score_conventions))
    yield from _compared(f"{output}{{}}", PAGE_FILES, lambda made: _conventions(project, made))


def _caught(file: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except InputError as error:
        return Finding(NOT_BACKED, file, str(error))


def _quality(project: Project, path: str, dataset: str, lpips: bool) -> Finding:
    again = partial(score_predictions, networks=lpips)
    found = _scores(path, f"{project.results}/{dataset}/manifest.csv", again, () if lpips else MEASURED_BY_NETWORKS)
    return found if lpips or found.state != BACKED else found._replace(said=f"{found.said}, without LPIPS")


def _scores(path: str, manifest: str, score: Callable[..., pd.DataFrame], left_out: Collection[str] = ()) -> Finding:
    """Make a method's scores again from its images; that also checks the truth's hashes and the compositing."""
    if not Path(path).is_file():
        return Finding(NOT_BACKED, path, "is not there, and a table shows it")
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
    """The files of FID and KID that a table shows, whether or not this machine has the weights to make them."""
    path = Path(f"{project.results}/{table}.csv")
    if table not in project.tables("quality") or not path.is_file():
        return {}
    frame = read_frame(path)
    return project.distances(table) if frame.n[frame.metric.isin(SET_METRICS)].any() else {}


def _distances(project: Project, path: str, dataset: str) -> Finding:
    """Make FID and KID again from the features that are kept, which must be of the images that are there."""
    if not Path(path).is_file():
        return Finding(NOT_BACKED, path, "is not there, and a table shows it")
    folder, manifest = Path(path).parent, f"{project.results}/{dataset}/manifest.csv"
    method = fid.read_features(folder / "features.safetensors")
    if method.images != fid.predictions_digest(manifest, folder / "predictions"):
        return Finding(NOT_BACKED, path, "its features are of other images")
    truth = fid.read_features(f"{project.results}/{dataset}/truth_features.safetensors")
    made, stored = fid.distances(manifest, truth, method), read_distances(path)
    for column in ("bucket", "n", "weights_sha256"):
        if list(stored[column]) != list(made[column]):
            return Finding(NOT_BACKED, path, f"{column} is {list(stored[column])}, but should be {list(made[column])}")
    numbers = [column for column in made.columns if column.startswith(("fid", "kid"))]
    # Other machines' libraries round differently, and a distance is the difference of far larger numbers.
    same = np.isclose(stored[numbers], made[numbers], rtol=1e-6, atol=1e-6, equal_nan=True)
    if not same.all():
        row, column = np.argwhere(~same)[0]
        found, wanted = (frame[numbers[column]][row] for frame in (stored, made))
        said = f"{numbers[column]} of {made.bucket[row]} is {found:g}, but its features give {wanted:g}"
        return Finding(NOT_BACKED, path, said)
    return Finding(BACKED, path, f"{len(made)} buckets, from features")


def _table(project: Project, table: str, output: SimpleNamespace) -> None:
    dataset = project.config["tables"][table]["dataset"]
    quality = table in project.tables("quality")
    write = write_quality_table if quality else write_segmentation_table
    write(
        table,
        project.config,
        {name: project.method(name) for name in project.rows(table)},
        project.measured(table),
        *([_printed_distances(project, table)] if quality else []),
        f"{project.results}/{dataset}/manifest.csv",
        f"{project.clip}/segmentation.csv",
        project.figures("qualitative" if quality else "semantic_maps", dataset),
        output,
    )


def _claims(project: Project, output: SimpleNamespace) -> None:
    measured = {table: project.measured(table) for table in project.config["tables"]}
    clip = f"{project.clip}/segmentation.csv"
    write_orderings(project.config, project.methods, measured, clip, output.markdown, output.csv)


def _conventions(project: Project, output: SimpleNamespace) -> None:
    scores = project.conventions()
    methods = {name: project.method(name) for name in scores}
    manifest = f"{project.results}/{project.conventions_dataset}/manifest.csv"
    write_conventions(project.config, methods, scores, manifest, output.markdown, output.csv)


def _report(project: Project, path: str) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "report.html"
        write_report(project.config, project.methods, Sources(**project.report()), made)
        return _same_text(path, made, comparable)


def _compared(name: str, endings: tuple[str, ...], make: Callable[[SimpleNamespace], None]) -> Iterator[Finding]:
    """Make files again beside those that are there, and compare line by line."""
    kinds = {".md": "markdown", ".tex": "latex", ".csv": "csv"}
    made = SimpleNamespace(**{kinds[ending]: Path(name.format(f".verify{ending}")) for ending in endings})
    try:
        make(made)
        for ending in endings:
            file = name.format(ending)
            yield _same_text(file, getattr(made, kinds[ending]))
    except (InputError, FileNotFoundError) as error:
        yield Finding(NOT_BACKED, name.format(endings[0]), str(error))
    finally:
        for path in vars(made).values():
            path.unlink(missing_ok=True)


def _same_text(file: str, made: Path, seen: Callable[[str], str] = str) -> Finding:
    if not Path(file).is_file():
        return Finding(NOT_BACKED, file, "is not there")
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
    """The part of a line where it departs from another one."""
    start = next((k for k in range(min(len(line), len(other))) if line[k] != other[k]), min(len(line), len(other)))
    return repr(line[max(0, start - 20) : start + 20])
