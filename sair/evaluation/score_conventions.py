"""Score a method's predictions as the evaluation code of published methods does: one row per image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sair.common.files import write_text
from sair.common.progress import progress
from sair.evaluation.cases import open_cases, score_text
from sair.evaluation.checks import checked, refuse_all
from sair.evaluation.conventions import score_by_conventions
from sair.evaluation.metrics.metric import SMALLEST


def score_conventions(
    manifest_csv: str | Path, predictions_dir: str | Path, out_csv: str | Path, *, show: bool = True
) -> pd.DataFrame:
    """Score a method's composited predictions of a manifest as published evaluation codes do.

    Args:
        manifest_csv, predictions_dir, out_csv, show: same as in ``sair.evaluation.score.score_predictions``.

    Returns:
        What was written, one row per manifest row: id, bucket, cluster, and a column for every measure of every
        convention (``sair.evaluation.conventions.all_measures``).

    Raises:
        InputError: a fault of the manifest or of a prediction (``sair.evaluation.cases.open_cases``).
    """
    rows, load = open_cases(manifest_csv, predictions_dir, SMALLEST)
    scores: list[dict[str, Any]] = []
    faults: list[str] = []
    for row, case in checked(progress(rows, desc="conventions", unit="row", disable=not show), load, faults):
        measured = score_by_conventions(case.ground_truth, case.composited, case.hole)
        scores.append({"id": row.id, "bucket": row.bucket, "cluster": row.cluster, **measured})
    refuse_all(faults)
    frame = pd.DataFrame(scores)
    write_text(out_csv, score_text(frame))
    return frame
