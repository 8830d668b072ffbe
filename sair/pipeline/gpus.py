"""Share the GPUs of this machine: a job waits until a card has room for it, and sees only that card.

Room is computed from the MiB that jobs have reserved, not from free memory, because a job takes its memory only minutes
after it starts. Every workflow of one user on this machine counts the same reservations, with any results folder.
They are lock files, which the system releases when a job ends, even after ``kill -9``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import re
import secrets
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sair.common.errors import InputError
from sair.pipeline.locks import hold, try_lock

VISIBLE = "CUDA_VISIBLE_DEVICES"
ASSUMED_MIB = 8192  # memory of a card that does not report it
_MIG_MIB_PER_GB = 950  # an instance named 1g.10gb has some 9,800 MiB
_QUERY = ("nvidia-smi", "--query-gpu=uuid,memory.total,memory.free,compute_mode", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Card:
    """A GPU, or an instance of one that is split by MIG.

    Attributes:
        name: its name for ``CUDA_VISIBLE_DEVICES``.
        uuid: its name in the files of reservations, which is the same for all processes.
        mib: its memory.
        free: the part of its memory that no process uses at the moment; for MIG instances all of it.
        exclusive: whether its compute mode allows only one process.
    """

    name: str
    uuid: str
    mib: int
    free: int
    exclusive: bool = False


# --------------------------------------------------------------------------------------------------------------------
# The cards


def cards() -> list[Card]:
    """Return the cards that this process may use: those in ``CUDA_VISIBLE_DEVICES``, or all if it is not set.

    No card is added to the choice of a scheduler or user. If it names a card that ``nvidia-smi`` does not list, the
    result is empty, and the choice is left unchanged.
    """
    chosen = os.environ.get(VISIBLE)
    if (chosen is not None and not chosen.strip()) or not built_for_gpus():
        return []
    found = _installed()
    if chosen is None:
        return found
    split = any(card.uuid.startswith("MIG-") for card in found)
    selected = [_named(token.strip(), found, split) for token in chosen.split(",")]
    return [card for card in selected if card is not None] if None not in selected else []


def built_for_gpus() -> bool:
    """Return whether the installed torch is built for GPUs, without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    return bool(re.search(r"(?m)^(cuda|hip)\b[^=\n]*= *(?!None)\S", text))


def _named(token: str, found: list[Card], split: bool) -> Card | None:
    """Return the card that a number or a UUID's beginning in ``CUDA_VISIBLE_DEVICES`` means; None if that is unclear.

    Args:
        token: the number or UUID.
        found: the cards of this machine.
        split: whether some of them are MIG instances, which CUDA does not number as they are listed.
    """
    if token.isdigit():
        matches = [] if split else found[int(token) : int(token) + 1]
    else:
        matches = [card for card in found if token and card.uuid.startswith(token)]
    if len(matches) != 1:
        return None
    card = matches[0]
    return Card(token, card.uuid, card.mib, card.free, card.exclusive)


def _installed() -> list[Card]:
    """Return the cards of this machine, from nvidia-smi or, without it, from the device files."""
    try:
        lines = _lines(*_QUERY)
    except OSError:  # it is not installed
        numbers = sorted(int(path.name[6:]) for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit())
        return [Card(str(n), f"nvidia{n}", ASSUMED_MIB, ASSUMED_MIB) for n in numbers]
    found = []
    for uuid, total, free, mode in (re.split(r", *", line) for line in lines if line.count(",") == 3):
        mib = int(total) if total.isdigit() else ASSUMED_MIB  # "[N/A]" where the GPU shares the processor's memory
        found.append(Card(uuid, uuid, mib, int(free) if free.isdigit() else mib, mode == "Exclusive_Process"))
    instances = _instances() if found else {}
    return [part for card in found for part in instances.get(card.uuid, [card])]


def _instances() -> dict[str, list[Card]]:
    """Return the MIG instances of the cards that have some, by the UUID of the card."""
    found: dict[str, list[Card]] = {}
    uuid = ""
    for line in _lines("nvidia-smi", "-L"):
        name = re.search(r"\(UUID: ([^)]+)\)", line)
        size = re.match(r"\s+MIG .*?(\d+)gb", line)
        if name and size:
            mib = int(size[1]) * _MIG_MIB_PER_GB
            found.setdefault(uuid, []).append(Card(name[1], name[1], mib, mib))
        elif name:
            uuid = name[1]
    return found


