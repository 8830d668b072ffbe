"""List the inputs of each page, in one place for the rules, their scripts and ``sair verify``."""

from __future__ import annotations

from itertools import chain

from sair.pipeline.project import Project
from sair.reporting.inputs import (
    QUALITY,
    SEGMENTATION,
    ClaimsInputs,
    ConventionsInputs,
    Layout,
    ReportInputs,
    TableInputs,
)


def table_inputs(project: Project, table: str) -> TableInputs:
    """Return the inputs of a table of the config.

    FID and KID are included if they can be measured on this machine. The dense CLIP is included if the table is of
    segmentation, or if a row uses a semantic encoder, because the table then states the encoder's quality. A table
    without a counterpart in the paper has the figure only if all methods of the figure are rows of the table, so that
    the figure requires no further training.
    """
    shown = project.layout(table)
    quality = shown.measure == QUALITY
    semantic = [name for name, spec in project.specifications(table).items() if spec["semantics"]]
    return TableInputs(
        measured=project.measured(table),
        manifest=project.manifest(shown.dataset),
        clip=project.clip_segmentations(semantic) if semantic or not quality else [],
        distances=project.distances(table) if quality and project.has_distances else {},
        networks=project.network_distances(table) if quality else {},
        figures=_figures(project, shown),
        diversity={m: project.diversity(shown.dataset, m) for m in project.sampled(table)} if quality else {},
    )


def claims_inputs(project: Project) -> ClaimsInputs | None:
    """Return the inputs of the page of claims; None if no table of the config has a counterpart in the paper."""
    claimed = [shown for shown in map(project.layout, project.config["tables"]) if shown.has_claims]
    if not claimed:
        return None
    segmented = [shown.name for shown in claimed if shown.measure == SEGMENTATION]
    return ClaimsInputs(
        measured={shown.name: project.measured(shown.name) for shown in claimed},
        clip=project.clip_segmentations(chain.from_iterable(map(project.rows, segmented))) if segmented else [],
    )


def conventions_inputs(project: Project) -> ConventionsInputs:
    """Return the inputs of the page of conventions."""
    table = project.config["conventions"]["table"]
    dataset = project.layout(table).dataset
    measured = {m: project.of_every_seed(dataset, m, "conventions.csv") for m in project.rows(table)}
    return ConventionsInputs(measured=measured, manifest=project.manifest(dataset))


def report_inputs(project: Project) -> ReportInputs:
    """Return the inputs of a complete report.

    The report of a dataset without training images, such as that of ``sair evaluate``, is of this dataset only: tables
    of others, whose methods would be trained, are not missing in it.
    """
    config = project.config
    dataset = config["report"]["dataset"]
    datasets = [dataset] if config["datasets"][dataset]["train"] == 0 else list(config["datasets"])
    belonging = [shown for shown in map(project.layout, config["tables"]) if shown.dataset in datasets]
    tables = [shown.name for shown in map(project.layout, project.tables(QUALITY)) if shown.dataset == dataset]
    rows = dict.fromkeys(method for table in tables for method in project.rows(table))
    methods = [name for name in rows if not project.method(name)["sees_truth"]]
    maps = config["figures"].get("semantic_maps", {}).get("dataset")
    drawn = project.figures("semantic_maps", maps) if maps in datasets else []
    return ReportInputs(
        tables={shown.name: f"{project.results}/{shown.name}.csv" for shown in belonging},
        claims=f"{project.results}/claims.csv" if any(shown.has_claims for shown in belonging) else None,
        logs={m: project.of_every_seed(dataset, m, "train.csv") for m in methods if project.is_trained(m)},
        maps=dict(zip(map(str, config["seeds"]), drawn, strict=True)) if drawn else {},
        images=f"{project.results}/{dataset}/images.csv",
        manifest=project.manifest(dataset),
        scores={m: project.of_every_seed(dataset, m, "scores.csv") for m in methods},
        predictions={m: project.of_every_seed(dataset, m, "predictions") for m in methods},
    )


def training_logs(project: Project, dataset: str) -> dict[str, list[str]]:
    """Return what the figure of training curves shows: label -> the train.csv of each seed of a method."""
    shown = project.config["figures"]["training_curves"]["methods"]
    return {project.method(name)["label"]: project.of_every_seed(dataset, name, "train.csv") for name in shown}


def _figures(project: Project, shown: Layout) -> list[str]:
    """Return the images below a table, those of the first seed."""
    kind = "qualitative" if shown.measure == QUALITY else "semantic_maps"
    methods = project.config["figures"].get(kind, {}).get("methods", [])
    fits = shown.has_claims or set(methods) <= set(project.rows(shown.name))
    return project.figures(kind, shown.dataset, project.config["seeds"][:1]) if fits else []
