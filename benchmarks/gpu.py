"""Time training steps and inpainting on a GPU, side by side with another revision of this repository.

    python benchmarks/gpu.py                             prints the table and writes results/bench_gpu.json
    python benchmarks/gpu.py --device cpu --size 64 --preset mini --batch 2     the same where no GPU is present

Random weights and images; bfloat16 autocast. The weights' layout, the optimizers and the replay of recorded steps are
those of each revision's training. The two revisions are measured in processes of their own, one after the other, and
each case starts with a warm-up. Peak memory is what torch allocated. It takes about two minutes on a data-centre GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from revisions import ROOT, checkout, processor, run
from steps import PATHS, call_of
from tabulate import tabulate

BATCHES = {"train sair": 16, "inpaint sair": 8, "inpaint liif": 8, "train structureflow": 8}
WARM_UP = 5  # calls that are not timed; a training step is recorded in the fourth


def prepare(device: str) -> None:
    """Set up the process as the measured revision does."""
    try:
        from sair.common import runtime
    except ImportError:  # c7ba0a3
        from sair import runtime  # type: ignore[attr-defined,no-redef]
    runtime.set_up(1 if device == "cpu" else 8)
    torch.use_deterministic_algorithms(False)  # with them c7ba0a3 cannot train StructureFlow; they cost no time


def wait(device: str) -> None:
    """Wait until the device has done its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def measure(case: str, preset: str, size: int, count: int, repeats: int, device: str) -> dict[str, float]:
    """Return the median milliseconds of a call, images per second, and the peak memory in GiB (0 on a CPU)."""
    call, times = call_of(case, preset, size, count, device), []
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with torch.autocast(device, torch.bfloat16):
        for number in range(WARM_UP + repeats):
            wait(device)
            start = time.perf_counter()
            call()
            wait(device)
            if number >= WARM_UP:
                times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    return {"ms": 1000 * seconds, "images_per_second": count / seconds, "peak_gib": peak}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both revisions, print a table and write the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="results/bench_gpu.json", help="JSON to write")
    parser.add_argument("--against", default="c7ba0a3", help="git revision to compare with, or a folder that holds one")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="where to compute")
    parser.add_argument("--preset", default="paper", help="size of the methods")
    parser.add_argument("--size", type=int, default=256, help="side of the images")
    parser.add_argument("--batch", type=int, help="images per batch, in place of each case's own")
    parser.add_argument("--repeats", type=int, default=8, help="timed calls in each process")
    parser.add_argument("--cases", nargs="+", default=list(BATCHES), choices=list(BATCHES), help="what to measure")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU. Run it where one is, or try `--device cpu --size 64 --preset mini`.")
    if options.measure:
        prepare(options.device)
        given = (options.preset, options.size)
        found = {}
        for case in options.cases:
            count = options.batch or BATCHES[case]
            found[case] = measure(case, *given, count, options.repeats, options.device)
        print(json.dumps(found))
        return
    settings = {key: str(getattr(options, key)) for key in ("device", "preset", "size", "repeats")}
    given = [word for key, value in settings.items() for word in (f"--{key}", value)]
    given += ["--cases", *options.cases, *(["--batch", str(options.batch)] if options.batch else [])]
    with tempfile.TemporaryDirectory() as folder:
        arms = {"before": checkout(options.against, Path(folder), PATHS), "now": ROOT}
        found = {name: run(__file__, root, given) for name, root in arms.items()}
    cases: dict[str, dict[str, Any]] = {
        case: {name: arm[case] for name, arm in found.items()} for case in options.cases
    }
    rows = [
        [
            case,
            *(f"{both[arm]['ms']:.1f} ms, {both[arm]['images_per_second']:.1f}/s, {both[arm]['peak_gib']:.2f} GiB"
              for arm in ("before", "now")),
            f"{both['before']['ms'] / both['now']['ms']:.1f}x",
        ]
        for case, both in cases.items()
    ]  # fmt: skip
    print(tabulate(rows, ["case", Path(options.against).name, "now", "ratio"], disable_numparse=True))
    name = torch.cuda.get_device_name() if options.device == "cuda" else processor()
    facts = {"device_name": name, "torch": torch.__version__, "date": str(date.today()), **settings}
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"against": Path(options.against).name, **facts, "cases": cases}, indent=2) + "\n")


if __name__ == "__main__":
    main()
