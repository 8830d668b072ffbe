"""Test what the driver asks Slurm, with commands that print what those of Slurm 22.05 print."""

import subprocess
from types import SimpleNamespace

import pytest

from sair.common.errors import InputError
from sair.pipeline import slurm

CONFIG = """Configuration data as of 2026-11-27T10:00:00
AccountingStorageType   = {storage}
MinJobAge               = {age} sec
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Put programs on an otherwise empty PATH: name -> what it prints."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("shutil.which", lambda name: f"bin/{name}" if (tmp_path / "bin" / name).exists() else None)
    (tmp_path / "bin").mkdir()

    def write(**printed):
        for name, text in printed.items():
            (tmp_path / f"{name}.txt").write_text(text)
            program = tmp_path / "bin" / name
            program.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\n/bin/cat {tmp_path}/{name}.txt\n')
            program.chmod(0o755)

    write.calls = tmp_path / "calls"
    write.folder = tmp_path
    return write


def queue(results, *states, name=None):
    """Return what squeue prints for jobs of a results folder."""
    name = name or f"{slurm.mark(results)}_0c5e"
    return "".join(
        f"{35 + k}|{name}|{state}|None|rule_train_wildcards_faces_liif_0\n" for k, state in enumerate(states)
    )


def test_live_jobs_of_the_results_folder_are_refused_with_the_command_that_ends_them(commands):
    commands(squeue=queue("results/paper", "RUNNING", "PENDING"))
    with pytest.raises(InputError) as refused:
        slurm.refuse_live_jobs("results/paper", needed=True)
    message = str(refused.value)
    assert message.startswith(
        "results/paper: 2 Slurm jobs of an earlier run write to this folder or will: 35 (RUNNING, "
    )
    assert "`scancel 35 36`" in message and "rule_train_wildcards_faces_liif_0" in message


def test_jobs_of_other_folders_and_programs_are_not_refused(commands):
    commands(squeue=queue("results/other", "RUNNING") + queue("", "RUNNING", name="interactive") + "9|a\n")
    slurm.refuse_live_jobs("results/paper", needed=True)
    assert f"--user={slurm.getpass.getuser()}" in commands.calls.read_text()


def test_a_folder_is_recognised_by_every_path_to_it(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert len({slurm.mark(path) for path in ("results", "./results/", tmp_path / "results", "link")}) == 1
    assert slurm.mark("results") != slurm.mark("results/paper")


def test_where_slurm_does_not_answer_only_a_run_that_uses_it_is_refused(commands):
    slurm.refuse_live_jobs("results", needed=False)  # no squeue
    with pytest.raises(InputError, match="Slurm does not answer"):
        slurm.refuse_live_jobs("results", needed=True)
    commands(squeue="")
    (commands.folder / "bin/squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error' >&2\nexit 1\n")
    slurm.refuse_live_jobs("results", needed=False)
    with pytest.raises(InputError, match=r"Slurm does not answer \(slurm_load_jobs error\)"):
        slurm.refuse_live_jobs("results", needed=True)


def test_a_local_run_on_a_login_node_is_refused_too(commands):
    commands(squeue=queue("results", "RUNNING"))
    with pytest.raises(InputError, match="1 Slurm jobs"):
        slurm.refuse_live_jobs("results", needed=False)


def test_jobs_are_named_so_that_the_next_driver_finds_them():
    executor = SimpleNamespace(run_uuid="0c5e")
    slurm.mark_jobs(executor, "results/paper")
    assert executor.run_uuid == f"{slurm.mark('results/paper')}_0c5e"


def test_all_jobs_of_a_folder_are_cancelled(commands, capsys):
    commands(squeue=queue("results", "RUNNING", "PENDING") + queue("other", "RUNNING"), scancel="")
    slurm.cancel("results")
    assert commands.calls.read_text().splitlines()[-1] == "scancel 35 36"
    (commands.folder / "bin/scancel").write_text("#!/bin/sh\nexit 1\n")
    slurm.cancel("results")
    assert "could not be cancelled" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------------------
# What would wait for ever


def settings(command, first=10):
    return SimpleNamespace(status_command=command, init_seconds_before_status_checks=first)


@pytest.mark.parametrize(
    ("storage", "age", "command", "refused"),
    [
        ("(null)", 300, "sacct", "has no accounting.*Set `slurm-status-command: squeue`"),
        ("accounting_storage/none", 300, "sacct", "has no accounting"),
        ("(null)", 20, "squeue", r"MinJobAge is 20 s.*`slurm-init-seconds-before-status-checks` to at most 6"),
        ("(null)", 0, "squeue", r"MinJobAge is 0 s.*checks` to 0"),
        ("(null)", 300, "squeue", None),
        ("accounting_storage/slurmdbd", 300, "sacct", None),
        ("accounting_storage/slurmdbd", 20, "squeue", None),  # the plugin asks sacct, which works
    ],
)
def test_a_cluster_on_which_the_plugin_would_wait_for_ever_is_refused(commands, capsys, storage, age, command, refused):
    commands(scontrol=CONFIG.format(storage=storage, age=age), sacct="")
    if refused is None:
        slurm.check_status_command(settings(command))
    else:
        with pytest.raises(InputError, match=refused):
            slurm.check_status_command(settings(command))
    assert capsys.readouterr().err == ""


def test_a_cluster_that_forgets_jobs_too_soon_is_warned_of(commands, capsys):
    commands(scontrol=CONFIG.format(storage="(null)", age=120))
    slurm.check_status_command(settings("squeue"))
    assert "forgets a finished job after 120 s (MinJobAge)" in capsys.readouterr().err


def test_no_answer_about_the_configuration_refuses_nothing(commands):
    slurm.check_status_command(settings("sacct"))


@pytest.mark.parametrize(
    ("state", "reason", "is_told"),
    [
        ("PENDING", "PartitionTimeLimit", True),
        ("PENDING", "QOSMaxWallDurationPerJobLimit", True),
        ("PENDING", "InvalidAccount", True),
        ("PENDING", "JobHeldUser", True),
        ("PENDING", "Resources", False),
        ("PENDING", "QOSMaxJobsPerUserLimit", False),
        ("RUNNING", "PartitionTimeLimit", False),
    ],
)
def test_a_job_that_waits_in_vain_is_told_once(capsys, state, reason, is_told):
    told = set()
    for _ in range(2):
        slurm.warn_of_hopeless([slurm.Job("35", state, "rule_train", reason)], told)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == is_told and all(f"Slurm job 35 (rule_train) will not start: {reason}." in x for x in lines)


def test_a_job_that_slurm_has_forgotten_does_not_run(monkeypatch):
    def fail(error):
        def lines(*_):
            raise error

        return lines

    monkeypatch.setattr(slurm, "_lines", fail(subprocess.CalledProcessError(1, "squeue")))
    assert not slurm.is_running("35")
    monkeypatch.setattr(slurm, "_lines", fail(subprocess.TimeoutExpired("squeue", 60)))
    assert slurm.is_running("35")
