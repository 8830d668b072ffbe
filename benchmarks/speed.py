"""Measure how much faster the exact shortcuts are than the published formulas, side by side in one run.

    make bench          prints the table and writes results/bench.json

Every case alternately runs the formula as published (below, in plain PyTorch: unfold, four nearest look-ups, and one
MLP pass for each of them) and the shortcut, with the same random weights, and compares the outputs. Seconds vary on a
busy machine, so the ratio of the two medians is reported.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor

from sair.common import runtime
from sair.common.files import write_text
from sair.common.memory import peak_memory
from sair.methods.build import build
from sair.methods.spec import load_spec
from sair.models.implicit import own_cells, pixel_centres
from sair.models.inpainter import ImplicitInpainter

CHUNK = 30_000  # queries per MLP pass, as in the evaluation code of LIIF


def published_query(
    imnet: torch.nn.Module, features: Tensor, coords: Tensor, cell: Tensor | None, unfold: bool, extra: Any = None
) -> Tensor:
    """Query an implicit function as LIIF (Chen et al., 2021) publishes it.

    Args:
        imnet: the MLP.
        features: the feature grid, (B, C, h, w).
        coords: (y, x) of the queries in [-1, 1], (B, Q, 2).
        cell: pixel size, (2,), or None without cell decoding.
        unfold: whether to concatenate the features of each 3x3 neighbourhood.
        extra: maps the centres of the cells that are looked up, (B, Q, 2), to vectors that the MLP gets as further
            input.

    Returns:
        (B, Q, outputs).
    """
    batch, _, height, width = features.shape
    if unfold:
        features = F.unfold(features, 3, padding=1).view(batch, -1, height, width)
    centres = pixel_centres(height, width).view(height, width, 2).permute(2, 0, 1)[None].expand(batch, -1, -1, -1)
    answers, areas = [], []
    for vy in (-1, 1):
        for vx in (-1, 1):
            shifted = coords + coords.new_tensor([vy / height, vx / width]) + 1e-6
            grid = shifted.clamp(-1 + 1e-6, 1 - 1e-6).flip(-1)[:, None]
            near = F.grid_sample(features, grid, mode="nearest", align_corners=False)[:, :, 0].transpose(1, 2)
            centre = F.grid_sample(centres, grid, mode="nearest", align_corners=False)[:, :, 0].transpose(1, 2)
            offset = (coords - centre) * coords.new_tensor([height, width])
            inputs = [near, *([] if extra is None else [extra(centre)]), offset]
            if cell is not None:
                inputs.append((cell * cell.new_tensor([height, width])).expand_as(offset))
            answers.append(imnet.layers(torch.cat(inputs, -1)))
            areas.append((offset[..., 0] * offset[..., 1]).abs() + 1e-9)
    total = sum(areas)
    return sum(a * (w / total)[..., None] for a, w in zip(answers, reversed(areas), strict=True))


def published_render(method: ImplicitInpainter, images: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Render every pixel of an image by the published formulas (paper, equations 4 and 5), values in [0, 1]."""
    grids = method.encode(images, masks)
    coords = pixel_centres(*size)[None]
    cell = 2 / coords.new_tensor(size)

    def semantics(centre: Tensor) -> Tensor:
        completed = published_query(method.sir.function.imnet, grids.embeddings, centre, None, False)
        at = centre.flip(-1)[:, None]
        return completed + F.grid_sample(
            grids.embeddings, at, mode="bilinear", padding_mode="border", align_corners=False
        )[:, :, 0].transpose(1, 2)

    extra = semantics if method.sir is not None else None
    parts = [
        published_query(method.air.imnet, grids.appearance, part, cell, True, extra)
        for part in coords.split(CHUNK, dim=1)
    ]
    colours = torch.cat(parts, dim=1).float() * 0.5 + 0.5
    return colours.clamp(0, 1).transpose(1, 2).unflatten(2, size)


class Case(NamedTuple):
    """Two ways to compute the same tensor."""

    name: str
    goal: str  # speed-up to reach, for the table
    published: Callable[[], Tensor]
    ours: Callable[[], Tensor]


