"""Count operators and reads of a training step and an inpainted batch, beside another revision, without a GPU.

    python benchmarks/steps.py          prints the table and writes results/bench_steps.json

Operators: calls that reach a device, each of which is one or a few launches on a GPU. Reads: operators that make the
CPU wait for a GPU, because a value or a size is read, a mask selects, or host values are copied. Both are counted on
the CPU in the forward and the backward pass. CPU ms: user and system time of a process with one thread; the revisions
take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
import yaml
from revisions import ROOT, checkout, processor, run
from tabulate import tabulate
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.append(str(ROOT / "tests"))
from helpers.fake_gpu import read

PATHS = ("sair", "baselines", "config")
# `render`: inpainting as a GPU gets it, the whole batch at once; c7ba0a3 inpainted image by image there, too.
CASES = ("train sair", "train liif", "inpaint sair", "inpaint liif", "render sair", "render liif")


class Counter(TorchDispatchMode):
    """Count operators, and those that make the CPU wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.reads = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count and call one operator."""
        name = function.name().removeprefix("aten::").partition(".")[0]
        self.operators += 1
        # A list becomes a tensor on the CPU first; a single number stays there.
        listed = name == "lift_fresh" and args[0].numel() > 1
        self.reads += listed or read(name, args, kwargs or {}) is not None
        return function(*args, **(kwargs or {}))


def built(name: str, preset: str) -> Any:
    """Build a method of the measured revision, on random weights."""
    try:
        from sair.methods.build import build
        from sair.methods.spec import load_spec
    except ImportError:  # c7ba0a3
        from sair.methods import build  # type: ignore[attr-defined,no-redef]
        from sair.methods import load_method as load_spec  # type: ignore[attr-defined,no-redef]
    training = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))["training"]
    spec = load_spec(name, "config/methods", preset, training)
    if spec["semantics"]:
        encoder = load_spec(spec["semantics"], "config/semantics", preset, training)["parameters"]
        spec["parameters"]["semantic"] = {"name": spec["semantics"], "architecture": encoder["architecture"]}
    _without_vgg_weights()
    torch.manual_seed(0)
    return build(spec)


def _without_vgg_weights() -> None:
    """Let losses use VGG16 on random weights: its file may be missing, and the operators are the same."""
    from sair.weights import networks

    networks.vgg16_features = lambda: networks.Vgg16Features().eval().requires_grad_(False)


def batch_of(count: int, size: int, device: str) -> dict[str, Any]:
    """Return random images with a square hole of a quarter of their area."""
    images, masks = torch.rand(count, 3, size, size), torch.zeros(count, 1, size, size)
    masks[..., size // 4 : size // 4 + size // 2, size // 4 : size // 4 + size // 2] = 1
    found = {"images": images.to(device), "masks": masks.to(device)}
    return {**found, "progress": 0.5, "id": ["x"] * count}


def call_of(case: str, preset: str, size: int, count: int, device: str = "cpu") -> Callable[[], Any]:
    """Return a function that takes one training step, or inpaints one batch."""
    kind, name = case.split()
    method, batch = built(name, preset).to(device), batch_of(count, size, device)
    if kind != "train":
        method.eval()
        if kind == "render":
            _as_on_a_gpu(method)
        images = batch["images"] * (1 - batch["masks"])

        @torch.no_grad()
        def inpaint() -> Tensor:
            return method.inpaint(images, batch["masks"], known=False)

        return inpaint
    optimizers = prepared(method.train())

    def apply(name: str, loss: Tensor) -> None:
        optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        optimizers[name].step()
        torch.clear_autocast_cache()

    recorded: Any = None
    if device == "cuda" and getattr(method, "repeats_its_step", False):
        from sair.training.recorded import RecordedSteps

        recorded = RecordedSteps(method.training_step, apply, optimizers.values())

    def train() -> Any:
        torch.manual_seed(1)
        return recorded(batch, lambda name, loss: None) if recorded else method.training_step(batch, apply)

    return train


def prepared(method: Any) -> dict[str, torch.optim.Optimizer]:
    """Return a method's optimizers, as the measured revision trains with them."""
    from sair.training import loop

    if hasattr(loop, "prepare"):
        return loop.prepare(method)
    return method.optimizers()  # c7ba0a3 changed nothing


def _as_on_a_gpu(method: Any) -> None:
    """Let a method of the working tree render batches, which it does not do on a CPU."""
    try:
        from sair.models import implicit, rendering
    except ImportError:  # c7ba0a3
        return
    implicit._IN_CACHE = 2**40
    method.inpaint = lambda images, masks, known: method._render(images, masks, None, known, rendering.CHUNK)


def measure(case: str, preset: str, size: int, count: int, repeats: int) -> dict[str, float]:
    """Count one call's operators and reads, and time ``repeats`` calls."""
    torch.set_num_threads(1)
    call = call_of(case, preset, size, count)
    call()
    with Counter() as counter:
        call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    milliseconds = 1000 * statistics.median(times)
    return {"operators": counter.operators, "reads": counter.reads, "cpu_ms": milliseconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both revisions, print a table and write the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="results/bench_steps.json", help="JSON to write")
    parser.add_argument("--against", default="c7ba0a3", help="git revision to compare with")
    parser.add_argument("--preset", default="mini", help="size of the methods")
    parser.add_argument("--size", type=int, default=64, help="side of the images")
    parser.add_argument("--batch", type=int, default=8, help="images per batch")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls in each process")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES, help="what to measure")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        [case] = options.cases
        print(json.dumps(measure(case, options.preset, options.size, options.batch, options.repeats)))
        return
    settings = {key: str(getattr(options, key)) for key in ("preset", "size", "batch", "repeats")}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        before = checkout(options.against, Path(folder), PATHS)
        for case in options.cases:
            given = ["--cases", case, *(word for key, value in settings.items() for word in (f"--{key}", value))]
            found[case] = {name: run(__file__, root, given) for name, root in (("before", before), ("now", ROOT))}
    rows = [
        [case, *(f"{both['before'][key]:.0f} -> {both['now'][key]:.0f}" for key in ("operators", "reads", "cpu_ms"))]
        for case, both in found.items()
    ]
    print(tabulate(rows, ["case", "operators", "reads", "CPU ms"], disable_numparse=True))
    facts = {"processor": processor(), "torch": torch.__version__, "date": str(date.today()), **settings}
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"against": options.against, **facts, "cases": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
