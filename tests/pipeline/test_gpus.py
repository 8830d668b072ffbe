"""Test that as many jobs run at once as the cards have memory for. A program on PATH stands in for nvidia-smi."""

import os
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sair.common.errors import InputError
from sair.methods.origins import merge
from sair.pipeline import gpus
from sair.pipeline.gpus import ASSUMED_MIB, Card, cards, own_gpus, share
from sair.pipeline.needs import MEASURED, UNKNOWN, GpuNeeds
from sair.pipeline.project import Project

PROGRAM = """
import os, sys
from sair.pipeline import gpus
gpus.built_for_gpus = lambda: True
gpus.own_gpus("auto", int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) or None)
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""
MIG_LIST = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-a)
  MIG 1g.10gb     Device  0: (UUID: MIG-1)
  MIG 3g.40gb     Device  1: (UUID: MIG-3)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-b)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that simulates cards, given by lines of nvidia-smi and by the output of its -L."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(gpus, "built_for_gpus", lambda: True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def put(*lines, listed="", status=0):
        program = tmp_path / "bin/nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        (tmp_path / "cards").write_text("".join(f"{line}\n" for line in lines))
        (tmp_path / "listed").write_text(listed)
        program.write_text(f"#!/bin/sh\ncat {tmp_path}/$([ $1 = -L ] && echo listed || echo cards)\nexit {status}\n")
        program.chmod(0o755)

    return put


@pytest.fixture
def start(machine):
    """Return a function that starts a job and returns its process, which ends with the test."""
    started = []

    def begin(mib, count=1, gpu_jobs=0, **variables):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(mib), str(count), str(gpu_jobs)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(Path.cwd())} | variables,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def got(process):
    """Wait until a job has its cards, and return them."""
    return process.stdout.readline().strip()


def waits(process):
    return process.stderr.readline().startswith("waiting for ") and process.poll() is None


# --------------------------------------------------------------------------------------------------------------------
# Which cards there are


def test_cards_are_those_of_nvidia_smi(machine):
    machine("GPU-a, 81559, 80994, Default", "GPU-b, 24564, 100, Exclusive_Process", "GPU-c, [N/A], [N/A], Default")
    assert cards() == [
        Card("GPU-a", "GPU-a", 81559, 80994),
        Card("GPU-b", "GPU-b", 24564, 100, exclusive=True),
        Card("GPU-c", "GPU-c", ASSUMED_MIB, ASSUMED_MIB),
    ]


def test_instances_of_a_split_card_are_cards(machine, monkeypatch):
    machine("GPU-a, 81559, 80994, Default", "GPU-b, 81559, 80994, Default", listed=MIG_LIST)
    assert [(card.uuid, card.mib) for card in cards()] == [("MIG-1", 9500), ("MIG-3", 38000), ("GPU-b", 81559)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-3")
    assert [card.uuid for card in cards()] == ["MIG-3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # the first instance or the first card, depending on the driver
    assert cards() == []


@pytest.mark.parametrize(
    ("visible", "names", "uuids"),
    [
        ("", [], []),
        ("1", ["1"], ["GPU-b"]),
        ("1, 0", ["1", "0"], ["GPU-b", "GPU-a"]),
        ("GPU-b", ["GPU-b"], ["GPU-b"]),
        ("2", [], []),  # not listed: the scheduler's choice is left unchanged
        ("-1", [], []),
    ],
)
def test_a_choice_of_cards_is_not_widened(machine, monkeypatch, visible, names, uuids):
    machine("GPU-a, 81559, 80994, Default", "GPU-b, 81559, 80994, Default")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [card.name for card in cards()] == names and [card.uuid for card in cards()] == uuids
    if not names:
        own_gpus("auto", 1000)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


def test_a_driver_that_does_not_work_is_no_card(machine):
    machine("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", status=9)
    assert cards() == []
    own_gpus("auto", 1000)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("cuda", "hip", "expected"), [("None", "None", False), ("'13.0'", "None", True), ("None", "'6.4'", True)]
)
def test_torch_for_cpus_has_no_cards(tmp_path, monkeypatch, cuda, hip, expected):
    (tmp_path / "version.py").write_text(f"cuda: Optional[str] = {cuda}\nhip: Optional[str] = {hip}\nxpu = None\n")
    torch = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: torch)
    assert gpus.built_for_gpus() is expected
    if not expected:
        monkeypatch.setattr("sair.pipeline.gpus._installed", lambda: [Card("0", "GPU-a", 8000, 8000)])
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        assert cards() == []


def test_without_gpu_or_with_device_cpu_nothing_happens(machine, tmp_path):
    machine("GPU-a, 81559, 80994, Default")
    own_gpus("cpu", 1000)
    own_gpus("auto", 1000, 0)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ and not list(tmp_path.glob("sair-*"))


@pytest.mark.parametrize(
    ("mib", "gpu_jobs", "exclusive", "expected"),
    [(3000, None, False, 3000), (0, None, False, 8000), (9000, None, False, 8000), (9000, 3, False, 2666),
     (3000, 3, True, 8000)],
)  # fmt: skip
def test_a_job_takes_what_it_needs_or_a_share_of_the_card(mib, gpu_jobs, exclusive, expected):
    assert share(Card("0", "GPU-a", 8000, 8000, exclusive), mib, gpu_jobs) == expected


# --------------------------------------------------------------------------------------------------------------------
# Room on them


@pytest.mark.slow
def test_as_many_jobs_as_fit_share_a_card(machine, start):
    machine("GPU-a, 10000, 10000, Default")
    first, second = start(4000), start(4000)
    assert got(first) == got(second) == "GPU-a"
    third = start(4000)
    assert waits(third)
    first.kill()  # its room is free again, even after a kill
    assert got(third) == "GPU-a"


@pytest.mark.slow
def test_jobs_spread_over_cards_and_one_of_unknown_size_is_alone(machine, start):
    machine("GPU-a, 10000, 9900, Default", "GPU-b, 10000, 9900, Default")
    small, whole = start(1000), start(0)
    assert {got(small), got(whole)} == {"GPU-a", "GPU-b"}
    assert waits(start(0))


@pytest.mark.slow
def test_a_card_that_others_use_comes_last_and_a_small_one_takes_no_large_job(machine, start):
    machine("GPU-a, 10000, 500, Default", "GPU-b, 10000, 9900, Default", "GPU-c, 4000, 4000, Default")
    assert [got(start(6000)) for _ in range(2)] == ["GPU-b", "GPU-a"]
    assert waits(start(6000))


@pytest.mark.slow
def test_small_jobs_do_not_overtake_one_that_has_its_turn(machine, start):
    machine("GPU-a, 10000, 10000, Default")
    first = start(4000)
    got(first)
    whole = start(0)
    assert waits(whole)
    small = start(4000)  # there would be room
    assert waits(small)
    first.kill()
    assert got(whole) == "GPU-a"
    assert small.poll() is None
    whole.kill()
    assert got(small) == "GPU-a"


@pytest.mark.slow
def test_gpu_jobs_and_several_cards_for_one_job(machine, start):
    machine("GPU-a, 10000, 10000, Default", "GPU-b, 10000, 10000, Default")
    assert set(got(start(9000, count=2, gpu_jobs=2)).split(",")) == {"GPU-a", "GPU-b"}
    assert {got(start(9000, gpu_jobs=2)), got(start(9000, gpu_jobs=2))} == {"GPU-a", "GPU-b"}
    assert waits(start(100, gpu_jobs=2))


@pytest.mark.slow
def test_jobs_that_wait_for_one_card_do_not_hold_up_those_of_another(machine, start):
    machine("GPU-a, 10000, 10000, Default", "GPU-b, 10000, 10000, Default")
    assert got(start(0, CUDA_VISIBLE_DEVICES="0")) == "0"
    assert waits(start(0, CUDA_VISIBLE_DEVICES="0"))
    assert got(start(0, CUDA_VISIBLE_DEVICES="1")) == "1"
    assert waits(start(100, CUDA_VISIBLE_DEVICES="1"))


@pytest.mark.slow
def test_jobs_that_start_together_never_reserve_more_than_there_is(machine, start):
    machine("GPU-a, 10000, 10000, Default", "GPU-b, 10000, 10000, Default")
    waiting = [start(6000, CUDA_VISIBLE_DEVICES=visible) for visible in ("0", "1", "0,1") * 2]
    while waiting:
        running = []
        for patience in (60, 2):  # one job starts for certain; a second one only if the other card suits one
            ready = select.select([process.stdout for process in waiting], [], [], patience)[0]
            found = [process for process in waiting if process.stdout in ready]
            running += [(process, got(process)) for process in found]
            waiting = [process for process in waiting if process not in found]
        assert len({name for _, name in running}) == len(running) in (1, 2)
        for process, _ in running:
            process.kill()


def test_a_folder_of_someone_else_is_refused(machine, tmp_path):
    machine("GPU-a, 10000, 10000, Default")
    (tmp_path / f"sair-gpus-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"sair-gpus-\d+: expected a folder of your own"):
        own_gpus("auto", 1000)


# --------------------------------------------------------------------------------------------------------------------
# What jobs need

CARDS = [Card("GPU-a", "GPU-a", 80000, 80000), Card("GPU-b", "GPU-b", 24000, 24000)]


def needs(config, found=(), **over):
    project = Project(merge(config, over))
    return project, GpuNeeds(project, found)


def test_a_need_grows_with_batch_and_pixels_but_shrinks_only_with_the_method(config):
    mini, paper = needs(config), needs(config, preset="paper", image_size=256, training={"batch": 16})
    small, large = (gpu.train(project.method("lama")) for project, gpu in (mini, paper))
    assert small == pytest.approx(1024 * (1 + 1.4 * 1.3), abs=1)
    assert large == pytest.approx(1024 * (1 + 1.4 * 4.69 * 2), abs=1)
    project, gpu = needs(config, preset="paper", image_size=128)
    assert gpu.train(project.method("lama")) == pytest.approx(1024 * (1 + 1.4 * 4.69), abs=1)
    project, gpu = needs(config, preset="paper", image_size=256, training={"batch": 16, "processes": 2})
    assert gpu.train(project.method("lama")) == pytest.approx(2 * 1024 * (1 + 1.4 * 4.69), abs=2)


def test_what_was_not_measured_gets_a_whole_card(config):
    project, gpu = needs(config, CARDS, preset="paper")
    assert gpu.train(project.method("liif_edsr")) == gpu.predict(project.method("liif_edsr")) == 80000
    assert gpu.train(project.method("sair_nfs")) == gpu.train(project.method("sair")) < 24000  # it extends sair
    assert gpu.train(project.encoders["clip"]) == 0  # pretrained: nothing is trained
    assert gpu.available == 104000
    project, gpu = needs(config, CARDS, gpu_jobs=4)
    assert gpu.train(project.method("sair")) == gpu.features() == 6000


def test_every_method_of_the_default_preset_is_measured(config):
    project, gpu = needs(config)
    foreign = ("baselines.command:", "baselines.onnx:", "baselines.diffusers:")  # of unknown size: a card to itself
    own = [spec for spec in project.methods.values() if not spec["class"].startswith(foreign)]
    assert all(0 < gpu.predict(spec) < 4000 for spec in [*own, *project.encoders.values()])
    assert all(gpu.predict(spec) == UNKNOWN for spec in project.methods.values() if spec not in own)
    trained = [spec for spec in project.methods.values() if spec["training"]]
    assert all(0 < gpu.train(spec) < 4000 for spec in trained)


def test_a_machine_without_gpu_has_no_limit_and_device_cpu_no_needs(config):
    assert needs(config)[1].available is None
    project, gpu = needs(config, device="cpu")
    assert {gpu.train(project.method("sair")), gpu.predict(project.method("sair")), gpu.features()} == {0}


def test_every_measurement_is_of_a_method_that_exists(config):
    names = set(re.findall(r"(?m)^      (\w+): ", MEASURED.read_text(encoding="utf-8")))
    project = Project(config)
    assert names and names <= {*project.methods, *project.encoders}


def test_every_rule_with_a_device_reserves_memory():
    rules = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path("workflow/rules").glob("*.smk")))
    blocks = re.split(r"(?m)^(?=(?:use )?rule )", rules)
    computing = [block for block in blocks if "device=" in block]
    assert len(computing) == 7 and all("gpu_mib=" in block for block in computing)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "limit"),
    [((), "10000"), (("--resources", "gpu_mib=7000"), "7000"), (("--config", "device=cpu"), None)],
)
def test_snakemake_hands_out_the_memory_of_the_cards(machine, tmp_path, options, limit):
    machine("GPU-a, 10000, 10000, Default")
    for name in ("workflow", "config"):
        shutil.copytree(name, tmp_path / "project" / name)
    program = tmp_path / "plan.py"
    program.write_text(
        "from sair.pipeline import gpus\n"
        "gpus.built_for_gpus = lambda: True\n"
        "import sys, snakemake.scheduling.job_scheduler as s\n"
        "old = s.JobScheduler.__init__\n"
        "def init(self, workflow, *rest):\n"
        "    old(self, workflow, *rest)\n"
        "    print('available', self.global_resources.get('gpu_mib'), file=sys.stderr)\n"
        "s.JobScheduler.__init__ = init\n"
        "from snakemake.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    result = subprocess.run(
        [sys.executable, program, "-n", "--cores", "16", *options, "--", "results/faces/liif/seed0/scores.csv"],
        cwd=tmp_path / "project", capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert re.search(r"(?m)^available (.*)$", result.stderr)[1] == str(limit)
