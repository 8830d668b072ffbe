"""Measure what the rule that shrinks masks does to buckets and scores.

    python benchmarks/shrinking.py FOLDER [--hole white]      prints the two tables of docs/masks.md

FOLDER contains square masks, such as NVIDIA's test masks. The scores are those of the control ``mean_fill`` on drawn
faces, each under one mask whose hole ratio is 20 to 40 % by nearest neighbour.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import sair
from sair.common.images import read_mask
from sair.common.listing import list_images
from sair.data.buckets import DEFAULT_BUCKETS, bucket_of
from sair.data.embedded.faces import draw_face
from sair.data.shrinking import NEAREST, RULES, shrink
from sair.evaluation.pairs import score_pair

SIZES = (256, 64)
IMAGES = 200  # images whose scores are averaged


def buckets_table(masks: list[np.ndarray], size: int) -> str:
    """Return a Markdown table: mean hole ratio, and the share of masks in another bucket than by nearest neighbour."""
    small = {rule: [shrink(mask, size, rule) for mask in masks] for rule in RULES}
    labels = {rule: [bucket_of(int(m.sum()), m.size, DEFAULT_BUCKETS) for m in found] for rule, found in small.items()}
    lines = [f"| to {size} pixels | mean hole ratio | in another bucket |", "|---|---:|---:|"]
    for rule, found in small.items():
        ratio = np.mean([mask.mean() for mask in found])
        moved = np.mean([a != b for a, b in zip(labels[rule], labels[NEAREST], strict=True)])
        lines.append(f"| `{rule}` | {ratio:.3f} | {100 * moved:.1f} % |")
    return "\n".join(lines)


def scores_table(masks: list[np.ndarray], size: int) -> str:
    """Return a Markdown table: mean PSNR and L1 of the whole composited image, and PSNR inside the hole."""
    fits = [mask for mask in masks if 0.2 <= shrink(mask, size).mean() < 0.4][:IMAGES]
    method = sair.load("mean_fill")
    lines = [f"| {size} pixels, n = {len(fits)} | PSNR | L1 | PSNR in the hole |", "|---|---:|---:|---:|"]
    for rule in RULES:
        found = []
        for number, mask in enumerate(fits):
            truth, hole = draw_face(number, size).image, shrink(mask, size, rule)
            scores = score_pair(truth, method.inpaint(truth, hole), hole)
            found.append([scores[name] for name in ("psnr", "l1", "psnr_hole")])
        psnr, l1, inside = np.mean(found, axis=0)
        lines.append(f"| `{rule}` | {psnr:.2f} | {l1:.4f} | {inside:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables for every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hole", default="white", help="what marks the hole in the masks")
    arguments = parser.parse_args()
    masks = [read_mask(path, arguments.hole) for path in list_images(arguments.folder)]
    print(f"{len(masks)} masks of {masks[0].shape[0]} pixels\n")
    for size in SIZES:
        print(f"{buckets_table(masks, size)}\n\n{scores_table(masks, size)}\n")


if __name__ == "__main__":
    main()
