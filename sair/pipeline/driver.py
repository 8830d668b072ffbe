"""Plan a run, lock its results folder, and stop its jobs when the process that started them ends.

A workflow may be killed at any moment. Its lock must then be free, and its jobs must stop. Otherwise the next run would
be refused by the lock, or write at the same time as an old job.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from sair.common.errors import InputError
from sair.common.files import read_mapping
from sair.pipeline.locks import Held, claim, hold

if TYPE_CHECKING:  # every job imports this module first, so it must be quick
    from sair.pipeline.needs import GpuNeeds
    from sair.pipeline.project import Project

_VARIABLE = "SAIR_DRIVER"
PARENT = "SAIR_PARENT"  # the environment variable with the process that this run must not outlive


def plan(config: dict[str, Any], schema: str, files: Iterable[str | Path]) -> Project:
    """Check the config that Snakemake has read, and return the plan of the run.

    Args:
        config: Snakemake's config.
        schema: path of config.schema.yaml.
        files: the files of the config, read again because Snakemake silently accepts a key that occurs twice.

    Raises:
        SystemExit: the config is wrong; the error was printed.
    """
    from sair.pipeline.project import Project

    with one_line():
        for file in files:
            read_mapping(file)
        return Project(config, schema, list(files))


def foresee(project: Project) -> None:
    """Print at a dry run which differences the tables could show. Snakemake calls no hook there, so its options tell.

    Args:
        project: what ``plan`` returned.
    """
    if not any(re.fullmatch(r"-[a-zA-Z]*n[a-zA-Z]*|--dry-?run", word) for word in sys.argv[1:]):
        return
    from sair.reporting.planned import REMEDY, planned_tables

    with one_line():
        tables = {name: project.specifications(name) for name in project.config["tables"]}
        found = [f"{planned.title}: {planned}." for planned in planned_tables(project.config, tables)]
    print(*found, *([REMEDY] if found else []), sep="\n", file=sys.stderr)


def share_gpus(project: Project, workflow: Any) -> GpuNeeds:
    """Let Snakemake start only as many jobs at once as the GPUs of this machine have memory for.

    Call it before the rules are defined: Snakemake compares their resources with what is available. A limit that the
    user gave with ``--resources gpu_mib=N`` is kept. Jobs of a cluster get no limit, because its scheduler has one.

    Args:
        project: what ``plan`` returned.
        workflow: Snakemake's workflow.

    Returns:
        The resource ``gpu_mib`` of every rule.
    """
    from sair.pipeline.gpus import cards
    from sair.pipeline.needs import GpuNeeds

    resources = workflow.global_resources
    local = workflow.is_main_process and resources["_nodes"].value is None  # a number of nodes means a cluster
    needs = GpuNeeds(project, cards() if local and project.config["device"] != "cpu" else [])
    if needs.available and "gpu_mib" not in resources:
        resources["gpu_mib"] = needs.available
    return needs


def start(project: Project, workflow: Any) -> None:
    """Lock the results folder of a run, refuse what cannot work, follow its jobs, and make SIGTERM end the run.

    Args:
        project: what ``plan`` returned.
        workflow: Snakemake's workflow, when its jobs are known. Jobs on other machines check their device themselves.

    Raises:
        SystemExit: another run or its Slurm jobs use the folder, there is no such device, or Slurm's settings would let
            this run wait for ever; the error was printed.
    """
    from sair.pipeline import slurm
    from sair.pipeline.follow import follow
    from sair.pipeline.stopping import end_on_sigterm

    executor = workflow.scheduler.get_executor(next(iter(workflow.dag.jobs)))
    on_slurm = slurm.is_slurm(executor)
    with one_line():
        if project.config["device"] == "cuda" and workflow.local_exec:
            from sair.common.runtime import device

            device("cuda")
        lock(project.results)
        slurm.refuse_live_jobs(project.results, needed=on_slurm)
        if on_slurm:
            slurm.check_status_command(workflow.executor_settings)
            slurm.mark_jobs(executor, project.results)
            slurm.watch_queue(project.results)
    follow(workflow, shown=not workflow.local_exec)
    if threading.current_thread() is threading.main_thread():
        end_on_sigterm(cancel=partial(slurm.cancel, project.results) if on_slurm else None)
        if parent := os.environ.get(PARENT):
            threading.Thread(target=_end_without, args=(int(parent),), daemon=True).start()


@contextmanager
def one_line() -> Iterator[None]:
    """Turn an ``InputError`` into its printed message and exit status 1; Snakemake would print a traceback."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def announce() -> None:
    """Store the identity of this process in the environment, for ``watch`` in the jobs that it starts."""
    os.environ[_VARIABLE] = f"{os.getpid()}@{socket.gethostname()}"


def watch() -> None:
    """End this job within a second after its driver ends; a driver on another machine is not watched."""
    driver, _, host = os.environ.get(_VARIABLE, "").partition("@")
    if host == socket.gethostname():
        threading.Thread(target=_end_with, args=(int(driver),), daemon=True).start()


def _end_without(parent: int) -> None:
    """End this run, as SIGTERM does, when the process that started it has ended, even by ``kill -9``."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def _end_with(driver: int) -> None:
    while True:
        try:
            os.kill(driver, 0)
        except ProcessLookupError:
            os._exit(143)
        except PermissionError:
            pass  # it exists, but belongs to another user
        time.sleep(0.5)


def lock(folder: str | Path) -> None:
    """Lock a results folder until this process ends.

    Raises:
        InputError: another process has locked it, or it is not writable.
    """
    hold(_claim(folder))


def refuse_locked(folder: str | Path) -> None:
    """Refuse a results folder that a run uses; it is not locked afterwards.

    Raises:
        InputError: same as in ``lock``.
    """
    stream = _claim(folder)
    stream.truncate(0)  # a file system without locks goes by the name of the holder
    stream.close()


def _claim(folder: str | Path) -> TextIO:
    path = Path(folder) / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return claim(path)
    except OSError as error:
        raise InputError(
            f"{folder}: results cannot be written to this folder ({error.strerror}). Change `results` in the config."
        ) from None
    except Held as held:
        raise InputError(f"{folder}: another run is writing here ({held}). Wait for it, or stop it.") from None
