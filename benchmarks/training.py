"""Measure the core time of training, side by side with another revision of this repository.

    python benchmarks/training.py                  core seconds per step of LIIF and SAIR
    python benchmarks/training.py --full           whole trainings: also core seconds to a validation PSNR

It needs a frozen split, and the small CLIP for rows with semantics; both are made by

    snakemake --cores all results/faces/manifest.csv results/faces/clip/seed0/checkpoint.safetensors

Each training is a process with one thread, and the two revisions take turns on the same split. Compare core seconds
(user and system time): on a busy machine they also grow, but for both revisions alike. Validation is not
counted per step. The table is printed, and written with all facts to results/bench_training.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from revisions import ONE_THREAD, ROOT, checkout, core_seconds, processor, run
from tabulate import tabulate

WARM_UP = 3  # steps at the start that are not counted


def former_tables(data: Path, folder: Path) -> Path:
    """Link a frozen split below ``folder`` with its table as c7ba0a3 read it: pictures.csv, without clusters."""
    for entry in data.iterdir():
        if entry.name in ("images", "labels", "masks", "training_masks.csv"):
            (folder / entry.name).symlink_to(entry.resolve())
    with open(data / "images.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = [column for column in rows[0] if column != "cluster"]
    with open(folder / "pictures.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return folder / "pictures.csv"


class Measured:
    """The training function of the measured revision, with core seconds noted at each step and each validation.

    Args:
        tree: folder with ``sair``, ``baselines`` and ``config`` of the revision, which PYTHONPATH names.
        data: folder of the frozen split.
        folder: for checkpoints and logs.
    """

    def __init__(self, tree: Path, data: Path, folder: Path) -> None:
        from sair.training import loop

        self.loop, self.config = loop, yaml.safe_load((tree / "config/config.yaml").read_text(encoding="utf-8"))
        self.tree, self.folder, self.masks = tree, folder, data / "training_masks.csv"
        self.load_spec: Callable[..., dict[str, Any]]
        try:
            from sair.common import runtime
            from sair.methods.spec import load_spec

            self.load_spec, self.fit, self.encoder = load_spec, loop.fit, "encoder"
            self.images = data / "images.csv"
        except ImportError:  # c7ba0a3
            from sair import runtime  # type: ignore[attr-defined,no-redef]
            from sair.methods import load_method  # type: ignore[attr-defined]

            self.load_spec, self.fit, self.encoder = load_method, loop.train, "semantics"
            self.images = former_tables(data, folder)
            self.masks = folder / "training_masks.csv"
        runtime.set_up(1)
        self.steps: list[float] = []  # core seconds at the start of each step, without those of validation
        self.points: list[tuple[float, float]] = []  # at each validation: core seconds, PSNR in dB
        self.start = self.validation = 0.0
        self._note("lr_scale", lambda before, after, value: self.steps.append(before - self.validation))
        self._note("validation_psnr", self._validated)

    def _note(self, name: str, note: Callable[[float, float, Any], None]) -> None:
        """Call ``note(seconds before, seconds after, result)`` whenever the loop calls its function ``name``."""
        function = getattr(self.loop, name)

        def noted(*arguments: Any) -> Any:
            before = core_seconds()
            value = function(*arguments)
            note(before, core_seconds(), value)
            return value

        setattr(self.loop, name, noted)

    def _validated(self, before: float, after: float, psnr: float) -> None:
        self.validation += after - before
        self.points.append((after - self.start, psnr))

    def train(self, name: str, steps: int | None, encoder: Path) -> dict[str, Any]:
        """Train a method, and return its core seconds, in all and per step, and the validations.

        Args:
            name: name of the file in config/methods.
            steps: number of counted steps; None trains to the end.
            encoder: checkpoint of the semantic encoder, for a method with ``semantics``.
        """
        config = self.config
        spec = self.load_spec(name, self.tree / "config/methods", config["preset"], config["training"])
        if steps is not None:
            spec["training"] |= {"steps": steps + WARM_UP, "scale": 1}
        parts: dict[str, Any] = {self.encoder: encoder} if spec["semantics"] else {}
        if spec["over"]:  # of which only the shapes matter for the time of a step
            self.train(spec["over"], None if steps is None else 2, encoder)
            parts["over"] = self.folder / spec["over"] / "checkpoint.safetensors"
        self.steps, self.points, self.validation = [], [], 0.0
        output = self.folder / name
        output.mkdir()
        self.start = core_seconds()
        self.fit(
            spec, self.images, self.masks, 0, output / "checkpoint.safetensors", output / "train.csv", **parts,
            device="cpu",
        )  # fmt: skip
        counted = self.steps[WARM_UP:]  # up to the start of the last step, because writing the checkpoint is no step
        per_step = (counted[-1] - counted[0]) / (len(counted) - 1)
        return {"seconds": core_seconds() - self.start, "per_step": per_step, "points": self.points}


def measured(tree: Path, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return ``Measured.train`` of the revision in ``tree``, from a new process with one thread."""
    given = [str(tree), "--methods", name, "--data", options.data, "--encoder", options.encoder]
    return run(__file__, tree, [*given, *(["--full"] if options.full else ["--steps", str(options.steps)])], ONE_THREAD)


