"""Start a training: in this process, or in several that share its batches (``sair.training.parallel``)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from sair.common.errors import InputError
from sair.common.signals import on_sigterm
from sair.methods.spec import processes


def train(threads: int, spec: dict[str, Any], *, upkeep: dict[str, int] | None = None, **arguments: Any) -> None:
    """Train a method with the number of processes that its specification names.

    Args:
        threads: number of threads, of all processes together.
        spec: the method's specification, whose ``training`` may lack the settings in ``upkeep``.
        upkeep: settings of the training that decide no weight: workers, save_every, validate_every.
        arguments: the other arguments of ``sair.training.loop.fit``; paths as text.

    Raises:
        InputError: same as in ``fit``.
        RuntimeError: one of several processes ended without a message for the user; what it printed was passed on.
        SystemExit: the training was asked to stop (SIGTERM) and has saved its state.
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
        files = [Path(folder, name) for name in ("task.json", "conditions.json", "error.txt")]
        task, conditions, error = files
        task.write_text(json.dumps({"threads": max(1, threads // count), "arguments": arguments}), encoding="utf-8")
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        failed = _run([*launcher, "-m", "sair.pipeline.worker", *map(str, files)])
        if error.exists():
            raise InputError(error.read_text(encoding="utf-8"))
        if failed:
            raise RuntimeError(f"{spec['name']}: training by {count} processes failed; see the lines above.")
        adopt(json.loads(conditions.read_text(encoding="utf-8")))


def _run(command: list[str]) -> bool:
    """Run the processes of a training, pass on what they print, and return whether one failed.

    SIGTERM does not end this process before them, because a cluster kills them when the job's first process ends. It is
    passed on to them instead: they save their state.

    Raises:
        SystemExit: one failed after SIGTERM.
    """
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    asked = threading.Event()

    def stop() -> None:
        asked.set()
        with suppress(psutil.NoSuchProcess):  # it has just ended
            workers = psutil.Process(process.pid).children(recursive=True)
            for worker in workers:  # not the launcher between, which would give them 30 seconds
                worker.send_signal(signal.SIGTERM)

    with on_sigterm(stop):
        assert process.stderr is not None  # it is a pipe
        for line in process.stderr:  # passed on by this process, into its log
            sys.stderr.write(line)
        failed = process.wait() != 0
    if failed and asked.is_set():
        raise SystemExit(1)  # the processes have printed what they saved
    return failed


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
