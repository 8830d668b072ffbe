"""Ask Slurm about the jobs of a results folder, so that two runs never write into it, and refuse what would hang.

A driver that is killed leaves its Slurm jobs running, and the lock of its results folder free. The name of each job
therefore begins with a mark of the results folder, which the next driver looks for.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sair.common.errors import InputError

SHOWN = 5  # jobs that a message describes; the command names all
LONGEST_WAIT = 180  # seconds that the plugin lets pass between two looks at its jobs, at most
WATCH_EVERY = 60  # seconds
_TIMEOUT = 60  # seconds for a command of Slurm
# Reasons for which a job waits and that no waiting changes.
_HOPELESS = re.compile(
    r"PartitionTimeLimit|PartitionNodeLimit|BadConstraints|Invalid(?:Account|QOS)|(?:Account|QOS)NotAllowed|JobHeld.*"
    r"|(?:QOS|Assoc).*Per_?Job.*"
)


@dataclass(frozen=True)
class Job:
    """A job that is in Slurm's queue.

    Attributes:
        number: Slurm's number of the job.
        state: RUNNING, PENDING and so on.
        what: rule and wildcards.
        reason: the reason for which it waits.
    """

    number: str
    state: str
    what: str
    reason: str


def mark(results: str | Path) -> str:
    """Return the beginning of the names of all Slurm jobs of a results folder."""
    return "sair-" + hashlib.sha256(os.path.realpath(results).encode()).hexdigest()[:12]


def mark_jobs(executor: Any, results: str | Path) -> None:
    """Let the names of all jobs that an executor submits begin with the mark of a results folder.

    Args:
        executor: Snakemake's executor, before it submits a job. Only that of Slurm names jobs by its ``run_uuid``.
        results: the results folder.
    """
    executor.run_uuid = f"{mark(results)}_{executor.run_uuid}"


def is_slurm(executor: Any) -> bool:
    """Return whether Snakemake's executor submits jobs to Slurm."""
    return type(executor).__module__.startswith("snakemake_executor_plugin_slurm") and hasattr(executor, "run_uuid")


def live_jobs(results: str | Path) -> list[Job]:
    """Return the jobs of this user in Slurm's queue that belong to a results folder, of this or an earlier driver.

    Raises:
        OSError, subprocess.SubprocessError: Slurm does not answer.
    """
    found = []
    for line in _lines("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%j|%T|%r|%k"):
        number, name, state, reason, what = (line.split("|", 4) + [""] * 4)[:5]
        if name.startswith(mark(results)):
            found.append(Job(number, state, what, reason))
    return found


def is_running(number: str) -> bool:
    """Return whether a Slurm job runs; if Slurm does not answer, it is taken to be running."""
    try:
        states = _lines("squeue", "--noheader", f"--jobs={number}", "--states=all", "--format=%T")
    except subprocess.CalledProcessError:  # Slurm does not know the job any more
        return False
    except (OSError, subprocess.SubprocessError):
        return True
    return any(state in ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED") for state in states)


def refuse_live_jobs(results: str | Path, needed: bool) -> None:
    """Check that no Slurm job of an earlier run still writes into a results folder, or will.

    Args:
        results: the results folder.
        needed: whether this run uses Slurm; without Slurm's commands, others are not checked.

    Raises:
        InputError: there are such jobs, or Slurm does not answer.
    """
    if not needed and shutil.which("squeue") is None:
        return
    try:
        jobs = live_jobs(results)
    except (OSError, subprocess.SubprocessError) as error:
        if not needed:
            return
        raise InputError(
            f"{results}: Slurm does not answer ({_why(error)}), so it is unknown whether jobs of an earlier run still "
            "write here. Try again when `squeue` works."
        ) from None
    if not jobs:
        return
    listed = ", ".join(f"{job.number} ({job.state}, {job.what})" for job in jobs[:SHOWN])
    more = f" and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else ""
    raise InputError(
        f"{results}: {len(jobs)} Slurm jobs of an earlier run write to this folder or will: {listed}{more}. Wait until "
        f"`squeue --me` lists them no more, or end them with `scancel {' '.join(job.number for job in jobs)}` "
        "(trainings save their state); then start again."
    )


def cancel(results: str | Path) -> None:
    """End all Slurm jobs of a results folder; trainings save their state."""
    try:
        jobs = live_jobs(results)
        if jobs:
            _lines("scancel", *(job.number for job in jobs))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"warning: the Slurm jobs of {results} could not be cancelled ({_why(error)})", file=sys.stderr)


