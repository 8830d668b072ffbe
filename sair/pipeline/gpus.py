"""Give each job of this machine its own GPUs."""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path

from sair.pipeline.locks import hold, try_lock


def own_gpus(device: str, needed: int = 1, count: int | None = None) -> None:
    """Give this process its own GPUs until it ends; wait while other jobs hold too many.

    Snakemake counts jobs, not GPUs, so without this all jobs would use the first GPU. Nothing happens on a machine with
    one GPU, or if ``CUDA_VISIBLE_DEVICES`` is already set (by a scheduler or the user).

    Args:
        device: a config's ``device``; with ``cpu`` nothing happens.
        needed: number of GPUs that the job uses; it gets at most all.
        count: number of GPUs of the machine; None counts them.
    """
    count = len(list(Path("/dev").glob("nvidia[0-9]*"))) if count is None else count
    if device == "cpu" or not needed or count < 2 or "CUDA_VISIBLE_DEVICES" in os.environ:
        return
    needed = min(needed, count)
    # Locks are per machine, not per results folder, because several workflows may share the GPUs.
    slots = [Path(tempfile.gettempdir()) / f"sair-gpu{k}-{os.getuid()}.lock" for k in range(count)]
    while True:
        free = {number: lock for number, slot in enumerate(slots) if (lock := try_lock(slot)) is not None}
        own = list(free)[:needed] if len(free) >= needed else []  # keep no partial set, so that others can run
        for number, lock in free.items():
            if number in own:
                hold(lock)
            else:
                lock.close()
        if own:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, own))
            return
        time.sleep(1 + random.random())  # a random delay, so that two jobs do not retry in lockstep
