"""Test that the driver shows why jobs failed, ends the retries of mistakes only, and removes accepted states."""

import logging
import os
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from sair.pipeline.follow import Follower, accept_finished

JOBID = 7


class Run:
    """One job in a graph, its log, and the events that Snakemake would log."""

    def __init__(self, folder, shown=True):
        self.log = folder / "logs/train.log"
        self.log.parent.mkdir()
        self.output = folder / "liif/seed0/checkpoint.safetensors"
        self.output.parent.mkdir(parents=True)
        self.job = SimpleNamespace(
            log=[str(self.log)],
            output=[str(self.output), str(folder / "liif/seed0/train.csv")],
            rule=SimpleNamespace(name="train"),
            wildcards_dict={"dataset": "faces", "method": "liif"},
            restart_times=3,
            attempt=1,
        )
        dag = Dag([self.job])
        self.logger = logging.Logger("snakemake")
        self.logger.addHandler(Follower(dag, shown))

    def starts(self):
        self.logger.info("", extra={"event": LogEvent.JOB_INFO, "jobid": JOBID})

    def writes(self, text):
        before = self.log.stat().st_mtime_ns if self.log.exists() else 0
        self.log.write_text(text)
        os.utime(self.log, ns=(before + 10**9, before + 10**9))

    def fails(self, told="SLURM-job '35' failed, SLURM status is: 'FAILED'. ", others=()):
        extra = {"event": LogEvent.JOB_ERROR, "jobid": JOBID, "rule_msg": told, "log": [str(self.log), *others]}
        self.logger.error("", extra=extra)

    @property
    def is_retried(self):
        return self.job.restart_times > self.job.attempt - 1  # as Snakemake decides

    def ends(self):
        self.logger.info("", extra={"event": LogEvent.JOB_FINISHED, "job_id": JOBID})


class Dag:
    def __init__(self, jobs):
        self.jobs = jobs

    def jobid(self, job):
        return JOBID


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


MISTAKE = "liif: 1 step\n\nerror: 2 faults:\nimages: data/none is missing\nmasks: data/none is missing\n\n"


def test_a_mistake_ends_at_once_with_its_whole_message(run, capsys):
    run.starts()
    run.writes(MISTAKE)
    run.fails()
    assert not run.is_retried
    shown = capsys.readouterr().err.strip()
    assert shown == ("train faces liif: error: 2 faults:\nimages: data/none is missing\nmasks: data/none is missing")


@pytest.mark.parametrize(
    "text",
    ["liif: stopped on request; state saved after step 18.\n", "Traceback\nRuntimeError: error: not ours\n", "", None],
)
def test_a_job_that_was_stopped_or_crashed_is_retried(run, capsys, text):
    run.starts()
    if text is not None:
        run.writes(text)
    run.fails()
    assert run.is_retried
    assert (text or "").strip() in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "tries"),
    [("FAILED", 3), ("OUT_OF_MEMORY", 3), ("TIMEOUT", 4), ("CANCELLED", 4), ("NODE_FAIL", 4), ("PREEMPTED", 4)],
)
def test_a_job_that_crashes_has_few_tries_and_one_that_was_stopped_has_all(run, state, tries):
    for attempt in range(1, 5):
        run.starts()
        run.writes(f"step {attempt}\n")
        run.fails(told=f"SLURM-job '35' failed, SLURM status is: '{state}'. ")
        if not run.is_retried:
            break
        run.job.attempt += 1  # as Snakemake does
    assert attempt == tries


def test_the_message_of_an_earlier_run_is_not_taken_for_that_of_a_job_that_died_with_its_node(run, tmp_path, capsys):
    run.writes(MISTAKE)
    run.starts()
    cluster = tmp_path / "35.log"
    cluster.write_text("srun: error: node1: task 0: Killed\n")
    run.fails(others=[str(cluster)])
    assert run.is_retried
    shown = capsys.readouterr().err
    assert "data/none" not in shown and "node1: task 0: Killed" in shown


def test_only_the_last_lines_of_a_log_are_shown(run, capsys):
    run.starts()
    run.writes("".join(f"step {k}\n" for k in range(500)))
    run.fails()
    shown = capsys.readouterr().err
    assert "step 499" in shown and "step 470" not in shown


def test_jobs_of_this_machine_print_their_messages_themselves(tmp_path, capsys):
    run = Run(tmp_path, shown=False)
    run.starts()
    run.writes(MISTAKE)
    run.fails()
    assert capsys.readouterr().err == "" and not run.is_retried


REFUSAL = "SLURM sbatch failed. The error message was 'sbatch: error: {}'.\n    sbatch call:\n        sbatch ..."


@pytest.mark.parametrize(
    ("reason", "is_retried"),
    [
        ("Batch job submission failed: Requested node configuration is not available", False),
        ("invalid partition specified: my_partition", False),
        ("Invalid generic resource (gres) specification", False),
        ("Batch job submission failed: Socket timed out on send/recv operation", True),
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        ("Slurm temporarily unable to accept job, sleeping and retrying.", True),
    ],
)
def test_a_refused_submission_ends_at_once_and_a_busy_controller_does_not(run, capsys, reason, is_retried):
    run.starts()
    run.fails(told=REFUSAL.format(reason))
    assert run.is_retried == is_retried
    assert capsys.readouterr().err.strip() == f"train faces liif: sbatch: error: {reason}"


def test_an_account_that_the_plugin_refuses_ends_at_once(run, capsys):
    told = "Job submission failed with exception: The given account x appears to be invalid. Available accounts:\nlab"
    run.starts()
    run.fails(
        told=f"{told}For further error details see the cluster/cloud log and the log files of the involved rule(s)."
    )
    assert not run.is_retried
    shown = capsys.readouterr().err.strip()
    assert shown == "train faces liif: The given account x appears to be invalid. Available accounts:\nlab"


def test_the_state_of_a_training_is_kept_until_its_checkpoint_is_accepted(run):
    state = run.output.with_name("running.safetensors")
    for path in (run.output, state):
        path.touch()
    run.starts()
    run.fails()
    assert state.exists()
    run.ends()
    assert not state.exists() and run.output.exists()


@pytest.mark.parametrize("needed", [True, False])
def test_the_state_of_a_training_that_need_not_run_is_removed_at_the_start(run, needed):
    state = run.output.with_name("running.safetensors")
    state.touch()
    accept_finished(SimpleNamespace(jobs=[run.job], needrun=lambda job: needed))
    assert state.exists() == needed


def test_other_records_of_the_logger_are_ignored(run):
    run.logger.info("Using shell: /bin/bash")
    run.logger.info("", extra={"event": LogEvent.JOB_FINISHED, "job_id": 99})
    run.logger.info("", extra={"event": LogEvent.PROGRESS, "done": 1, "total": 2})