def check_status_command(settings: Any) -> None:
    """Refuse settings of the plugin under which it would wait for ever, and warn of those under which it may.

    Args:
        settings: the settings of Snakemake's executor for Slurm.

    Raises:
        InputError: the plugin would ask ``sacct``, and the cluster has no accounting.
    """
    configuration = _configuration()
    accounting = configuration.get("AccountingStorageType", "(null)") not in ("(null)", "accounting_storage/none")
    age = re.match(r"\d+", configuration.get("MinJobAge", ""))
    if age is None:  # Slurm does not answer at the moment
        return
    seconds, command = int(age[0]), getattr(settings, "status_command", None)
    first_look = getattr(settings, "init_seconds_before_status_checks", 40)
    falls_back = seconds < 3 * first_look and shutil.which("sacct") is not None
    if not accounting and command == "sacct":
        raise InputError(
            "Slurm: this cluster has no accounting, so the plugin, which asks sacct for its jobs, would wait for ever. "
            "Set `slurm-status-command: squeue` in the profile."
        )
    if not accounting and falls_back:
        remedy = f"at most {seconds // 3}" if seconds >= 3 else "0"
        raise InputError(
            f"Slurm: MinJobAge is {seconds} s, so the plugin asks sacct for its jobs, and without accounting, as on "
            f"this cluster, it would wait for ever. Set `slurm-init-seconds-before-status-checks` to {remedy}, or ask "
            "the administrators for MinJobAge=300."
        )
    if command == "squeue" and not falls_back and seconds < LONGEST_WAIT + WATCH_EVERY:
        print(
            f"warning: Slurm forgets a finished job after {seconds} s (MinJobAge), but the plugin may look at its jobs "
            f"only every {LONGEST_WAIT} s, and waits for ever for a job that it has missed. If this cluster has "
            "accounting, use `--slurm-status-command sacct`; otherwise ask the administrators for MinJobAge=300.",
            file=sys.stderr,
        )


def watch_queue(results: str | Path) -> None:
    """Start to print a warning about every job that waits for something that never happens, until this process ends."""
    threading.Thread(target=_watch, args=(results,), daemon=True).start()


def _watch(results: str | Path) -> None:
    told: set[str] = set()
    while True:
        time.sleep(WATCH_EVERY)
        try:
            jobs = live_jobs(results)
        except (OSError, subprocess.SubprocessError):
            continue
        warn_of_hopeless(jobs, told)


def warn_of_hopeless(jobs: list[Job], told: set[str]) -> None:
    """Print one warning for each reason for which jobs wait in vain.

    Args:
        jobs: jobs in the queue.
        told: reasons that were printed before; new ones are added.
    """
    for job in jobs:
        if job.state == "PENDING" and job.reason not in told and _HOPELESS.fullmatch(job.reason):
            told.add(job.reason)
            print(
                f"warning: Slurm job {job.number} ({job.what}) will not start: {job.reason}. Lower what the profile "
                "asks for (`runtime` to the partition's limit, for example), or release the job; see docs/cluster.md.",
                file=sys.stderr,
            )


def _configuration() -> dict[str, str]:
    """Return Slurm's configuration; nothing if Slurm does not answer."""
    try:
        lines = _lines("scontrol", "show", "config")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}


def _lines(*command: str) -> list[str]:
    """Return the lines that a command prints.

    Raises:
        OSError, subprocess.SubprocessError: it is not installed, fails, or takes too long.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
    return [line for line in done.stdout.splitlines() if line.strip()]


def _why(error: Exception) -> str:
    printed = (getattr(error, "stderr", None) or "").strip()
    return printed.splitlines()[-1] if printed else str(error)
