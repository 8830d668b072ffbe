"""Give each job of this machine its own GPUs."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
import time
from pathlib import Path
from typing import TextIO

_held: list[TextIO] = []  # a stream that nothing refers to is closed, and its lock with it


def own_gpus(wanted: str, needed: int = 1, count: int | None = None) -> None:
    """On a machine with several GPUs, give this process its own until it ends; wait while too many are taken.

    Snakemake counts jobs, not GPUs: without this all of them would crowd onto the first. Where ``CUDA_VISIBLE_DEVICES``
    is set already (by a cluster's scheduler, or by hand), it stands.

    Args:
        wanted: a config's ``device``; with ``cpu`` nothing happens.
        needed: GPUs that the job wants; it gets at most all.
        count: GPUs of the machine; None counts them.
    """
    count = len(list(Path("/dev").glob("nvidia[0-9]*"))) if count is None else count
    if wanted == "cpu" or not needed or count < 2 or "CUDA_VISIBLE_DEVICES" in os.environ:
        return
    # Of the whole machine, not of a results folder: two workflows share the GPUs.
    slots = [open(Path(tempfile.gettempdir()) / f"sair-gpu{k}-{os.getuid()}.lock", "w") for k in range(count)]  # noqa: SIM115
    needed = min(needed, count)
    while True:
        mine = [number for number, slot in enumerate(slots) if _locked(slot)]
        for number in mine[needed:] if len(mine) >= needed else mine:  # too few are no use, and others may wait
            fcntl.flock(slots[number], fcntl.LOCK_UN)
        if len(mine) >= needed:
            _held.extend(slots[number] for number in mine[:needed])
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, mine[:needed]))
            return
        time.sleep(1 + random.random())  # two that want all must not try in step


def _locked(slot: TextIO) -> bool:
    try:
        fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
