"""Draw image grids from the PNGs on disk, and training curves from train.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from sair.common.files import atomic
from sair.common.images import read_rgb, write_png
from sair.common.tabular import ANY, FINITE, read_csv
from sair.data.buckets import holes
from sair.data.manifest import ManifestRow, read_manifest, read_pair
from sair.evaluation.metrics.psnr import psnr

TILE = 192  # smallest side of an image in a grid, in pixels
GAP = 6
LINE = 26
HOLE_COLOUR = np.array((255, 255, 255), np.uint8)
SMOOTH = 5  # logged losses averaged for the bold curve

plt.switch_backend("agg")  # writes files; needs no display


def qualitative(manifest: str | Path, predictions: Mapping[str, str | Path], outputs: Sequence[str | Path]) -> None:
    """Draw one grid per image: masked input, every method, ground truth; one row per bucket.

    Args:
        manifest: manifest.csv of the dataset.
        predictions: column title -> a method's predictions folder.
        outputs: PNGs to write; the images are spread evenly over the manifest.
    """
    rows = read_manifest(manifest)
    names = list(dict.fromkeys(row.id for row in rows))
    chosen = [names[(2 * n + 1) * len(names) // (2 * len(outputs))] for n in range(len(outputs))]
    for name, output in zip(chosen, outputs, strict=True):
        lines = [_line(row, Path(manifest).parent, predictions) for row in rows if row.id == name]
        titles = ["Masked input", *predictions, "Ground truth"]
        labels = [holes(row.bucket) for row in rows if row.id == name]
        write_png(output, draw_grid(titles, labels, lines))


def _line(row: ManifestRow, folder: Path, predictions: Mapping[str, str | Path]) -> list[tuple[np.ndarray, str]]:
    truth, hole = read_pair(row, folder)
    masked = np.where(hole[..., None], HOLE_COLOUR, truth)
    cells = [(masked, f"{100 * row.hole_pixels / row.pixels:.0f} % hole")]
    for path in predictions.values():
        image = read_rgb(Path(path) / "composited" / row.prediction)
        cells.append((image, f"{psnr(truth, image):.2f} dB"))
    return [*cells, (truth, "")]


def draw_grid(
    titles: Sequence[str], labels: Sequence[str], lines: Sequence[Sequence[tuple[np.ndarray, str]]]
) -> np.ndarray:
    """Lay images out in a grid with column titles, row labels and a caption under each.

    Args:
        titles: one per column.
        labels: one per line.
        lines: images, uint8 (H, W, 3) of one size, with their captions.

    Returns:
        uint8 (H, W, 3) on white. Images are enlarged by whole factors, so that every pixel is shown as it was scored.
    """
    height, width = lines[0][0][0].shape[:2]
    zoom = max(1, -(-TILE // width))
    tile_height, tile_width = height * zoom, width * zoom
    margin = 70
    canvas = Image.new(
        "RGB", (margin + len(titles) * (tile_width + GAP), LINE + len(lines) * (tile_height + LINE + GAP)), "white"
    )
    draw = ImageDraw.Draw(canvas)
    font, small = ImageFont.load_default(16), ImageFont.load_default(14)
    for column, title in enumerate(titles):
        x = margin + column * (tile_width + GAP) + tile_width // 2
        draw.text((x, LINE // 2), title, "black", font, anchor="mm")
    for number, (label, line) in enumerate(zip(labels, lines, strict=True)):
        y = LINE + number * (tile_height + LINE + GAP)
        draw.text((margin // 2, y + tile_height // 2), label, "black", font, anchor="mm")
        for column, (image, caption) in enumerate(line):
            x = margin + column * (tile_width + GAP)
            canvas.paste(Image.fromarray(image.repeat(zoom, 0).repeat(zoom, 1)), (x, y))
            draw.text((x + tile_width // 2, y + tile_height + LINE // 2), caption, "black", small, anchor="mm")
    return np.array(canvas)


def training_curves(logs: Mapping[str, Sequence[str | Path]], output: str | Path) -> None:
    """Draw training loss and validation PSNR over the steps (the paper's Fig. 5, right).

    A method has a bold line, the mean over its seeds, and a thin one for each seed.

    Args:
        logs: legend -> the train.csv of each of a method's seeds.
        output: PNG to write.
    """
    figure, (loss, psnr) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for label, paths in logs.items():
        read = [read_log(path) for path in paths]
        losses = [log.set_index("step").loss for log in read]
        bold = _mean(losses).rolling(SMOOTH, min_periods=1, center=True).mean()
        (line,) = loss.plot(bold.index, bold, label=label)
        thin = {"color": line.get_color(), "alpha": 0.25, "linewidth": 0.8}
        for values in losses:
            loss.plot(values.index, values, **thin)
        validated = [validations(log).set_index("step").psnr for log in read]
        mean = _mean(validated)
        psnr.plot(mean.index, mean, marker="o", markersize=3, label=label)
        for values in validated if len(validated) > 1 else ():
            psnr.plot(values.index, values, **thin)
    loss.set(xlabel="step", ylabel="training loss (L1)", yscale="log")
    psnr.set(xlabel="step", ylabel="validation PSNR (dB)")
    for axes in (loss, psnr):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    with atomic(output) as temporary:
        figure.savefig(temporary, dpi=150, format="png", metadata={"Software": None})
    plt.close(figure)


def _mean(lines: Sequence[pd.Series]) -> pd.Series:
    """Return the mean of some curves at the steps that all of them have."""
    return pd.concat(lines, axis=1, join="inner").mean(axis=1)


def read_log(path: str | Path) -> pd.DataFrame:
    """Read the columns of a train.csv that every method has; ``psnr`` is ``nan`` before the first validation."""
    return read_csv(path, {"step": FINITE, "psnr": ANY, "loss": FINITE}, remedy="Delete it and train again.")


def validations(log: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of a train.csv with a new validation; the log repeats the last one until the next."""
    return log[log.psnr.notna() & (log.psnr != log.psnr.shift())]
