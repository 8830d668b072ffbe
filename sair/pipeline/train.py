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
    """``sair.training.loop.train`` with as many processes of this machine as the specification's ``processes`` says.

    Args:
        threads: of all of them together.
        spec: the method's specification, whose ``training`` may lack what ``upkeep`` holds.
        upkeep: settings of the training that decide no weight: workers, save_every, validate_every.
        arguments: of ``loop.train``; paths as text.

    Raises:
        InputError: as ``loop.train``; of several processes, what the one that failed said stands above.
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
        process = subprocess.Popen(
            [*launcher, "-m", "sair.pipeline.worker", task, conditions], stderr=subprocess.PIPE, text=True
        )
        for line in process.stderr:  # through this process, whose log it belongs to
            sys.stderr.write(line)
        if process.wait():
            raise InputError(f"{spec['name']}: training by {count} processes ended; the reason stands above.")
        adopt(json.loads(conditions.read_text(encoding="utf-8")))


def train_here(threads: int, arguments: dict[str, Any]) -> None:
    """Train in this process; arguments as of ``train``."""
    from sair.common.runtime import set_up
    from sair.training.loop import train

    set_up(threads)
    train(**arguments)
