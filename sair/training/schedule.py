"""Compute the number of steps of a training run, and the learning rate at each step."""

from __future__ import annotations

import math
from typing import Any


def total_steps(training: dict[str, Any], images: int) -> int:
    """Return the number of optimizer steps: ``steps``, or ``epochs`` over ``images`` images, with their factors."""
    steps = training.get("steps") or training["epochs"] * images / (training["batch"] * training["accumulate"])
    return math.ceil(training["scale"] * training.get("times", 1) * steps)


def lr_scale(training: dict[str, Any], step: int, steps: int) -> float:
    """Return the factor on every learning rate at ``step`` of ``steps``.

    ``schedule`` is ``constant``, ``cosine`` (to zero), or ``halving``: halved after every ``halve_every`` of the run
    (the paper halves every 100 of 200 epochs: 0.5). It rises linearly from zero in the first ``warmup`` steps.
    """
    progress = step / steps
    scale = {
        "constant": lambda: 1.0,
        "cosine": lambda: 0.5 * (1 + math.cos(math.pi * progress)),
        "halving": lambda: 0.5 ** int(progress / training["halve_every"]),
    }[training["schedule"]]()
    return scale * min(1.0, (step + 1) / max(1, training["warmup"]))
