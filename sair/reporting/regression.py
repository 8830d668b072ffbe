"""Compare a variant, or a new commit, with stored reference scores, paired image by image (the regression check).

``results/reference/`` contains the scores of a finished default run, and ``reference.yaml`` with the config, commit and
versions that they were made with. They are valid as long as the frozen test split is the same; another manifest is
refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from sair.common.errors import InputError
from sair.common.files import atomic, read_mapping, write_csv, write_text
from sair.common.images import read_rgb, write_png
from sair.common.tabular import ANY, TEXT, read_csv
from sair.data.buckets import holes
from sair.data.manifest import manifest_hash, read_manifest, read_pair
from sair.evaluation.metrics.of_images import COMPUTED
from sair.provenance import records as provenance
from sair.reporting.comparison import (
    COLUMNS,
    IMPROVED,
    NUMBERS,
    SAME,
    WORSE,
    Verdict,
    compare,
    terms,
    to_frame,
    to_text,
)
from sair.reporting.figures import HOLE_COLOUR, draw_grid
from sair.reporting.measured import capped, read_scores
from sair.reporting.reference import FACTS, counterpart, facts_file, score_files

MOVED = 3  # number of images in the grid that lost most, and number of those that gained most
# What the reference states of the config.
STATED = ("preset", "image_size", "buckets", "seeds", "fewest_seeds", "datasets", "training")


def store_reference(
    config: dict[str, Any], dataset: str, manifest: str | Path, scores: Mapping[str, Sequence[str]], folder: str | Path
) -> None:
    """Store a finished run's scores as the reference, in place of the previous one.

    Args:
        config: the whole config.
        dataset: the dataset of the scores.
        manifest: its manifest.csv.
        scores: score files of each method, one per seed.
        folder: folder of the reference.
    """
    if not scores:
        raise InputError(
            f"no table of this config shows scores of `{dataset}`. Set `regression.dataset` to the dataset of a table."
        )
    commit = provenance.commit()  # before files of the repository change
    kept = {}
    for method, paths in scores.items():
        for path in paths:
            if not Path(path).is_file():
                raise InputError(f"{path}: no such file. Finish the run first: snakemake --cores all {path}")
            read_scores(path, [metric.name for metric in COMPUTED])  # all of them, before the old reference is touched
            kept[Path(folder, method, Path(path).parent.name, "scores.csv")] = path
    for target, path in kept.items():
        with atomic(target) as temporary:
            shutil.copyfile(path, temporary)
    for old in set(score_files(folder)) - set(kept):
        shutil.rmtree(old.parent)
    facts = {
        "dataset": dataset,
        "manifest": manifest_hash(manifest),
        "made": datetime.now(UTC).date().isoformat(),
        "commit": commit,
        "processor": provenance.processor(),
        "versions": provenance.versions(),
        "config": {key: config[key] for key in STATED if key in config},
    }
    write_text(Path(folder, FACTS), yaml.safe_dump(facts, sort_keys=False))


def read_facts(folder: str | Path) -> dict[str, Any]:
    """Read the facts about the run that a reference was made from.

    Raises:
        InputError: there is no reference, or its facts are damaged.
    """
    path = facts_file(folder)
    facts = read_mapping(path)
    if not isinstance(facts, dict) or not {"manifest", "made", "commit", "processor", "versions", "dataset"} <= set(
        facts
    ):
        raise InputError(
            f"{path}: lacks facts about the run that it was made from. Store a new reference: sair reference"
        )
    return facts


def write_regression_report(
    variant: str,
    candidates: Sequence[str],
    scores: Sequence[str],
    manifest: str | Path,
    reference: str | Path,
    least: Mapping[str, float],
    output: Any,
) -> None:
    """Compare a variant with the reference and show the images that moved most.

    Args:
        variant: method that was run.
        candidates: methods of the reference to compare it with, in order of preference.
        scores: the variant's score files, one per seed, beside their predictions.
        manifest: manifest.csv of the run.
        reference: folder of the reference.
        least: by measure, the change that another training seed alone causes. The test pairs images and does not
            account for variation between trainings.
        output: paths to write, with the attributes ``markdown``, ``csv`` and ``grid``.

    Raises:
        InputError: the reference was made on another test split.
    """
    facts = read_facts(reference)
    if facts["manifest"] != manifest_hash(manifest):
        raise InputError(
            f"{reference}: made on another test split (manifest {facts['manifest'][:12]}, here "
            f"{manifest_hash(manifest)[:12]}). Compare with the config that it names in {FACTS}, or store a new "
            "one (`sair reference`)."
        )
    against = counterpart(candidates, reference)
    theirs = [str(path) for path in score_files(reference, against)]
    verdicts = compare(theirs, scores, least)
    write_csv(to_frame(verdicts), output.csv)
    moved = _moved(read_scores(theirs), read_scores(scores))
    write_png(output.grid, _grid(moved, manifest, _predictions(variant, against, Path(scores[0]).parent)))
    notes = terms(theirs, scores, verdicts, least)
    write_text(output.markdown, _page(variant, against, verdicts, facts, moved, Path(output.grid).name, notes))


_COLUMNS = {column: ANY if column in NUMBERS else TEXT for column in COLUMNS}


def outcome(outcomes: Collection[str]) -> str:
    """Return one word for all measures: worse if any is, else improved if any is, else no difference."""
    return next((word for word in (WORSE, IMPROVED) if word in outcomes), SAME)


def _moved(reference: pd.DataFrame, variant: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose PSNR changed most, first those that lost, with the reference's PSNR and the variant's."""
    both = capped(reference).merge(capped(variant), on=["bucket", "id"], suffixes=("_before", "_now"))
    both["moved"] = both.psnr_now - both.psnr_before
    both = both.sort_values("moved", kind="stable")
    ends = pd.concat([both.head(MOVED), both.tail(MOVED)]).drop_duplicates(["bucket", "id"])
    return ends[["bucket", "id", "psnr_before", "psnr_now", "moved"]]


