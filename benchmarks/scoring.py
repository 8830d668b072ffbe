"""Measure how fast image pairs of two folders are scored, side by side with another revision and other libraries.

    python benchmarks/scoring.py        prints the tables and writes results/bench_scoring.json

Each measurement is a separate process with one thread, and the contenders take turns. On a busy machine wall time means
little, so core time (user and system time of the process) per pair is compared. Libraries that are not installed are
left out with a note; this project does not depend on them.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from revisions import ONE_THREAD, ROOT, checkout, processor, run

WARM = 8  # pairs of a first call, whose time is subtracted
METRICS = ("psnr", "ssim", "l1", "lpips")
Scores = dict[str, list[float]]


def write_pairs(folder: Path, count: int, size: int) -> None:
    """Write ground truths and noisy predictions as PNG files: waves with an edge and noise, which compress like photos.

    Args:
        folder: the folders ``truth`` and ``prediction`` are created in it.
        count: number of pairs.
        size: side in pixels.
    """
    from PIL import Image

    y, x = np.mgrid[:size, :size] / size
    for index in range(count):
        rng = np.random.default_rng(index)
        waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(-4, 4, (3, 3))]
        truth = 128 + 60 * np.stack(waves, axis=-1) + 40 * (x + y > rng.uniform(0.5, 1.5))[..., None]
        noisy = truth + rng.normal(0, 12, truth.shape)
        for name, pixels in (("truth", truth + rng.normal(0, 2, truth.shape)), ("prediction", noisy)):
            path = folder / name / f"{index:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8)).save(path)


# --------------------------------------------------------------------------------------------------------------------
# Contenders: each reads both folders and returns its numbers, one per pair


def pairs(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield ground truth and prediction as uint8 (H, W, 3), read with Pillow."""
    from PIL import Image

    for path in sorted((folder / "truth").glob("*.png")):
        yield np.array(Image.open(path)), np.array(Image.open(folder / "prediction" / path.name))


def read_alone(folder: Path) -> Scores:
    """Read all images and compute nothing."""
    for _ in pairs(folder):
        pass
    return {}


def ours(folder: Path, lpips: bool = False) -> Scores:
    """Score with this project's ``score_folders``, of the revision on the import path."""
    from sair.evaluation.folders import score_folders

    try:
        from sair.common.memory import keep_memory
    except ImportError:  # c7ba0a3
        pass
    else:
        keep_memory()  # as the command `sair score` does
    known = inspect.signature(score_folders).parameters
    options: dict[str, Any] = {"networks" if "networks" in known else "lpips": lpips, "show": False}
    if "jobs" in known:
        options["jobs"] = 1
    frame = score_folders(folder / "truth", folder / "prediction", **options)
    return {name: frame[name].tolist() for name in METRICS[: 4 if lpips else 3]}


def ours_with_lpips(folder: Path) -> Scores:
    """Score with this project's ``score_folders``, LPIPS included."""
    return ours(folder, lpips=True)


def scikit_image(folder: Path) -> Scores:
    """Score in a loop over scikit-image's functions."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    found: Scores = {name: [] for name in METRICS[:3]}
    for truth, prediction in pairs(folder):
        found["psnr"].append(float(peak_signal_noise_ratio(truth, prediction, data_range=255)))
        found["ssim"].append(float(structural_similarity(truth, prediction, channel_axis=2, **options)))
        found["l1"].append(float(np.abs(truth / 255 - prediction / 255).mean()))
    return found


def piq(folder: Path) -> Scores:
    """Score in a loop over piq's functions."""
    import piq as library
    import torch

    found: Scores = {name: [] for name in METRICS[:3]}
    for truth, prediction in (_tensors(*pair) for pair in pairs(folder)):
        found["psnr"].append(float(library.psnr(prediction, truth)))
        found["ssim"].append(float(library.ssim(prediction, truth, downsample=False)))
        found["l1"].append(float(torch.nn.functional.l1_loss(prediction, truth)))
    return found


def torchmetrics(folder: Path) -> Scores:
    """Score in a loop over torchmetrics' functions."""
    import torch
    from torchmetrics.functional import image as library

    ssim: Any = library.structural_similarity_index_measure  # returns a tuple only with other options
    found: Scores = {name: [] for name in METRICS[:3]}
    for truth, prediction in (_tensors(*pair) for pair in pairs(folder)):
        found["psnr"].append(float(library.peak_signal_noise_ratio(prediction, truth, data_range=1.0)))
        found["ssim"].append(float(ssim(prediction, truth, data_range=1.0)))
        found["l1"].append(float(torch.nn.functional.l1_loss(prediction, truth)))
    return found


def pyiqa(folder: Path) -> Scores:
    """Score in a loop over pyiqa's metrics."""
    import pyiqa as library
    import torch

    psnr, ssim = library.create_metric("psnr"), library.create_metric("ssim", channels=3, test_y_channel=False)
    found: Scores = {name: [] for name in METRICS[:3]}
    for truth, prediction in (_tensors(*pair) for pair in pairs(folder)):
        found["psnr"].append(float(psnr(prediction, truth)))
        found["ssim"].append(float(ssim(prediction, truth)))
        found["l1"].append(float(torch.nn.functional.l1_loss(prediction, truth)))
    return found


def _tensors(*images: np.ndarray) -> list[Any]:
    """Return images as float32 tensors (1, 3, H, W) in [0, 1]."""
    import torch

    return [torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 for image in images]