def _lines(*command: str) -> list[str]:
    """Return the lines that a command prints; none if it fails, as nvidia-smi does without a working driver."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return []


# --------------------------------------------------------------------------------------------------------------------
# Room on the cards


def share(card: Card, mib: int, gpu_jobs: int | None) -> int:
    """Return how many MiB of a card a job reserves.

    Args:
        card: the card.
        mib: what the job needs; 0 if that is not known.
        gpu_jobs: the config's ``gpu_jobs``: how many jobs share a card; None for as many as fit.
    """
    if card.exclusive:
        return card.mib
    if gpu_jobs:
        return card.mib // gpu_jobs
    return min(mib or card.mib, card.mib)


def own_gpus(device: str, mib: int, count: int = 1, gpu_jobs: int | None = None) -> None:
    """Wait for room on GPUs, reserve it until this process ends, and show the process only these GPUs.

    Jobs that wait for the same cards take turns: one of them tries until there is room for it, while the others wait.
    Otherwise small jobs could keep overtaking one that needs a whole card. Nothing happens on a machine without an
    NVIDIA GPU.

    Args:
        device: a config's ``device``; with ``cpu`` nothing happens.
        mib: memory that the job needs on each of its GPUs; 0 if that is not known, for a whole GPU.
        count: number of GPUs that the job uses, 0 for none; if there are fewer, it gets all of them.
        gpu_jobs: the config's ``gpu_jobs``.

    Raises:
        InputError: the folder of the reservations belongs to another user.
    """
    found = cards() if device != "cpu" and count else []
    if not found:
        return
    largest = max(card.mib for card in found)
    fitting = [card for card in found if card.mib >= min(mib or largest, largest)]
    # Leave out cards that are too small for the job, unless too few cards are left then.
    usable = fitting if len(fitting) >= count and not gpu_jobs else found
    folder, told = _folder(), False
    same = hashlib.sha256(" ".join(sorted(card.uuid for card in usable)).encode()).hexdigest()[:16]
    while (turn := try_lock(folder / f"turn-{same}.lock")) is None:
        told = told or _tell_waiting(mib)
        time.sleep(0.2 + 0.3 * random.random())
    with turn:
        while not (chosen := _try_to_reserve(usable, mib, min(count, len(usable)), gpu_jobs, folder)):
            told = told or _tell_waiting(mib)
            time.sleep(0.4 + 0.2 * random.random())
    os.environ[VISIBLE] = ",".join(card.name for card in chosen)


def _tell_waiting(mib: int) -> bool:
    amount = f"{mib / 1024:.1f} GiB of GPU memory" if mib else "a GPU"
    print(f"waiting for {amount}, until other jobs on this machine end", file=sys.stderr)
    return True


def _folder() -> Path:
    """Return the folder of this user's reservations, which no other user can write to.

    Raises:
        InputError: a file or folder of another user has its name.
    """
    folder = Path(tempfile.gettempdir()) / f"sair-gpus-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise InputError(f"{folder}: expected a folder of your own. Remove it, or set TMPDIR to another folder.")
    return folder


def _try_to_reserve(found: list[Card], mib: int, count: int, gpu_jobs: int | None, folder: Path) -> list[Card]:
    """Reserve room on ``count`` cards and return them; if fewer have room, reserve nothing and return an empty list."""
    ledger = try_lock(folder / "ledger.lock")
    if ledger is None:  # another process reads or reserves at the moment
        return []
    with ledger:
        left = {card: card.mib - _reserved(card, folder) for card in found}
        room = [card for card in found if left[card] >= share(card, mib, gpu_jobs)]
        if len(room) < count:
            return []
        # Prefer the cards with the most memory that is neither reserved nor used by other programs.
        chosen = sorted(room, key=lambda card: min(left[card], card.free), reverse=True)[:count]
        for card in chosen:
            _reserve(card, share(card, mib, gpu_jobs), folder)
        return chosen


def _reserved(card: Card, folder: Path) -> int:
    """Return how many MiB of a card running jobs have reserved, and remove the files of jobs that have ended."""
    total = 0
    for path in folder.glob(f"{card.uuid}_*_*.lock"):
        ended = try_lock(path)
        if ended is None:
            total += int(path.name.split("_")[1])
        else:
            path.unlink()
            ended.close()
    return total


def _reserve(card: Card, mib: int, folder: Path) -> None:
    """Reserve room on a card until this process ends. Only the process that holds the ledger may call this."""
    lock = try_lock(folder / f"{card.uuid}_{mib}_{secrets.token_hex(8)}.lock")
    assert lock is not None  # no other process has this name
    hold(lock)