def _predictions(variant: str, against: str, own: Path) -> dict[str, Path]:
    """Return predictions by column title. The reference keeps only scores; its images are those of this run, if any."""
    theirs = own.parent.parent / against / own.name / "predictions"
    before = {against: theirs} if against != variant and theirs.is_dir() else {}
    return before | {variant: own / "predictions"}


def regression(csv: str | Path | None, markdown: str | Path) -> str:
    """Return the outcome of a regression check, in one sentence.

    Raises:
        InputError: the variant is worse, or no variant was named.
    """
    if csv is None:
        raise InputError("name the method to check: snakemake --cores all regression --config variant=NAME")
    found = outcome(read_csv(csv, _COLUMNS, remedy="Delete it and run again.").outcome.tolist())
    if found == WORSE:
        raise InputError(f"the variant is worse than the reference; see {markdown}.")
    return f"{found}: {markdown}"


def _grid(moved: pd.DataFrame, manifest: str | Path, predictions: Mapping[str, Path]) -> np.ndarray:
    rows = {(row.bucket, row.id): row for row in read_manifest(manifest)}
    lines = []
    for line in moved.itertuples():
        row = rows[line.bucket, line.id]
        truth, hole = read_pair(row, Path(manifest).parent)
        masked = np.where(hole[..., None], HOLE_COLOUR, truth)
        images = [read_rgb(folder / "composited" / row.prediction) for folder in predictions.values()]
        values = [f"{line.psnr_before:.2f} dB", f"{line.psnr_now:.2f} dB ({line.moved:+.2f})"][-len(images) :]
        lines.append([(masked, row.id), *zip(images, values, strict=True), (truth, "")])
    return draw_grid(
        ["Masked input", *predictions, "Ground truth"], [holes(line.bucket) for line in moved.itertuples()], lines
    )


def _page(
    variant: str,
    against: str,
    verdicts: Sequence[Verdict],
    facts: dict[str, Any],
    moved: pd.DataFrame,
    grid: str,
    notes: Sequence[str],
) -> str:
    changes = "; ".join(
        f"{line.bucket}/{line.id} {line.psnr_before:.2f} → {line.psnr_now:.2f} dB" for line in moved.itertuples()
    )
    return (
        f"# {variant} against {against} of the reference: {outcome([v.outcome for v in verdicts])}\n\n"
        f"```\n{to_text(verdicts)}\n```\n\n"
        + "".join(f"- {note}\n" for note in notes)
        + f"- Reference: {facts['made']}, commit {facts['commit'][:12]}, {facts['processor']}, "
        f"torch {facts['versions']['torch']}; dataset `{facts['dataset']}`, manifest {facts['manifest'][:12]}.\n"
        f"- Moved most (PSNR, predictions of the first seed): {changes}.\n\n![images that moved most]({grid})\n"
    )
