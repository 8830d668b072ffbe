"""Start a real Slurm cluster of two nodes on one Debian machine, without touching its own configuration.

A node is a slurmd in separate namespaces: it has a host name, and its processes end with it. Everything is in one
folder, and the commands of Slurm find the cluster by the environment variable SLURM_CONF. It needs root, and the
packages in ``PACKAGES``.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

PACKAGES = "munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins util-linux"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "unshare")
NODES = ("node1", "node2")

CONFIGURATION = """\
ClusterName=sair
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmdParameters=config_overrides
PropagatePrioProcess=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdTimeout=15
GresTypes=gpu
"""


def missing() -> str:
    """Return what this machine lacks for a cluster; empty if nothing."""
    if os.geteuid() != 0:
        return "it needs root"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(lacking)} not found: apt-get install -y --no-install-recommends {PACKAGES}" if lacking else ""


class Cluster:
    """Two nodes with 4 cores, 64 GB and two GPUs each, as far as Slurm is concerned.

    The GPUs are device files that give jobs a number, as real ones do. There is no accounting.

    Args:
        folder: a folder with a short path, which all users may enter.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        for name in ("munge", "state", "etc/slurm", *NODES):
            (self.folder / name).mkdir(parents=True)
        Path("/etc/slurm").mkdir(exist_ok=True)  # the nodes mount theirs over it
        self._configure()
        os.environ["SLURM_CONF"] = str(self.folder / "etc/slurm/slurm.conf")
        self._start_munge()
        self._begin("slurmctld", "slurmctld", "-D", "-i")
        for node in NODES:
            self.start(node)
        self.wait_for("idle")
        return self

    def __exit__(self, *_: object) -> None:
        for name in [*NODES, "slurmctld", "munged"]:
            if name in self._processes:
                self.kill(name)
        del os.environ["SLURM_CONF"]

    def start(self, node: str) -> None:
        """Start a node, whose processes see its host name and no process of others."""
        # Slurm's plugin of Snakemake removes SLURM_CONF in jobs, so that the nodes need the usual place.
        mounts = [("etc/hosts", "/etc/hosts"), ("etc/slurm", "/etc/slurm")]
        inside = [f"hostname {node}", *(f"mount --bind {self.folder}/{own} {usual}" for own, usual in mounts)]
        options = ("--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
        self._begin(node, "unshare", *options, "sh", "-c", " && ".join([*inside, f"exec slurmd -D -N {node}"]))

    def kill(self, name: str) -> None:
        """Kill a node with everything on it, as a power cut does, or a daemon."""
        process = self._processes.pop(name)
        family = [*psutil.Process(process.pid).children(), psutil.Process(process.pid)]
        for one in family:
            one.kill()
        process.wait()
        psutil.wait_procs(family, 10)

    def wait_for(self, state: str, seconds: float = 60) -> None:
        """Wait until both nodes are in a state.

        Raises:
            TimeoutError: they are not, in the time.
        """
        deadline = time.monotonic() + seconds
        while lines("sinfo", "-h", "-N", "-o", "%T") != [state] * len(NODES):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the nodes are not {state}; see {self.folder}/*.log\n{lines('sinfo', '-N')}")
            time.sleep(0.5)

    def _configure(self) -> None:
        ports = free_ports(1 + len(NODES))
        text = CONFIGURATION.format(host=socket.gethostname(), port=ports[0], folder=self.folder)
        for node, port in zip(NODES, ports[1:], strict=True):
            text += f"NodeName={node} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=64000 Gres=gpu:2\n"
        text += f"PartitionName=main Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE State=UP\n"
        (self.folder / "etc/slurm/slurm.conf").write_text(text, encoding="utf-8")
        for number in range(2):
            subprocess.run(["mknod", self.folder / f"gpu{number}", "c", "1", "3"], check=True)  # like /dev/null
        gres = f"NodeName={','.join(NODES)} Name=gpu File={self.folder}/gpu[0-1]\n"
        (self.folder / "etc/slurm/gres.conf").write_text(gres, encoding="utf-8")
        # Version 2 of cgroups needs systemd; version 1 is loaded and not used.
        cgroup = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"
        (self.folder / "etc/slurm/cgroup.conf").write_text(cgroup, encoding="utf-8")
        names = " ".join(["localhost", socket.gethostname(), *NODES])
        (self.folder / "etc/hosts").write_text(f"127.0.0.1 {names}\n", encoding="utf-8")

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        key = folder / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for path in (folder, key):
            shutil.chown(path, "munge", "munge")
        files = [f"--{kind}-file={folder}/{kind}" for kind in ("key", "pid", "log", "seed")]
        self._begin("munged", "munged", "--foreground", "--force", f"--socket={folder}/socket", *files, user="munge")
        deadline = time.monotonic() + 20
        while not (folder / "socket").exists() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _begin(self, name: str, *command: str, user: str | None = None) -> None:
        with open(self.folder / f"{name}.out", "wb") as stream:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, user=user, start_new_session=True
            )


def lines(*command: str) -> list[str]:
    """Return the lines that a command prints; none if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
