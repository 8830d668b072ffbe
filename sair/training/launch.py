"""Start a training: in this process, or in several that share its batches (``sair.training.parallel``)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from sair.files import InputError
from sair.methods import processes


def train(threads: int, spec: dict[str, Any], **arguments: Any) -> None:
    """``sair.training.loop.train`` with as many processes of this machine as the specification's ``processes`` says.

    Args:
        threads: of all of them together.
        spec, arguments: of ``loop.train``; paths as text.

    Raises:
        InputError: as ``loop.train``; of several processes, what the one that failed said stands above.
    """
    arguments["spec"] = spec
    count = processes(spec)
    if count < 2:
        train_here(threads, arguments)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as stream:
        json.dump({"threads": max(1, threads // count), "arguments": arguments}, stream)
        stream.flush()
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        process = subprocess.Popen(
            [*launcher, "-m", "sair.training.worker", stream.name], stderr=subprocess.PIPE, text=True
        )
        for line in process.stderr:  # through this process, whose log it belongs to
            sys.stderr.write(line)
        if process.wait():
            raise InputError(f"{spec['name']}: training by {count} processes ended; the reason stands above.")


def train_here(threads: int, arguments: dict[str, Any]) -> None:
    """Train in this process; arguments as of ``train``."""
    from sair.runtime import set_up
    from sair.training.loop import train

    set_up(threads)
    train(**arguments)
