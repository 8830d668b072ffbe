"""Follow the jobs of a run from its driver: show why a job failed, end the retries of mistakes, remove saved states.

Snakemake tells what happens to a job by the records of its logger, which carry an event. It retries every job that
fails. That helps a job that was stopped or whose machine died. It does not help a job that ends with a message for the
user, or whose submission is refused.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from sair.common.files import discard
from sair.training.state import running_state

TAIL = 20  # lines of a job's log that are shown if it does not end with a message
_MESSAGE = re.compile(r"(?ms)^error: .*\Z")  # what ``sair.pipeline.job`` prints last
# Slurm did not end the job: it crashed. A job in another state, such as TIMEOUT, can continue.
_CRASHED = re.compile(r"SLURM status is: '(?:FAILED|OUT_OF_MEMORY|ERROR)'")
TRIES = 3  # of a job that crashes
_REFUSED = re.compile(r"sbatch failed.*?(sbatch: error: [^\n']*)|submission failed with exception: (.*)", re.DOTALL)
_ADVICE = "For further error details"  # what Snakemake adds to a message
# A controller that is busy, or that is being restarted; the same submission may work later.
_PASSES = re.compile(r"timed out|unable to contact|temporar|try again|connection", re.IGNORECASE)


def follow(workflow: Any, shown: bool) -> None:
    """Start to follow the jobs of a run.

    Args:
        workflow: Snakemake's workflow, when its jobs are known.
        shown: whether to print why a job failed; jobs of this machine print that themselves.
    """
    from snakemake.logging import logger

    accept_finished(workflow.dag)
    logger.addHandler(Follower(workflow.dag, shown))


def accept_finished(dag: Any) -> None:
    """Remove the saved states of trainings that need not run: jobs finished them after their driver was killed."""
    for job in dag.jobs:
        if not dag.needrun(job):
            _accept(job)


class Follower(logging.Handler):
    """A handler for Snakemake's logger.

    Args:
        dag: Snakemake's graph of the jobs.
        shown: same as in ``follow``.
    """

    def __init__(self, dag: Any, shown: bool) -> None:
        super().__init__()
        self._dag, self._shown = dag, shown
        self._before: dict[int, int | None] = {}  # when the log of a job was written before the job was started

    @cached_property
    def _jobs(self) -> dict[int, Any]:
        return {self._dag.jobid(job): job for job in self._dag.jobs}

    def emit(self, record: logging.LogRecord) -> None:
        """React to a job that starts, fails or is finished."""
        event = str(getattr(record, "event", ""))
        job = self._jobs.get(getattr(record, "job_id" if event == "job_finished" else "jobid", -1))
        if job is None:
            return
        try:
            if event == "job_info":
                self._before[self._dag.jobid(job)] = _written(job)
            elif event == "job_error":
                self._failed(job, str(getattr(record, "rule_msg", "")), getattr(record, "log", []))
            elif event == "job_finished":
                _accept(job)
        except OSError as error:  # a file system that fails for a moment must not end the run
            print(f"warning: {error}", file=sys.stderr)

    def _failed(self, job: Any, told: str, logs: list[str]) -> None:
        """Show why a job failed, and end its retries if it would fail again."""
        refused = _REFUSED.search(told)
        if refused:
            message = refused[1] or refused[2].partition(_ADVICE)[0].strip()
            final = not _PASSES.search(told)
        else:
            is_new = _written(job) != self._before.get(self._dag.jobid(job))
            message, final = _why([*job.log] if is_new else [], [path for path in logs if path not in job.log])
        if final or (job.attempt >= TRIES and _CRASHED.search(told)):
            job.attempt = max(job.attempt, job.restart_times + 1)  # the last attempt
        if self._shown and message:
            what = " ".join([job.rule.name, *map(str, job.wildcards_dict.values())])
            print(f"\n{what}: {message}\n", file=sys.stderr)


def _why(own: list[str], others: list[str]) -> tuple[str, bool]:
    """Return why a job failed, and whether it would fail again.

    Args:
        own: the log of the job, if the job has written it.
        others: logs of the cluster.
    """
    files = [path for path in [*own, *others] if Path(path).is_file()]
    texts = {path: Path(path).read_text(encoding="utf-8", errors="replace") for path in files}
    for path in own:
        message = _MESSAGE.search(texts.get(path, ""))
        if message:
            return message[0].strip(), True
    for path, text in texts.items():
        if text.strip():
            return f"the last lines of {path} are\n" + "\n".join(text.strip().splitlines()[-TAIL:]), False
    return "", False


def _written(job: Any) -> int | None:
    """Return when the log of a job was last written, in nanoseconds; None if it has none yet."""
    try:
        with open(job.log[0], "rb") as stream:  # opening makes a network file system ask for the present time
            return os.fstat(stream.fileno()).st_mtime_ns
    except (OSError, IndexError):
        return None


def _accept(job: Any) -> None:
    """Remove the saved state of a training whose checkpoint Snakemake has accepted."""
    for path in job.output:
        if Path(path).name == "checkpoint.safetensors" and running_state(path).exists():
            discard(running_state(path))