def liif_of(upstream: bool = True) -> ImplicitInpainter:
    """Build LIIF as published: EDSR-baseline, five linear layers of width 256."""
    torch.manual_seed(0)
    spec = {
        "name": "liif",
        "class": "sair.models.inpainter:ImplicitInpainter",
        "parameters": {
            "encoder": {"name": "edsr", "channels": 64, "blocks": 16, "mask": False},
            "air": {"name": "liif", "hidden": [256] * 4, "unfold": True, "cell": True, "upstream": upstream},
        },
    }
    return build(spec).eval()


def sair_of(preset: str) -> ImplicitInpainter:
    """Build SAIR of a preset with random weights, also in the layer of SIR that is zero at initialisation."""
    torch.manual_seed(0)
    spec = load_spec("sair", "config/methods", preset, {})
    clip = load_spec("clip", "config/semantics", preset, {})
    description = {"name": "clip", "architecture": clip["parameters"]["architecture"]}
    method = build({**spec, "parameters": {**spec["parameters"], "semantic": description}}).eval()
    torch.nn.init.normal_(method.sir.function.imnet.layers[-1].weight, std=0.02)
    return method


def query_cases(size: int) -> list[Case]:
    """Return cases of the implicit function alone, on a given feature grid."""
    method = liif_of()
    cases = []
    cell = torch.tensor([2 / size, 2 / size])
    for side, goal in ((64, "2.5x"), (100, "2.5x"), (size, "6x")):
        features = torch.randn(1, 64, side, side).contiguous(memory_format=torch.channels_last)
        coords = pixel_centres(size, size)[None]

        def published(features: Tensor = features, coords: Tensor = coords) -> Tensor:
            parts = coords.split(CHUNK, dim=1)
            return torch.cat([published_query(method.air.imnet, features, p, cell, True) for p in parts], 1)

        # Time only the query: both ways get the same features, which replace the output of the encoder.
        def ours(features: Tensor = features, side: int = side) -> Tensor:
            method.encoder.forward = lambda image, masks: features
            empty = torch.zeros(1, 3, side, side)
            rendered = method.inpaint(empty, empty[:, :1], size=None if side == size else (size, size))
            del method.encoder.forward
            return rendered.flatten(2).transpose(1, 2)

        def comparable(published: Callable[[], Tensor] = published) -> Tensor:
            return (published() * 0.5 + 0.5).clamp(0, 1)

        name = f"LIIF, {side} -> {size}" if side != size else f"LIIF on the pixel grid, {size}, last row and column too"
        cases.append(Case(name, goal, comparable, ours))
    return cases


