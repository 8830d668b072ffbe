"""Give each job of this machine its own GPUs."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
import time
from pathlib import Path
from typing import TextIO

_held: list[TextIO] = []  # a stream without a reference is closed, which releases its lock


def own_gpus(wanted: str, needed: int = 1, count: int | None = None) -> None:
    """On a machine with several GPUs, give this process its own until it ends; wait while too many are taken.

    Snakemake counts jobs, not GPUs: without this all jobs would use the first one. If ``CUDA_VISIBLE_DEVICES`` is
    already set (by a cluster's scheduler or the user), it is left unchanged.

    Args:
        wanted: a config's ``device``; with ``cpu`` nothing happens.
        needed: GPUs that the job requires; if the machine has fewer, it gets all.
        count: GPUs of the machine; None counts them.
    """
    count = len(list(Path("/dev").glob("nvidia[0-9]*"))) if count is None else count
    if wanted == "cpu" or not needed or count < 2 or "CUDA_VISIBLE_DEVICES" in os.environ:
        return
    # Locks are per machine, not per results folder, because several workflows may share the GPUs.
    slots = [open(Path(tempfile.gettempdir()) / f"sair-gpu{k}-{os.getuid()}.lock", "w") for k in range(count)]  # noqa: SIM115
    needed = min(needed, count)
    while True:
        mine = [number for number, slot in enumerate(slots) if _locked(slot)]
        for number in mine[needed:] if len(mine) >= needed else mine:  # release a partial set: other jobs may need it
            fcntl.flock(slots[number], fcntl.LOCK_UN)
        if len(mine) >= needed:
            _held.extend(slots[number] for number in mine[:needed])
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, mine[:needed]))
            return
        time.sleep(1 + random.random())  # random, so that two jobs do not retry in lockstep


def _locked(slot: TextIO) -> bool:
    try:
        fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
