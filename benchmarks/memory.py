"""Measure the peak memory of inpainting a large image and of training steps on a CPU, beside another revision.

    python benchmarks/memory.py         prints the table and writes results/bench_memory.json

Each case is a separate process, with random weights and images. Its peak is the largest resident memory so far;
`added` is what the measured call added to the largest one before, in which the method had been built. Training takes a
step in the first, the middle and the last stage, so that all optimizers have their states. Inpainting is in float32, as
`predict` is. A batch of the published size does not fit many machines, so `--batch` is small: activations grow with it,
weights and optimizers do not.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
import yaml
from revisions import ROOT, checkout, processor, run
from steps import PATHS, batch_of, built, prepared
from tabulate import tabulate

MEASURE = ROOT / "sair/common/memory.py"
STAGES = (0.05, 0.5, 0.95)  # progress of the run: a method with stages is in its first, its second and its last
LARGE = ("sair", "liif")


def set_up(threads: int) -> Any:
    """Set up the process as the measured revision does, import what training imports, and return its ``runtime``."""
    from sair.training import loop  # noqa: F401

    try:
        from sair.common import runtime
    except ImportError:  # c7ba0a3
        from sair import runtime  # type: ignore[attr-defined,no-redef]
    runtime.set_up(threads)
    return runtime


def peak() -> float:
    """Return the largest resident memory of this process so far, in GiB."""
    return runpy.run_path(str(MEASURE))["peak_memory"]() / 2**10  # the working tree's: an old revision has none


def inpaint(method: Any, size: int) -> None:
    """Fill one square image, with a quarter of it a hole."""
    batch = batch_of(1, size, "cpu")
    with torch.no_grad():
        method.eval().inpaint(batch["images"] * (1 - batch["masks"]), batch["masks"], known=False)


def train(method: Any, size: int, count: int) -> None:
    """Take a training step in each stage, with all losses."""
    if hasattr(method, "vgg_share"):
        method.vgg_share = 1
    optimizers = prepared(method.train())

    def step(name: str, loss: torch.Tensor) -> None:
        optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        optimizers[name].step()
        torch.clear_autocast_cache()

    for progress in STAGES:
        method.training_step(batch_of(count, size, "cpu") | {"progress": progress}, step)


def measure(case: str, options: argparse.Namespace) -> dict[str, float]:
    """Return the peak memory of a case and what the call added to it, both in GiB, and the call's seconds."""
    kind, name = case.split()
    runtime = set_up(options.threads)
    method = built(name, options.preset)
    before, start = peak(), time.perf_counter()
    if kind == "inpaint":
        inpaint(method, options.large)
    else:
        with runtime.autocast(options.precision, torch.device("cpu")):
            train(method, options.size, options.batch)
    return {"peak": peak(), "added": peak() - before, "seconds": time.perf_counter() - start}


def trained(preset: str) -> list[str]:
    """Return the names of the methods that this preset trains, in the working tree."""
    from sair.methods.spec import load_spec, method_names

    training = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))["training"]
    folder = ROOT / "config/methods"
    return [name for name in method_names(folder) if load_spec(name, folder, preset, training)["training"]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both revisions, print a table and write the numbers as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", default="results/bench_memory.json", help="JSON to write")
    parser.add_argument("--against", default="c7ba0a3", help="git revision to compare with")
    parser.add_argument("--methods", nargs="*", help="methods whose training is measured; all that the preset trains")
    parser.add_argument("--preset", default="paper", help="size of the methods")
    parser.add_argument("--size", type=int, default=256, help="side of the training images")
    parser.add_argument("--batch", type=int, default=1, help="images per batch")
    parser.add_argument("--large", type=int, default=2048, help="side of the image to inpaint")
    parser.add_argument(
        "--precision", default="auto", choices=("auto", "fp32", "bf16"), help="of training; auto: each revision's own"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--inpainting", nargs="*", default=list(LARGE), help="methods that inpaint the large image")
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(options.case, options)))
        return
    settings = {key: str(getattr(options, key)) for key in ("preset", "size", "batch", "large", "precision", "threads")}
    given = [word for key, value in settings.items() for word in (f"--{key}", value)]
    cases = [f"inpaint {name}" for name in options.inpainting]
    cases += [f"train {name}" for name in (trained(options.preset) if options.methods is None else options.methods)]
    facts = {"processor": processor(), "torch": torch.__version__, "date": str(date.today()), **settings}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trees = {"before": checkout(options.against, Path(folder), PATHS), "now": ROOT}
        for case in cases:
            found[case] = {name: run(__file__, tree, ["--case", case, *given]) for name, tree in trees.items()}
            print(table({case: found[case]}, options.against).splitlines()[-1], file=sys.stderr)  # all takes long
            write_json(Path(options.output), {"against": options.against, **facts, "cases": found})
    print(table(found, options.against))


def table(cases: dict[str, dict[str, Any]], revision: str) -> str:
    """Return the cases as a table of the two revisions."""
    rows = [
        [case, *(f"{both[name][key]:.2f}" for key in ("peak", "added") for name in ("before", "now")),
         f"{both['now']['added'] / both['before']['added']:.2f}"]
        for case, both in cases.items()
    ]  # fmt: skip
    headers = ["case", f"{revision}: peak (GiB)", "now", f"{revision}: added (GiB)", "now", "ratio"]
    return tabulate(rows, headers, disable_numparse=True)


def write_json(path: Path, found: dict[str, Any]) -> None:
    """Write what was found so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
