"""Load a method, fill holes with it, score the predictions and compare two methods: the API for notebooks.

Everything here is also a name of the package itself: ``sair.load``, ``sair.score``, ``sair.compare``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import pandas as pd

from sair.common.errors import InputError
from sair.common.progress import warn
from sair.evaluation.checks import same_size
from sair.evaluation.folders import optional, score_folders
from sair.evaluation.metrics.metric import PairNetwork
from sair.evaluation.metrics.of_images import HOLE_COLUMNS, SMALLEST_SIDE, WHOLE_COLUMNS, chosen
from sair.evaluation.pairs import NetworkQueue, Networks, Target, networks_of, score_case, score_pair
from sair.inference.kinds import ImageLike, read_masks, read_one
from sair.inference.method import Method, load
from sair.reporting import comparison

__all__ = ["Method", "compare", "load", "score"]


def score(
    truth: ImageLike,
    prediction: ImageLike,
    mask: ImageLike | None = None,
    *,
    hole: str = "white",
    metrics: Sequence[str] = (),
    networks: Networks = True,
) -> dict[str, float] | pd.DataFrame:
    """Score one image, or a folder of images, by the conventions of docs/metrics.md.

        >>> import numpy as np, sair
        >>> truth = np.full((32, 32, 3), 100, np.uint8)
        >>> {name: round(value, 4) for name, value in sair.score(truth, truth + 5, networks=False).items()}
        {'psnr': 34.1514, 'ssim': 0.9988, 'l1': 0.0196, 'lpips': nan}

    Args:
        truth: the ground truth, an image of any kind that ``Method.inpaint`` takes; or a folder of images.
        prediction: an image of the same size; or a folder of images with the same names.
        mask: the hole, for the hole-only measures; for folders a folder of masks, or one mask file for all.
        hole: for masks that are files, what marks the hole.
        metrics: names of optional metrics to measure, too, such as ``["dists", "changed"]`` (docs/metrics.md). Those of
            known pixels and of the seam need a mask, and take the prediction as it is.
        networks: networks to use again, by metric, such as ``{"lpips": Lpips("cuda")}`` (of
            ``sair.evaluation.metrics.lpips``); True for those on the CPU, which are built once; False to leave their
            metrics ``nan``.

    Returns:
        For one image a dictionary: psnr (dB), ssim, l1, lpips and, with a mask, psnr_hole, ssim_hole, l1_hole. Images
        of less than 31 pixels have no LPIPS (``nan``). For folders a data frame with one row per image: its id, the
        same scores and, with masks, the hole ratio in percent and its bucket.

    Raises:
        InputError: an unknown metric, images of different sizes or less than 11 pixels, or files that do not belong
            together.
    """
    folders = [isinstance(path, str | Path) and Path(path).expanduser().is_dir() for path in (truth, prediction)]
    if all(folders):
        paths = [cast("str | Path", path) for path in (truth, prediction)]
        return score_folders(
            paths[0], paths[1], cast("str | Path | None", mask), hole, metrics=metrics, networks=networks, show=False
        )
    first, second = (read_one(image, name) for image, name in ((truth, "ground truth"), (prediction, "prediction")))
    same_size(Path("prediction"), second, Path("ground truth"), first, "give both one size")
    if min(first.shape[:2]) < SMALLEST_SIDE:
        raise InputError(
            f"images of {first.shape[1]}x{first.shape[0]} pixels: the metrics need at least {SMALLEST_SIDE} on each "
            "side. Use larger ones."
        )
    holes = None
    if mask is not None:
        holes = read_masks(mask, hole)[0, 0].bool().cpu().numpy()
        same_size(Path("mask"), holes, Path("ground truth"), first, "resize masks with nearest neighbour")
    extra = optional(metrics, holes is not None)
    scores: dict[str, float] = {**score_pair(first, second, holes)}
    queue = NetworkQueue(_networks(tuple(metrics)) if networks is True else networks_of(networks), 1, extra)
    queue.put(first, [Target(second, scores)])
    if holes is not None:
        scores |= score_case(first, second, holes, extra)
        queue.put_known(first, second, holes, scores)
    queue.finish()
    named = (*WHOLE_COLUMNS, *HOLE_COLUMNS, *(metric.name for metric in extra))
    return {name: float(scores[name]) for name in named if name in scores}


def compare(
    variant: pd.DataFrame | str | Path | Sequence[str | Path],
    reference: pd.DataFrame | str | Path | Sequence[str | Path],
    least: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Compare two methods on the same images, paired and corrected for the number of measures (docs/metrics.md).

    The variant comes first here; the command ``sair compare`` takes the reference first.

        >>> import numpy as np, pandas as pd, sair
        >>> ids, rng = [f"image{k}" for k in range(50)], np.random.default_rng(0)
        >>> before = pd.DataFrame({"id": ids, "psnr": 30 + rng.normal(size=50)})
        >>> after = before.assign(psnr=before.psnr + 0.5 + 0.1 * rng.normal(size=50))
        >>> found = sair.compare(after, before, least={"psnr": 0.2})
        >>> found[["bucket", "metric", "difference", "outcome"]].round(2).values.tolist()
        [['all', 'psnr', 0.5, 'improved']]

    Args:
        variant: scores of the variant, as ``score`` returns them for folders, or score files, one per seed.
        reference: scores of the reference, in the same form.
        least: by measure, how much training with another seed changes the mean. A smaller difference does not count,
            and nothing is decided for a measure without a value here or in the registry. None: a difference of any size
            counts, for methods that are not trained.

    Returns:
        One row per bucket and measure: difference (variant minus reference); low, high, p and adjusted_p of these
        weights (over images); n, clusters; method_low, method_high and method_p of these methods (over trainings and
        images); the probabilities chance_better, chance_equivalent and chance_worse; outcome (``improved``, ``worse``
        or ``no difference``) and, for ``no difference``, the reason.

    Raises:
        InputError: the scores are of different images, or have no measure in common.
    """
    with tempfile.TemporaryDirectory() as folder:
        before, after = (_as_file(scores, Path(folder, name)) for name, scores in (("b", reference), ("a", variant)))
        verdicts = comparison.compare(before, after, least)
        if same := comparison.same_scores(before, after, verdicts):
            warn(same)
    return comparison.to_frame(verdicts)


@cache
def _networks(metrics: tuple[str, ...]) -> dict[str, PairNetwork]:
    return networks_of(True, extra=chosen(metrics))


def _as_file(scores: Any, path: Path) -> Any:
    """Return score files unchanged; write a data frame to a file, so that the same reader checks it."""
    if not isinstance(scores, pd.DataFrame):
        return scores
    scores.to_csv(path, index=False)
    return path
