"""Run the workflow on a Slurm cluster of two nodes, kill what can be killed, and compare each table with a local run's.

``make test-slurm`` calls it: the smoke Table 1, with prediction and scoring in two shards, first by ``--cores 2``, then
on the cluster. Then the results of one method are removed and made again, once for each fault, which meets its
training. The method is LIIF with a pause in each step, so that the faults cost little computing.

    python tests/slurm/faults.py                        the whole Table 1, every fault
    python tests/slurm/faults.py --methods mean_fill    a table of these methods and the slow one, every fault
    python tests/slurm/faults.py --short                only one training, and the driver is killed (two minutes)
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from cluster import NODES, Cluster, lines, missing

ROOT = Path(__file__).resolve().parents[2]
VICTIM = "results/smoke/faces/slow/seed0"
COMPARED = ("results/smoke/table*.*", "results/smoke/faces/*/seed0/*.csv", f"{VICTIM}/checkpoint.safetensors")
OPTIONS = ("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "20", "--config", "shards=2")

SLOW = """
import time

from sair.models.inpainter import ImplicitInpainter


class Slow(ImplicitInpainter):
    def training_step(self, batch, step):
        time.sleep(0.4)
        return super().training_step(batch, step)
"""
METHOD = {"extends": "liif", "label": "Slow", "class": "slow:Slow", "tables": {}}


def main() -> None:
    """Make the table locally, on the cluster, and once more after each fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", help="rows beside the method that meets the faults; default: Table 1's")
    parser.add_argument("--short", action="store_true", help="only the training of that method, and one fault")
    given = parser.parse_args()
    lacking = missing()
    if lacking:
        print(f"test-slurm: skipped: {lacking}.", file=sys.stderr)
        raise SystemExit(0 if given.short else 1)
    with tempfile.TemporaryDirectory(prefix="sair-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # munge runs as another user
        local, remote = (workspace(folder / kind, given.methods, given.short) for kind in ("local", "remote"))
        run(local, "--cores", "2", "--config", "shards=2")
        tell("the local run is made")
        with Cluster(folder) as cluster:
            try:
                if not given.short:
                    make_a_mistake(remote)
                    check(remote, drive(remote).wait(), local, "no fault")
                for fault in (kill_the_driver,) if given.short else FAULTS:
                    forget(remote)
                    check(remote, fault(remote, cluster), local, fault.__doc__ or "")
            except SystemExit:
                print(printed(remote), file=sys.stderr)
                raise
    tell("each time the results are those of the local run, byte for byte")


# --------------------------------------------------------------------------------------------------------------------
# The faults: each meets the training of the slow method, and returns the exit status of the last driver.


def cancel_the_job(folder: Path, cluster: Cluster) -> int:
    """A job is cancelled by scancel."""
    driver = drive(folder)
    job = training(folder)
    subprocess.run(["scancel", job], check=True)
    status = driver.wait()
    expect(saved(folder, job), "the cancelled job has saved its state")
    expect(resumed(folder) > 0, "the next job has continued from it")
    return status


def reach_the_limit(folder: Path, cluster: Cluster) -> int:
    """A job reaches its time limit."""
    driver = drive(folder)
    job = training(folder)
    subprocess.run(["scontrol", "update", f"JobId={job}", "EndTime=now+1"], check=True)  # Slurm looks every 30 s
    status = driver.wait()
    expect(f"'{job}' failed, SLURM status is: 'TIMEOUT'" in printed(folder), "Slurm calls it TIMEOUT")
    expect(saved(folder, job), "the job has saved its state")
    expect(resumed(folder) > 0, "the next job has continued from it")
    return status


def kill_the_node(folder: Path, cluster: Cluster) -> int:
    """The node of a job is killed."""
    driver = drive(folder)
    job = training(folder)
    [node] = lines("squeue", "-h", f"--jobs={job}", "-o", "%N")
    cluster.kill(node)
    try:
        status = driver.wait()
    finally:
        cluster.start(node)
        cluster.wait_for("idle", 120)
    expect(f"'{job}' failed due to a node failure" in printed(folder), f"the death of {node} is noticed")
    expect(
        resumed(folder) > 0, f"the next job has continued on {NODES[1 - NODES.index(node)]} from the last saved state"
    )
    return status


def kill_the_driver(folder: Path, cluster: Cluster) -> int:
    """The driver is killed; the next one is refused until the jobs of the first are ended."""
    drive_and_kill(folder)
    refused = drive(folder)
    expect(refused.wait() == 1, "the next driver is refused")
    command = re.search(r"end them with `(scancel [\d ]+)`", printed(folder))
    expect(command is not None, "it names the command that ends the jobs")
    assert command is not None
    local = run_quietly(folder, "--cores", "1", "--config", "shards=2")
    expect(local.returncode == 1 and "write to this folder or will" in local.stdout, "a local driver is refused, too")
    subprocess.run(command[1].split(), check=True)
    wait_until(lambda: not lines("squeue", "-h"), "the cancelled jobs have ended")
    status = drive(folder).wait()
    expect(resumed(folder) > 0, "the training has continued from the saved state")
    return status


def kill_the_driver_and_wait(folder: Path, cluster: Cluster) -> int:
    """The driver is killed; the next one is started after the jobs of the first have ended."""
    drive_and_kill(folder)
    wait_until(lambda: not lines("squeue", "-h"), "the training has ended without its driver")
    expect((folder / VICTIM / "running.safetensors").exists(), "its state is still there")
    status = drive(folder).wait()
    expect("rule train:" not in printed(folder), "no step of it was computed again")
    return status


def terminate_the_driver(folder: Path, cluster: Cluster) -> int:
    """The driver is terminated; its jobs end with it, and the next one continues."""
    driver = drive(folder)
    job = training(folder)
    driver.send_signal(signal.SIGTERM)
    expect(driver.wait() != 0, "the driver has ended")
    wait_until(lambda: not lines("squeue", "-h"), "no job outlives it")
    expect(saved(folder, job), "its job has saved its state")
    status = drive(folder).wait()
    expect(resumed(folder) > 0, "the training has continued")
    return status


FAULTS: tuple[Callable[[Path, Cluster], int], ...] = (
    cancel_the_job,
    kill_the_node,
    reach_the_limit,
    kill_the_driver_and_wait,
    terminate_the_driver,
    kill_the_driver,
)


# --------------------------------------------------------------------------------------------------------------------
# Workspaces and drivers


def workspace(folder: Path, methods: list[str] | None, short: bool) -> Path:
    """Copy what a run needs, add the slow method, and fill in the profile.

    Args:
        folder: the folder to make.
        methods: rows of the table beside the slow method; None for those of Table 1.
        short: make only a short training of the slow method, and no table.
    """
    folder.mkdir()
    for name in ("workflow", "config"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "slow.py").write_text(SLOW, encoding="utf-8")
    # Times the config's scale of 0.012: 60 or 150 steps, with a pause of 0.4 s each.
    method = METHOD | {"training": {"steps": 5000 if short else 12500}}
    (folder / "config/methods/slow.yaml").write_text(yaml.safe_dump(method), encoding="utf-8")
    # A table of another name has only the rows that are named here.
    table = "table1" if methods is None else "table_small"
    rows = {table: {"dataset": "faces", "methods": [*(methods or ()), "slow"]}}
    smoke = yaml.safe_load((folder / "config/smoke.yaml").read_text(encoding="utf-8"))
    (folder / "faults.yaml").write_text(yaml.safe_dump(smoke | {"tables": rows}), encoding="utf-8")
    target = f"{VICTIM}/checkpoint.safetensors" if short else f"results/smoke/{table}.md"
    (folder / "target").write_text(target, encoding="utf-8")
    profile = folder / "workflow/profiles/slurm/config.yaml"
    text = profile.read_text(encoding="utf-8")
    profile.write_text(text.replace("my_account", "lab").replace("my_partition", "main"), encoding="utf-8")
    return folder


def snakemake(folder: Path, *options: str) -> list[str]:
    """Return the command for the target of a workspace."""
    target = (folder / "target").read_text(encoding="utf-8")
    return [sys.executable, "-m", "snakemake", *options, "--configfile", "faults.yaml", "--", target]


def run_quietly(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake to its end, and return what it printed."""
    command = snakemake(folder, *options)
    return subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=3600
    )


def run(folder: Path, *options: str) -> None:
    """Run Snakemake to its end, which must be a success."""
    done = run_quietly(folder, *options)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nthe run has failed")


def drive(folder: Path) -> subprocess.Popen[str]:
    """Start a driver on the cluster, whose output ``printed`` returns."""
    command = snakemake(folder, "--workflow-profile", "workflow/profiles/slurm", *OPTIONS)
    with open(folder / "driver.log", "w", encoding="utf-8") as stream:
        return subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream, text=True, start_new_session=True)


def make_a_mistake(folder: Path) -> None:
    """Start a driver with a dataset whose folder does not exist, which must end after one job."""
    images = {"train": 4, "validation": 1, "test": 2}
    none = {"none": {"source": "folder", "images": "data/none", "masks": "strokes", **images}}
    (folder / "mistake.yaml").write_text(yaml.safe_dump({"results": "results/mistake", "datasets": none}))
    options = ("--workflow-profile", "workflow/profiles/slurm", *OPTIONS)
    command = [sys.executable, "-m", "snakemake", *options, "--configfile", "config/smoke.yaml", "mistake.yaml"]
    done = subprocess.run(
        [*command, "--", "results/mistake/none/images.csv"], cwd=folder, capture_output=True, text=True, timeout=1200
    )
    (folder / "driver.log").write_text(done.stderr, encoding="utf-8")
    expect(done.returncode == 1 and done.stderr.count("has been submitted") == 1, "a mistake is not tried again")
    shown = re.search(r"freeze_images none: (error: .*data/none.*)", done.stderr)
    expect(shown is not None, f"its message is on the driver's terminal: {shown and shown[1]}")


def drive_and_kill(folder: Path) -> None:
    """Start a driver on the cluster and kill it while the slow method is trained."""
    driver = drive(folder)
    training(folder)
    driver.kill()
    driver.wait()
    expect(bool(lines("squeue", "-h")), "the job outlives the driver")


def printed(folder: Path) -> str:
    """Return what the last driver has printed."""
    return (folder / "driver.log").read_text(encoding="utf-8")


def training(folder: Path) -> str:
    """Wait until the slow method is trained and has saved a state; return the number of its job."""
    wait_until(lambda: (folder / VICTIM / "running.safetensors").exists(), "the training has saved a state")
    found = [line for line in lines("squeue", "-h", "-t", "RUNNING", "-o", "%i %k") if "rule_train_" in line]
    [job] = [line.split()[0] for line in found if "slow" in line]
    return job


def saved(folder: Path, job: str) -> bool:
    """Return whether a job of Slurm has printed that it saved its state."""
    logs = (folder / ".snakemake/slurm_logs").rglob(f"{job}.log")
    return any("stopped on request; state saved after step" in log.read_text(encoding="utf-8") for log in logs)


def bar(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield (step, steps) of each state of the progress bar in the log of the last training."""
    log = (folder / "results/smoke/logs/faces/slow/seed0/train.log").read_text(encoding="utf-8")
    yield from ((int(step), int(steps)) for step, steps in re.findall(r"(\d+)/(\d+) \[", log))


def resumed(folder: Path) -> int:
    """Return the step at which the last training began."""
    return next(bar(folder))[0]


def forget(folder: Path) -> None:
    """Remove the table, and what it is made of by the slow method."""
    shutil.rmtree(folder / VICTIM, ignore_errors=True)
    for path in (folder / "results/smoke").glob("table*.*"):
        path.unlink()


def check(folder: Path, status: int, local: Path, what: str) -> None:
    """Compare the results with those of the local run."""
    what = what.strip().rstrip(".")
    if status:
        raise SystemExit(f"test-slurm: {what}: the driver has failed")
    names = [path.relative_to(local) for pattern in COMPARED for path in sorted(local.glob(pattern))]
    differ = [str(name) for name in names if (local / name).read_bytes() != (folder / name).read_bytes()]
    expect(
        len(names) > 1 and not differ, f"{what}: {len(names)} files equal those of the local run. {' '.join(differ)}"
    )
    left = [
        path
        for path in folder.rglob("*")
        if path.name == "running.safetensors" or path.suffixes[-2:] == [".log", ".lock"]
    ]
    expect(not left, "no saved state is left")


def expect(holds: bool, what: str) -> None:
    """Print what holds, or end."""
    if not holds:
        raise SystemExit(f"test-slurm: this does not hold: {what}")
    tell(what)


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 1200) -> None:
    """Wait until something holds, and print it."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"test-slurm: waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.5)
    tell(what)


def tell(what: str) -> None:
    """Print a line with the time."""
    print(time.strftime("%H:%M:%S"), what.strip().partition("\n")[0], flush=True)


if __name__ == "__main__":
    main()
