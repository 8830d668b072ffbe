"""Help benchmarks to compare the working tree with another revision of this repository."""

from __future__ import annotations

import io
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ROOT = Path(__file__).resolve().parents[1]


def checkout(revision: str, folder: Path, paths: tuple[str, ...] = ("sair",)) -> Path:
    """Write ``paths`` of a git revision below ``folder``, and return ``folder``.

    Where a machine has no git repository, ``revision`` is a folder with these paths, and is returned.
    """
    if Path(revision).is_dir():
        return Path(revision).resolve()
    command = ["git", "-C", str(ROOT), "archive", revision, *paths]
    archive = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def run(script: str, tree: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Any:
    """Run a benchmark's measurement on a revision in a new process, which ends with this one.

    Args:
        script: the benchmark, which is called with ``--measure`` and the arguments.
        tree: folder with the revision's package ``sair``: where it runs, and first on its import path.
        environment: further variables.

    Returns:
        The JSON of the last line that it prints.
    """
    path = os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH"))))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, on which `subprocess.run` kills the process
    output = subprocess.run(
        [sys.executable, script, "--measure", *arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=tree,
        env={**os.environ, **(environment or {}), "PYTHONPATH": path},
    ).stdout  # fmt: skip
    return json.loads(output.splitlines()[-1])


def core_seconds() -> float:
    """Return the user and system time of this process and of its ended children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def processor() -> str:
    """Return the processor's name and its instruction sets that matter for numbers."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    flags = sorted(flag for flag in facts.get("flags", "").split() if flag.startswith(("avx", "amx", "fma")))
    return f"{facts.get('model name', platform.machine())} ({' '.join(flags)})"