def compare(trees: dict[str, Path], name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one method in both revisions, which take turns, and return one row of the table.

    Returns:
        ``method``; per revision the median of ``per_step``, and for whole trainings ``psnr`` (the last validation) and
        ``to_target``: core seconds to the first validation that is at most ``tolerance`` below the old one's last.
    """
    runs: dict[str, list[dict[str, Any]]] = {revision: [] for revision in trees}
    for _ in range(options.repeats):
        for revision, tree in trees.items():
            runs[revision].append(measured(tree, name, options))
    row: dict[str, Any] = {"method": name, "runs": runs}
    row["per_step"] = {revision: statistics.median(one["per_step"] for one in each) for revision, each in runs.items()}
    if options.full:
        row["psnr"] = {revision: each[0]["points"][-1][1] for revision, each in runs.items()}
        least = row["psnr"][options.revision] - options.tolerance
        row["to_target"] = {
            revision: next((seconds for seconds, psnr in each[0]["points"] if psnr >= least), None)
            for revision, each in runs.items()
        }
    return row


def table(rows: Sequence[dict[str, Any]], revision: str) -> str:
    """Return the rows as a table of the two revisions and their ratio."""
    lines = []
    for row in rows:
        for key, label in (("per_step", "per step"), ("to_target", "to the PSNR"), ("psnr", "PSNR (dB)")):
            old, new = (row.get(key, {}).get(name) for name in (revision, "now"))
            if old is None:
                continue
            ratio = f"{old / new:.2f}x" if new is not None and key != "psnr" else ""
            lines.append((row["method"], label, f"{old:.3f}", "not reached" if new is None else f"{new:.3f}", ratio))
    return tabulate(lines, ["method", "core seconds", revision, "now", "ratio"], disable_numparse=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--revision", default="c7ba0a3", help="git revision to compare with")
    parser.add_argument("--methods", nargs="+", default=["liif", "sair"])
    parser.add_argument("--steps", type=int, default=20, help="steps of each training that are counted")
    parser.add_argument("--full", action="store_true", help="train to the end")
    parser.add_argument("--tolerance", type=float, default=0.05, help="dB below the old PSNR that count as reached")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--data", default="results/faces", help="folder of the frozen split")
    parser.add_argument("--encoder", default="results/faces/clip/seed0/checkpoint.safetensors")
    parser.add_argument("--output", default="results/bench_training.json", help="JSON to write")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.data, options.encoder = (str(Path(path).resolve()) for path in (options.data, options.encoder))
    with tempfile.TemporaryDirectory() as folder:
        if options.measure:
            training = Measured(Path(options.measure), Path(options.data), Path(folder))
            steps = None if options.full else options.steps
            print(json.dumps(training.train(options.methods[0], steps, Path(options.encoder))))
            return
        paths = ("sair", "baselines", "config")
        trees = {options.revision: checkout(options.revision, Path(folder), paths), "now": ROOT}
        rows = [compare(trees, name, options) for name in options.methods]
    print(f"{date.today()}, {processor()}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print(table(rows, options.revision))
    facts = {"date": str(date.today()), "processor": processor(), "cores": os.cpu_count(), **vars(options)}
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    Path(options.output).write_text(json.dumps(facts | {"cases": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
