"""Start a training: in this process, or in several that share its batches (``sair.training.parallel``)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sair.common.errors import InputError
from sair.methods.spec import processes


def train(threads: int, spec: dict[str, Any], *, upkeep: dict[str, int] | None = None, **arguments: Any) -> None:
    """Train a method with the number of processes that its specification names.

    Args:
        threads: number of threads, of all processes together.
        spec: the method's specification, whose ``training`` may lack the settings in ``upkeep``.
        upkeep: settings of the training that decide no weight: workers, save_every, validate_every.
        arguments: the other arguments of ``sair.training.loop.fit``; paths as text.

    Raises:
        InputError: same as in ``fit``; with several processes, the failing one has already printed its error.
    """
    if spec["training"] is not None:
        spec = spec | {"training": spec["training"] | (upkeep or {})}
    arguments["spec"] = spec
    count = processes(spec)
    if count < 2:
        train_here(threads, arguments)
        return
    from sair.common.runtime import adopt

    with tempfile.TemporaryDirectory(prefix="sair-") as folder:
        task, conditions = Path(folder, "task.json"), Path(folder, "conditions.json")
        task.write_text(json.dumps({"threads": max(1, threads // count), "arguments": arguments}), encoding="utf-8")
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        worker = ["-m", "sair.pipeline.worker", str(task), str(conditions)]
        process = subprocess.Popen([*launcher, *worker], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None  # it is a pipe
        for line in process.stderr:  # passed on by this process, into its log
            sys.stderr.write(line)
        if process.wait():
            raise InputError(f"{spec['name']}: training by {count} processes failed; the reason is printed above.")
        adopt(json.loads(conditions.read_text(encoding="utf-8")))


def train_here(threads: int, arguments: dict[str, Any]) -> None:
    """Train in this process.

    Args:
        threads: number of threads of this process.
        arguments: of ``sair.training.loop.fit``.
    """
    from sair.common.runtime import set_up
    from sair.training.loop import fit

    set_up(threads)
    fit(**arguments)