OURS: tuple[Callable[[Path], Scores], ...] = (ours, ours_with_lpips)
OTHERS: tuple[Callable[[Path], Scores], ...] = (read_alone, scikit_image, piq, torchmetrics, pyiqa)
CONTENDERS = {contender.__name__: contender for contender in (*OURS, *OTHERS)}
SLOW = ("pyiqa",)  # measured on the few pairs of the warm-up
LIBRARIES = {"scikit_image": "scikit-image", "piq": "piq", "torchmetrics": "torchmetrics", "pyiqa": "pyiqa"}


# --------------------------------------------------------------------------------------------------------------------
# Measuring


def measure(contender: str, folder: Path, warm: Path) -> dict[str, Any]:
    """Return a contender's core milliseconds per pair, and its scores.

    Args:
        contender: key of ``CONTENDERS``.
        folder: with the folders ``truth`` and ``prediction``.
        warm: the same with a few pairs, scored before, so that imports and first calls are not counted.
    """
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
    score = CONTENDERS[contender]
    score(warm)
    few, many = (len(list((where / "truth").iterdir())) for where in (warm, folder))
    start = time.process_time()
    scores = score(warm)
    middle = time.process_time()
    if contender in SLOW:
        return {"ms": 1000 * (middle - start) / few, "scores": scores}
    scores = score(folder)
    # Subtract the cost of a call that does not depend on the number of pairs, such as building a network.
    return {"ms": 1000 * (time.process_time() - middle - (middle - start)) / (many - few), "scores": scores}


def compare(entries: dict[str, tuple[str, Path]], folder: Path, warm: Path, repeats: int) -> list[dict[str, Any]]:
    """Measure all contenders in turns.

    Args:
        entries: contender and tree by printed name.
        folder, warm: same as in ``measure``.
        repeats: rounds.

    Returns:
        One row per contender: ``name``, ``ms`` (least of the rounds), ``median``, and by metric the largest difference
        from the entry ``now``.
    """
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in entries}
    for _ in range(repeats):
        for name, (contender, tree) in entries.items():
            runs[name].append(run(__file__, tree, [contender, str(folder), str(warm)], ONE_THREAD))
    now = next(iter(runs.values()))[0]["scores"]
    rows = []
    for name, each in runs.items():
        times, scores = [one["ms"] for one in each], each[0]["scores"]
        differences = {
            metric: float(np.abs(np.subtract(values, now[metric][: len(values)])).max())
            for metric, values in scores.items()
        }
        rows.append({"name": name, "ms": min(times), "median": statistics.median(times), "differences": differences})
    return rows


def installed(library: str) -> bool:
    """Return whether a library can be imported; print a note if not."""
    done = subprocess.run([sys.executable, "-c", f"import {library}"], capture_output=True, text=True)
    if done.returncode:
        print(f"note: {library} is left out: {(done.stderr.strip().splitlines() or ['not importable'])[-1]}")
    return not done.returncode


def table(title: str, rows: list[dict[str, Any]]) -> str:
    """Return rows as text, with each contender's time relative to the first."""
    metrics = list(rows[0]["differences"])
    lines = [title, f"{'':24}{'ms per pair':>12}{'median':>8}{'of now':>8}" + "".join(f"{m:>10}" for m in metrics)]
    for row in rows:
        differences = (row["differences"].get(metric, math.nan) for metric in metrics)
        cells = "".join(f"{value:10.1e}" if value == value else f"{'':10}" for value in differences)
        lines.append(f"{row['name']:24}{row['ms']:12.2f}{row['median']:8.2f}{row['ms'] / rows[0]['ms']:7.1f}x{cells}")
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Return the versions of the measured libraries."""
    names = ["numpy", "torch", "pillow", *LIBRARIES.values()]
    found = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions()}
    return {name: found[name] for name in names if name in found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--revision", default="c7ba0a3", help="git revision to compare with")
    parser.add_argument("--count", type=int, default=128, help="number of pairs")
    parser.add_argument("--size", type=int, default=256, help="side in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-lpips", action="store_true", help="leave out LPIPS, which needs weights")
    parser.add_argument("--output", default="results/bench_scoring.json", help="JSON to write")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        contender, folder, warm = options.measure
        print(json.dumps(measure(contender, Path(folder), Path(warm))))
        return
    if options.count <= WARM:
        parser.error(
            f"--count {options.count}: expected more than the {WARM} pairs of the first call, which is subtracted."
        )
    with tempfile.TemporaryDirectory() as work:
        folder, warm, before = (Path(work, name) for name in ("pairs", "warm", "before"))
        write_pairs(folder, options.count, options.size)
        write_pairs(warm, WARM, options.size)
        trees = {"now": ROOT, options.revision: checkout(options.revision, before)}
        others = [o.__name__ for o in OTHERS if o.__name__ not in LIBRARIES or installed(_module(o.__name__))]
        plain = {name: ("ours", tree) for name, tree in trees.items()} | {name: (name, ROOT) for name in others}
        tables = {"PSNR, SSIM, L1": compare(plain, folder, warm, options.repeats)}
        if not options.no_lpips:
            both = {name: ("ours_with_lpips", tree) for name, tree in trees.items()}
            tables["PSNR, SSIM, L1, LPIPS"] = compare(both, folder, warm, options.repeats)
    print(f"{options.count} pairs of {options.size} pixels, core time, one thread; {processor()}")
    for title, rows in tables.items():
        print("", table(f"{title}; right: largest difference from now", rows), sep="\n")
    facts = {"processor": processor(), "load": os.getloadavg(), "versions": versions(), **vars(options)}
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    Path(options.output).write_text(json.dumps(facts | {"tables": tables}, indent=2) + "\n", encoding="utf-8")


def _module(contender: str) -> str:
    return "skimage" if contender == "scikit_image" else contender


if __name__ == "__main__":
    main()