def sair_case(size: int, bf16: bool) -> Case:
    """Return the case of the whole SAIR at the paper's size: encoders, SIR, AIR, composition, one fifth hole."""
    method = sair_of("paper")
    images, masks = torch.rand(1, 3, size, size), torch.zeros(1, 1, size, size)
    # No hole in the last column: the published look-up averages four cells there, SAIR's does not (`upstream`).
    masks[..., size // 3 : size // 3 + size // 5, :-1] = 1

    def published() -> Tensor:
        return published_render(method, images, masks, (size, size)) * masks + images * (1 - masks)

    def ours() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return method.inpaint(images, masks, known=False)

    name = f"SAIR, {size}, 20 % hole, composited" + (", bfloat16" if bf16 else "")
    return Case(name, "" if bf16 else "5x", published, ours)


def training_case(preset: str, size: int, batch: int) -> Case:
    """Return the case of a training step's gradients: SIR for sampled pixels only or everywhere."""
    method = sair_of(preset).train()
    images = torch.rand(batch, 3, size, size)
    masks = (torch.rand(batch, 1, size // 8, size // 8) < 0.3).float()
    masks = F.interpolate(masks, (size, size))
    trained = [p for p in method.parameters() if p.requires_grad]

    def gradients(loss: Tensor) -> Tensor:
        grads = torch.autograd.grad(loss, trained)
        return torch.cat([g.flatten() for g in grads])

    def ours() -> Tensor:
        torch.manual_seed(1)
        taken = []
        method.training_step({"images": images, "masks": masks}, lambda name, loss: taken.append(gradients(loss)))
        return taken[0]

    def dense() -> Tensor:
        torch.manual_seed(1)
        index = method._sample(masks)
        grids = method.encode(images, masks)
        coords = pixel_centres(size, size)[None].expand(batch, -1, -1)
        semantics = method.semantics_at(grids.embeddings, coords)

        def at(cells: Tensor) -> Tensor:
            return semantics.gather(1, cells[..., None].expand(-1, -1, semantics.shape[-1]))

        cell = 2 / images.new_tensor(images.shape[-2:])
        colours = method.air(grids.appearance, own_cells(index), cell, at).float() * 0.5 + 0.5
        ground_truth = images.flatten(2).gather(2, index[:, None].expand(-1, 3, -1)).transpose(1, 2)
        return gradients(F.l1_loss(colours, ground_truth))

    return Case(f"SAIR {preset}, training step, {size}, batch {batch}", "", dense, ours)


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Run both ways alternately and compare them.

    Returns:
        ``case``; the median seconds ``published`` and ``ours``; their ``ratio``; the ``goal``; and ``error``, the
        largest absolute difference of the outputs.
    """
    times: dict[str, list[float]] = {"published": [], "ours": []}
    outputs = {}
    for _ in range(repeats + 1):
        for way in times:
            gc.collect()
            start = time.perf_counter()
            outputs[way] = getattr(case, way)()
            times[way].append(time.perf_counter() - start)
    seconds = {way: statistics.median(values[1:]) for way, values in times.items()}  # the first is a warm-up
    error = (outputs["published"].float() - outputs["ours"].float()).abs().max().item()
    ratio = seconds["published"] / seconds["ours"]
    return {"case": case.name, **seconds, "ratio": ratio, "goal": case.goal, "error": error}


def memory(size: int, chunk: int) -> dict[str, float]:
    """Measure the peak memory in GiB of encoding and of rendering a square image, each in a new process."""
    found = {}
    for what in ("encode", "render"):
        command = [sys.executable, __file__, "--memory", what, "--size", str(size), "--chunk", str(chunk)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found |= {f"{what}_{key}": value for key, value in json.loads(output.splitlines()[-1]).items()}
    return found


@torch.no_grad()
def _memory(what: str, size: int, chunk: int) -> None:
    method = liif_of(upstream=False)
    images, masks = torch.rand(1, 3, size, size), torch.zeros(1, 1, size, size)
    start = time.perf_counter()
    if what == "encode":
        method.encode(images, masks)
    else:
        method.inpaint(images, masks, chunk=chunk)
    seconds = time.perf_counter() - start
    peak = peak_memory() / 2**10
    print(json.dumps({"gib": peak, "seconds": seconds}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="results/bench.json", help="JSON to write")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs per way, after one warm-up")
    parser.add_argument("--size", type=int, default=256, help="side of the rendered images")
    parser.add_argument(
        "--large", type=int, default=2048, help="side of the image for which memory is measured; 0 for none"
    )
    parser.add_argument("--chunk", type=int, default=16384, help="queries per MLP pass when memory is measured")
    parser.add_argument("--memory", choices=("encode", "render"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    runtime.set_up(options.threads)
    if options.memory:
        _memory(options.memory, options.size, options.chunk)
        return
    results = []
    with torch.no_grad():
        for case in query_cases(options.size):
            results.append(measure(case, options.repeats))
        for bf16 in (False, True):
            results.append(measure(sair_case(options.size, bf16), options.repeats))
    results.append(measure(training_case("mini", 64, 8), options.repeats))
    results.append(measure(training_case("paper", options.size, 2), options.repeats))
    rows = [
        (
            r["case"],
            f"{r['published']:.2f}",
            f"{r['ours']:.2f}",
            f"{r['ratio']:.1f}x",
            r["goal"],
            f"{r['error']:.0e}",
        )
        for r in results
    ]
    headers = ["case", "published (s)", "ours (s)", "ratio", "goal", "max difference"]
    print(tabulate(rows, headers, disable_numparse=True))
    report: dict[str, Any] = {"threads": options.threads, "torch": torch.__version__, "cases": results}
    if options.large:
        report["memory"] = {"size": options.large} | memory(options.large, options.chunk)
        found = report["memory"]
        print(
            f"\n{options.large}x{options.large}: peak {found['render_gib']:.2f} GiB rendering, "
            f"{found['encode_gib']:.2f} GiB encoding alone."
        )
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    write_text(options.output, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
