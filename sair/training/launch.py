"""Start a training: in this process, or in several that share its batches (``sair.training.parallel``)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sair import driver
from sair.files import InputError
from sair.methods import processes


def train(threads: int, spec: dict[str, Any], **arguments: Any) -> None:
    """``sair.training.loop.train`` by as many processes of this machine as the specification's ``processes`` says.

    Args:
        threads: of all of them together.
        spec, arguments: of ``loop.train``; paths as text.

    Raises:
        InputError: as ``loop.train``; of several processes, what the one that failed said stands above.
    """
    arguments["spec"] = spec
    count = processes(spec)
    if count < 2:
        _train(threads, arguments)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as stream:
        json.dump({"threads": max(1, threads // count), "arguments": arguments}, stream)
        stream.flush()
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        process = subprocess.Popen(
            [*launcher, "-m", "sair.training.launch", stream.name], stderr=subprocess.PIPE, text=True
        )
        for line in process.stderr:  # through this process, whose log it belongs to
            sys.stderr.write(line)
        if process.wait():
            raise InputError(f"{spec['name']}: training by {count} processes ended; the reason stands above.")


def _train(threads: int, arguments: dict[str, Any]) -> None:
    from sair.runtime import set_up
    from sair.training.loop import train

    set_up(threads)
    train(**arguments)


def _work(file: str) -> None:
    """What each of several processes does."""
    driver.watch()
    try:
        _train(**json.loads(Path(file).read_text(encoding="utf-8")))
    except InputError as error:
        print(f"\nerror: {error}\n", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    _work(sys.argv[1])
