"""Compute how much GPU memory each job of the workflow reserves, from the measurements in ``gpu_memory.yaml``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sair.common.files import read_mapping
from sair.methods.spec import METHODS, ancestors, method_names, processes
from sair.pipeline.gpus import Card, share
from sair.pipeline.project import Project
from sair.pipeline.registry import Spec

MEASURED = Path(__file__).with_name("gpu_memory.yaml")
UNKNOWN = 0  # MiB: the job gets a card to itself
PREDICTED = 8  # images that prediction and segmentation compute at once (``sair.inference.predict``)


class GpuNeeds:
    """The resource ``gpu_mib`` of the rules: MiB that a job reserves, on all of its GPUs together.

    Args:
        project: the plan of the run.
        cards: the GPUs that the jobs run on; empty if there are none, or if the jobs run on other machines.
    """

    def __init__(self, project: Project, cards: Sequence[Card]) -> None:
        self._project, self._cards = project, cards

    @property
    def available(self) -> int | None:
        """Memory of all GPUs in MiB, which Snakemake may assign to jobs; None without a limit."""
        return sum(card.mib for card in self._cards) or None

    def train(self, spec: Spec) -> int:
        """Return the MiB that the training of a method or semantic encoder reserves; 0 without training."""
        count = processes(spec)
        if not count:
            return 0
        return count * self._shared(self._network(spec, spec["training"]["batch"] / count))

    def predict(self, spec: Spec) -> int:
        """Return the MiB that predicting or segmenting with a method or semantic encoder reserves.

        It is counted like a training step with as many images, which also holds gradients and the optimizer's state.
        """
        if spec["class"] in _measured()["without_network"]:
            return self._shared(_mib(0, 1))
        return self._shared(self._network(spec, PREDICTED))

    def features(self, network: str = "inception") -> int:
        """Return the MiB that computing a network's features for FID, KID and other distances reserves."""
        return self._shared(_mib(_measured()["features"][network], 1))

    def _shared(self, mib: int) -> int:
        """Return what a job that needs ``mib`` (0: unknown) reserves on one of the GPUs."""
        if self._project.config["device"] == "cpu":
            return 0
        gpu_jobs = self._project.config["gpu_jobs"]
        if gpu_jobs and self._cards:
            return min(share(card, mib, gpu_jobs) for card in self._cards)
        return max((share(card, mib, None) for card in self._cards), default=mib)

    def _network(self, spec: Spec, batch: float) -> int:
        """Return the MiB that a network needs for a batch of the config's image size; 0 if that is not known."""
        preset = _measured()["presets"].get(self._project.config["preset"])
        peak = _peak(spec["name"], preset["methods"]) if preset else None
        if preset is None or peak is None:
            return UNKNOWN
        pixels = (self._project.config["image_size"] / preset["image_size"]) ** 2
        return _mib(peak["gib"], max(1, pixels * batch / peak["batch"]))


def _peak(name: str, peaks: dict[str, Any]) -> dict[str, Any] | None:
    """Return the measurement of a method, or of the nearest method that its file extends."""
    above = ancestors(name, METHODS) if name in method_names(METHODS) else []
    return next((peaks[known] for known in [name, *above] if known in peaks), None)


def _mib(gib: float, growth: float) -> int:
    """Return the MiB that a job needs: see ``gpu_memory.yaml``."""
    return math.ceil(1024 * (_measured()["context"] + _measured()["margin"] * gib * growth))


@cache
def _measured() -> dict[str, Any]:
    return read_mapping(MEASURED)
