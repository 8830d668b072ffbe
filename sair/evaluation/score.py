"""Score a method's predictions of a manifest: one row per image. Nothing is skipped or paired by order.

Scores depend on the image files only, so images from a model of this package, from an old repository and from
elsewhere are scored in the same way.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sair.common.errors import InputError
from sair.common.files import write_text
from sair.common.progress import progress
from sair.data.manifest import ManifestRow, read_captions, read_manifest
from sair.evaluation.cases import Case, open_cases, score_text
from sair.evaluation.checks import checked, refuse_all
from sair.evaluation.metrics.metric import Metric
from sair.evaluation.metrics.of_images import MEASURES, SMALLEST_SIDE, chosen, columns_with
from sair.evaluation.pairs import Captioned, NetworkQueue, Networks, Target, networks_of, score_case, score_pair

KEYS = ("id", "bucket", "cluster", "ratio")
SCORE_COLUMNS = (*KEYS, *MEASURES)


def score_predictions(
    manifest_csv: str | Path,
    predictions_dir: str | Path,
    out_csv: str | Path,
    *,
    metrics: Sequence[str] = (),
    networks: Networks = True,
    batch_size: int = 16,
    show: bool = True,
    shard: str | None = None,
) -> pd.DataFrame:
    """Score a method's predictions of a manifest and write one row per manifest row, in the manifest's order.

    Args:
        manifest_csv: the columns of ``sair.data.manifest.MANIFEST_COLUMNS``; image and mask are paths relative to the
            manifest's folder, masks PNG with 255 = hole, hashes those of ``sair.common.images.pixel_sha256``.
        predictions_dir: contains ``composited/<bucket>/<id>.png`` and ``raw/<bucket>/<id>.png``, 8-bit RGB.
        out_csv: written whole or not at all; the same inputs give the same bytes on one machine. Numbers have ten
            significant digits, ``inf`` is the PSNR of equal images, ``nan`` a value that does not exist.
        metrics: names of optional metrics to measure, too. Those of captions read images.csv beside the manifest.
        networks: networks to use again, by metric (``{"lpips": Lpips()}``), True to build them, False to leave their
            columns ``nan``.
        batch_size: predictions that a network gets at once.
        show: progress bars on stderr.
        shard: ``2-of-8`` for that part of the manifest only (``sair.data.manifest.shard_of``).

    Returns:
        What was written: id, bucket, cluster, ratio (percent), psnr (dB), ssim, l1, lpips of the composited image over
        all of it; psnr_hole, ssim_hole, l1_hole over its hole; psnr_raw, ssim_raw, l1_raw, lpips_raw of the raw one.
        A new metric of the registry has its columns after those of its kind; optional metrics are at the end.

    Raises:
        InputError: an unknown metric, a fault of the manifest or of a prediction
            (``sair.evaluation.cases.open_cases``), or images too small for a metric.
    """
    extra = chosen(metrics)
    found = networks_of(networks, extra=extra)
    measured = [metric for metric in NetworkQueue.metrics(extra) if metric.name in found]
    smallest = max([SMALLEST_SIDE, *(metric.smallest for metric in measured)])
    rows, load = open_cases(manifest_csv, predictions_dir, smallest, shard)
    # Rows of one ground truth together, because its features serve all its masks; `scores` keeps the manifest's order.
    groups: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        groups[row.image].append(row)
    scores: dict[ManifestRow, dict[str, Any]] = {row: {} for row in rows}
    queue, faults = NetworkQueue(found, batch_size, extra), list[str]()
    captioned, captions = Captioned(extra, networks), _captions(manifest_csv, extra)
    with progress(total=len(rows), desc="score", unit="row", disable=not show) as bar:
        for group in groups.values():
            targets = []
            for row, case in checked(group, load, faults):
                scores[row] |= _score_case(row, case, extra)
                scores[row] |= captioned.score(case.composited, case.hole, captions.get(row.image, ""))
                queue.put_known(case.ground_truth, case.raw, case.hole, scores[row])
                targets.append(Target(case.composited, scores[row]))
                targets.append(Target(case.raw, scores[row], "_raw"))
            bar.update(len(group))
            if not faults:
                queue.put(case.ground_truth, targets)
        refuse_all(faults)
        queue.finish()
    frame = pd.DataFrame(scores.values(), columns=[*KEYS, *columns_with(extra)])
    write_text(out_csv, score_text(frame))
    return frame


def _captions(manifest_csv: str | Path, extra: Sequence[Metric]) -> dict[str, str]:
    """Return the caption of every image by its path, from images.csv beside the manifest, if a metric needs them.

    Raises:
        InputError: there is no such table, or none of its images has a caption.
    """
    wanting = [metric.name for metric in extra if metric.captioned is not None]
    if not wanting:
        return {}
    path = Path(manifest_csv).parent / "images.csv"
    captions = read_captions(path)
    if not any(captions.values()):
        raise InputError(
            f"{path}: no image has a caption, which {', '.join(wanting)} need. Give the dataset `labels` and "
            "`classes`, or remove these metrics from the config."
        )
    return captions


def gather_scores(manifest_csv: str | Path, shards: Sequence[str | Path], out_csv: str | Path) -> None:
    """Put the scores of all shards into one table, in the manifest's order; the text of the numbers is kept."""
    lines: dict[tuple[str, str], list[str]] = {}  # by id and bucket
    for path in shards:
        with open(path, encoding="utf-8", newline="") as source:
            header, *rows = csv.reader(source)
        lines |= {(row[0], row[1]): row for row in rows}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines[row.id, row.bucket] for row in read_manifest(manifest_csv))
    write_text(out_csv, stream.getvalue())


def _score_case(row: ManifestRow, case: Case, extra: Sequence[Metric]) -> dict[str, Any]:
    raw = score_pair(case.ground_truth, case.raw)
    return {
        "id": row.id,
        "bucket": row.bucket,
        "cluster": row.cluster,
        "ratio": 100 * row.hole_pixels / row.pixels,
        **score_pair(case.ground_truth, case.composited, case.hole),
        **{f"{metric}_raw": value for metric, value in raw.items()},
        **score_case(case.ground_truth, case.raw, case.hole, extra),
    }
