"""Measure how fast the embedded faces are drawn and written, side by side with another revision of this repository.

    python benchmarks/faces.py          prints the table and writes results/bench_faces.json

Each measurement is a separate process, and the two revisions take turns. On a busy machine wall time means little, so
compare core seconds (user and system time of the process and its workers). Wall time shows how the work spreads over
processes if as many cores are idle. Files are deleted at the end only, because ext4 creates files slowly for some time
after it has deleted thousands.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from revisions import ROOT, checkout, core_seconds, processor, run

SEED = 13_000  # of the first face that is only drawn; before it are three that c7ba0a3 fails to draw
TOGETHER = 2**19  # pixels of the faces that are drawn together, as in sair.data.sources


def draw_function() -> Callable[[Sequence[int], int], Iterable[Any]]:
    """Return the function with which the measured revision draws the faces of several seeds."""
    try:
        from sair.data.embedded.faces import draw_faces
    except ImportError:  # older revisions draw one by one
        try:
            from sair.data.embedded.faces import draw_face
        except ImportError:  # c7ba0a3
            from sair.data.faces import draw_face  # type: ignore[no-redef]
        return lambda seeds, size: (draw_face(seed, size) for seed in seeds)
    return draw_faces


def freeze_function() -> Callable[..., Any]:
    """Return the function with which the measured revision freezes images."""
    try:
        from sair.data.freeze import freeze_images
    except ImportError:  # c7ba0a3
        from sair.data.manifest import write_pictures as freeze_images  # type: ignore[attr-defined,no-redef]
    return freeze_images


def measure(count: int, size: int, processes: int, folder: Path) -> dict[str, Any]:
    """Draw faces, or with ``processes`` above 0 draw and write them, and return seconds and a hash of the result.

    Args:
        count: number of faces.
        size: side in pixels.
        processes: number of processes that draw and write; 0 only draws, in this process.
        folder: where they write; it need not exist.
    """
    digest = hashlib.sha256()
    if processes:
        freeze, table = freeze_function(), folder / "images.csv"
        dataset = {"source": "faces", "train": count - 2, "validation": 1, "test": 1}
        core, wall = core_seconds(), time.perf_counter()
        freeze(dataset, size, table, processes)
    else:
        draw, most = draw_function(), max(1, TOGETHER // (size * size))
        core, wall = core_seconds(), time.perf_counter()
        for first in range(SEED, SEED + count, most):
            for face in draw(range(first, min(first + most, SEED + count)), size):
                digest.update(face.image.tobytes() + face.labels.tobytes() + face.caption.encode())
    found = {"core": core_seconds() - core, "wall": time.perf_counter() - wall}
    if processes:
        with open(table, newline="", encoding="utf-8") as stream:  # the pixels' hashes and the captions
            for row in csv.DictReader(stream):
                digest.update(f"{row['sha256']} {row['labels_sha256']} {row['caption']}\n".encode())
    return found | {"sha256": digest.hexdigest()}


def compare(trees: dict[str, Path], options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Measure all cases, the revisions in turns.

    Args:
        trees: folders with the package ``sair`` by name of the revision.
        options: ``count``, ``size``, ``repeats`` and ``processes`` of the command line.
        folder: where the files go.

    Returns:
        One row per case: ``case``, ``unit``, the least for each revision per 1000 faces, and ``same`` (equal results).
    """
    rows = []
    for processes in (0, *options.processes):
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in trees}
        for number in range(options.repeats):
            for place, (name, tree) in enumerate(trees.items()):
                into = folder / f"{processes}-{number}-{place}"
                runs[name].append(run(__file__, tree, [*map(str, (options.count, options.size, processes, into))]))
        same = len({one["sha256"] for each in runs.values() for one in each}) == 1
        what = f"draw and write, {processes} processes" if processes else "draw"
        for unit in ("core", "wall"):
            least = {name: min(one[unit] for one in each) for name, each in runs.items()}
            per_thousand = {name: 1000 * seconds / options.count for name, seconds in least.items()}
            rows.append({"case": what, "unit": unit, **per_thousand, "same": same})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--revision", default="c7ba0a3", help="git revision to compare with")
    parser.add_argument("--count", type=int, default=6124, help="number of faces")
    parser.add_argument("--size", type=int, default=64, help="side of the faces in pixels")
    parser.add_argument(
        "--processes", type=int, nargs="*", default=[1, 2, 4, 8], help="numbers of processes to measure"
    )
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", default="results/bench_faces.json", help="JSON to write")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        count, size, processes, into = options.measure
        print(json.dumps(measure(int(count), int(size), int(processes), Path(into))))
        return
    with tempfile.TemporaryDirectory() as folder:
        trees = {options.revision: checkout(options.revision, Path(folder, "before")), "now": ROOT}
        rows = compare(trees, options, Path(folder, "files"))
    print(
        f"{options.count} faces of {options.size} pixels, seconds per 1000 faces; {os.cpu_count()} cores, {processor()}"
    )
    print(f"{'case':32}{'seconds':>8}{options.revision:>12}{'now':>8}{'ratio':>8}  same bytes")
    for row in rows:
        before, now, same = row[options.revision], row["now"], "yes" if row["same"] else "NO"
        print(f"{row['case']:32}{row['unit']:>8}{before:12.2f}{now:8.2f}{before / now:7.1f}x  {same}")
    facts = {"processor": processor(), "cores": os.cpu_count(), "load": os.getloadavg(), **vars(options)}
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    Path(options.output).write_text(json.dumps(facts | {"cases": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
