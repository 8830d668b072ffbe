"""Describe the inputs of each page and the layout of tables, for the plan of a run, its jobs and ``sair verify``.

There are no heavy imports (no pandas, no torch), because Snakemake imports it at every start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import count, islice
from typing import Any

from sair.data.buckets import ALL, labels_of
from sair.evaluation.metrics.features import NETWORKS
from sair.evaluation.metrics.metric import Metric
from sair.evaluation.metrics.of_images import OPTIONAL, WHOLE_COLUMNS, chosen
from sair.evaluation.metrics.registry import ENTRIES
from sair.reporting.paper import all_claims

QUALITY, SEGMENTATION = "quality", "segmentation"
PRINTED = {  # the metrics that a table may show
    QUALITY: [*WHOLE_COLUMNS, *OPTIONAL],
    SEGMENTATION: [metric.name for metric in ENTRIES if metric.kind == "segmentation"],
}
COSTS = ("parameters", "seconds", "memory", "gpu_memory")
COLUMNS = (*COSTS, "published")  # that a table of quality may have beside its metrics (sair.reporting.beside)
NO_CLAIMS: dict[str, Any] = {"buckets": [], "metrics": [], "rows": {}, "orderings": []}

Files = Mapping[str, Sequence[str]]  # method -> files, one per seed


@dataclass(frozen=True)
class Layout:
    """The layout of a table of the config.

    Attributes:
        name: its name in the config.
        dataset: the dataset whose test images are measured.
        measure: ``quality`` of images, or ``segmentation``.
        buckets: printed buckets, such as ``20-40``, or ``all`` for all mask ratios together.
        metrics: printed metrics.
        claims: its counterpart in the paper (``sair.reporting.paper``); without rows if there is none.
        columns: further columns, of ``COLUMNS``.
    """

    name: str
    dataset: str
    measure: str
    buckets: tuple[str, ...]
    metrics: tuple[str, ...]
    claims: Mapping[str, Any]
    columns: tuple[str, ...] = ()

    @property
    def has_claims(self) -> bool:
        """Whether the paper has a counterpart of this table."""
        return bool(self.claims["rows"])

    @property
    def title(self) -> str:
        """Return the name as pages print it: ``Table 1`` for ``table1``, ``Table mine`` for ``mine``."""
        return f"Table {self.number}"

    @property
    def number(self) -> str:
        """Return ``1`` for ``table1``; any other name unchanged."""
        return re.sub(r"\Atable(?=[0-9]+\Z)", "", self.name)


def bucket_names(config: Mapping[str, Any], dataset: str) -> list[str]:
    """Return the names of a dataset's buckets: hole ratios such as ``20-40``, or mask families."""
    return labels_of(config["masks"][config["datasets"][dataset]["masks"]], config["buckets"])


def optional_metrics(config: Mapping[str, Any]) -> list[Metric]:
    """Return the optional metrics that a config measures: those of its ``metrics``, and those that a table names.

    Raises:
        InputError: there is no metric with this name.
    """
    named = [
        *config.get("metrics", ()),
        *(name for use in config["tables"].values() for name in use.get("metrics", ())),
    ]
    return chosen(name for name in named if name not in PRINTED[SEGMENTATION])


def optional_weights(config: Mapping[str, Any]) -> list[str]:
    """Return the pretrained files of a config's optional metrics and distances, by their names in ``sair weights``."""
    names = [name for metric in optional_metrics(config) for name in metric.weights]
    return list(dict.fromkeys([*names, *(NETWORKS[name].entry for name in config.get("distances", ()))]))


