"""Write and check the record that every job of the workflow leaves beside the results.

``results/provenance/<name of the log>.json`` contains the rule, the git commit, the config, the SHA-256 of every input
and output, the pretrained weights, library versions, device, precision, wall time and peak memory. ``sair verify``
reads the records and reports files that have changed since their rule wrote them, or whose inputs have changed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sair.common.errors import InputError
from sair.common.files import write_text
from sair.common.memory import peak_memory, peak_memory_of_children
from sair.provenance.inputs import CHECKOUT, commit_of, content

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (  # libraries whose version can change a number
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-image",
    "pillow",
    "lightning",
    "timm",
    "open_clip_torch",
    "lpips",
    "pytorch-fid",
    # Methods that are not trained here:
    "opencv-contrib-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "diffusers",
    "transformers",
)


def record_of(log: str | Path, results: str | Path) -> Path:
    """Return the path of a job's record: ``results/provenance/a.json`` for the log ``results/logs/a.log``."""
    return Path(results, "provenance", Path(log).relative_to(Path(results, "logs")).with_suffix(".json"))


def record(job: Any, started: float, conditions: dict[str, Any]) -> None:
    """Write the record of a finished job.

    Args:
        job: Snakemake's object of the job.
        started: ``time.monotonic()`` at the start of the job.
        conditions: device, precision and others (``sair.common.runtime.conditions``).
    """
    facts = {
        "rule": job.rule,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.monotonic() - started, 1),
        "peak_memory_mib": round(max(peak_memory(), peak_memory_of_children())),
        "device": processor(),
        **conditions,
        "threads": job.threads,
        "commit": commit(),
        "versions": versions(),
        "weights": _weights(),
        "inputs": _hashes(job.input) | dict(job.params.get("content", {})),
        "outputs": _hashes(job.output),
        "config": job.config,
    }
    write_text(record_of(job.log[0], job.config["results"]), json.dumps(facts, indent=1) + "\n")


def _weights() -> list[str]:
    module = sys.modules.get("sair.weights")  # only if the job has imported it: writing a record is quick
    return module.used() if module else []


def processor() -> str:
    """Return the name of this machine's processor and its number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def commit() -> str:
    """Return the git commit of the project, with a note if files have changed since; empty outside a repository."""
    try:
        head, status = (
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{head}, changed" if status else head


def versions() -> dict[str, str]:
    """Return the versions of Python, Snakemake and the installed libraries in ``LIBRARIES``."""
    names = [name for name in (*LIBRARIES, "snakemake") if _is_installed(name)]
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _hashes(paths: Any) -> dict[str, str]:
    return {str(path): content(path) for path in dict.fromkeys(map(str, paths))}


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a job.

    Raises:
        InputError: the file is not a record.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # a folder, not text, not JSON, or nested too deeply
        facts = None
    if not _is_record(facts):
        raise InputError(f"{path}: not the record of a job. Delete it; its results are then reported as not recorded.")
    return facts


def _is_record(facts: Any) -> bool:
    """Return whether a value has the keys and types that ``record`` writes and other code reads."""
    kinds = {"rule": str, "device": str, "config": dict, "inputs": dict, "outputs": dict, "versions": dict}
    if not isinstance(facts, dict) or not all(isinstance(facts.get(key), kind) for key, kind in kinds.items()):
        return False
    values = [value for key in ("inputs", "outputs", "versions") for value in facts[key].values()]
    values += [facts["config"].get("results", ""), facts.get("precision", "")]
    if not all(isinstance(value, str) for value in values) or not isinstance(facts.get("tf32", {}), dict):
        return False
    amounts = [facts.get(key) for key in ("wall_seconds", "threads", "peak_memory_mib", "peak_gpu_memory_mib")]
    if isinstance(prediction := facts.get("prediction"), dict):
        amounts += [prediction.get(key) for key in ("images", "seconds_per_image", "parameters")]
    return all(value is None or is_amount(value) for value in amounts)


def is_amount(value: Any) -> bool:
    """Return whether a value from JSON is a number from 0 to 1e30: an amount of seconds, bytes or operations."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e30


def changed(results: str | Path, checkouts: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield (file, problem) for each file that differs from its record; missing files are ignored.

    Args:
        results: the results folder. It may come from another machine, so nothing that it names is run.
        checkouts: folders of foreign code that the method files here name. Git is run in these only, because the
            settings of a repository can name programs that git starts.

    Raises:
        InputError: a file in the folder of records is not a record.
    """
    seen: dict[str, str] = {}

    def now(path: str, digest: str) -> str:
        if path not in seen:
            seen[path] = commit_of(path) if digest.startswith(CHECKOUT) and path in checkouts else content(path)
        return seen[path]

    for file in sorted(Path(results, "provenance").rglob("*.json")):
        facts = read_record(file)
        home = facts["config"].get("results", str(results))
        inputs, outputs = (lying_in(results, home, facts[key]) for key in ("inputs", "outputs"))
        made = [path for path in outputs if _is_there(path)]
        for path in made:
            if now(path, outputs[path]) != outputs[path]:
                yield path, f"changed since rule {facts['rule']} made it ({file})"
        for path, digest in inputs.items():
            if not made or not _is_there(path):
                continue
            if digest.startswith(CHECKOUT) and path not in checkouts:
                yield made[0], f"made by a program in {path}, which no method file here names as a checkout ({file})"
            elif now(path, digest) != digest:
                yield made[0], f"{path} has changed since rule {facts['rule']} made this file from it ({file})"


def _is_there(path: str) -> bool:
    return Path(path).is_file() or Path(path).is_dir()  # not a device, which may have no end


def lying_in(results: str | Path, before: str, files: dict[str, str]) -> dict[str, str]:
    """Return recorded files with their paths in the present results folder; files outside it keep their paths.

    Args:
        results: where the results folder is now.
        before: where it was.
        files: path -> digest.
    """
    home = f"{before.rstrip('/')}/"
    return {
        f"{results}/{path.removeprefix(home)}" if path.startswith(home) else path: digest
        for path, digest in files.items()
    }