def layout(config: Mapping[str, Any], table: str) -> Layout:
    """Return a table's layout: the config's settings, else those of the paper's table, else all that can be printed.

    Args:
        config: the whole config, checked.
        table: a name in its ``tables``.
    """
    settings = config["tables"][table]
    name = settings.get("claims")
    claims = NO_CLAIMS if name is None else all_claims()[name]
    measure = settings.get("measure") or claims.get("measure", QUALITY)
    buckets = bucket_names(config, settings["dataset"])
    metrics = WHOLE_COLUMNS if measure == QUALITY else PRINTED[SEGMENTATION]
    if measure == SEGMENTATION:
        buckets = [ALL, *buckets]
    elif name is not None:
        buckets, metrics = ([ALL] if claims["buckets"] == [ALL] else buckets), claims["metrics"]
    buckets, metrics = settings.get("buckets") or buckets, settings.get("metrics") or metrics
    columns = tuple(settings.get("columns", ()))
    return Layout(table, settings["dataset"], measure, tuple(buckets), tuple(metrics), claims, columns)


# --------------------------------------------------------------------------------------------------------------------
# Inputs of pages


def training_seeds(config: Mapping[str, Any], name: str) -> list[int]:
    """Return the seeds that a method is trained with: the config's, and further ones up to its ``fewest_seeds``.

    The further ones are the smallest numbers that are not among the config's.
    """
    seeds = list(config["seeds"])
    further = (number for number in count() if number not in config["seeds"])
    return seeds + list(islice(further, max(0, (config.get("fewest_seeds") or {}).get(name, 1) - len(seeds))))


@dataclass(frozen=True)
class Inputs:
    """The files that a page is made from."""

    def files(self) -> list[str]:
        """Return all of them, each once."""
        return list(dict.fromkeys(path for part in fields(self) for path in _flat(getattr(self, part.name))))


@dataclass(frozen=True)
class TableInputs(Inputs):
    """The inputs of a table.

    Attributes:
        measured: method -> its scores.csv, or for a table of segmentation its segmentation.csv, one per seed.
        manifest: manifest.csv of the table's dataset.
        clip: segmentation.csv of the dense CLIP (``sair.inference.segmentation``), one per seed; empty if no row uses
            semantics.
        distances: method -> its fid.csv, one per seed; empty if FID and KID are not shown.
        figures: images that the page shows under the table.
        networks: network of the config's ``distances`` -> method -> its distances.<network>.csv, one per seed.
        diversity: method -> its diversity.csv, of methods with several samples.
    """

    measured: Files
    manifest: str
    clip: Sequence[str] = ()
    distances: Files = field(default_factory=dict)
    figures: Sequence[str] = ()
    networks: Mapping[str, Files] = field(default_factory=dict)
    diversity: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClaimsInputs(Inputs):
    """The inputs of the page of claims.

    Attributes:
        measured: table -> method -> its scores.csv or segmentation.csv, one per seed; of tables with claims only.
        clip: segmentation.csv of the dense CLIP, one per seed; empty if no claim is about segmentation.
    """

    measured: Mapping[str, Files]
    clip: Sequence[str] = ()


@dataclass(frozen=True)
class ConventionsInputs(Inputs):
    """The inputs of the page of conventions.

    Attributes:
        measured: method -> its conventions.csv, one per seed.
        manifest: manifest.csv of the dataset.
    """

    measured: Files
    manifest: str


@dataclass(frozen=True)
class ReportInputs(Inputs):
    """The inputs of the report. Any of the files may be missing, but not every table.

    Attributes:
        tables: table -> its CSV, with its Markdown page beside it.
        claims: claims.csv, with its Markdown page beside it; None if no table has claims.
        logs: method -> its train.csv, one per seed.
        maps: seed -> its figure of semantic maps.
        images: images.csv of the gallery's dataset.
        manifest: manifest.csv of the gallery's dataset.
        scores: method -> its scores.csv, one per seed.
        predictions: method -> its folders of predictions, one per seed.
    """

    tables: Mapping[str, str]
    claims: str | None
    logs: Files
    maps: Mapping[str, str]
    images: str
    manifest: str
    scores: Files
    predictions: Files


def _flat(value: Any) -> Iterator[str]:
    """Yield the paths in nested mappings and lists; None is skipped."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, str):
        yield value
    elif value is not None:
        for part in value:
            yield from _flat(part)
