"""Test the one training loop: resuming, faults, and self-describing checkpoints."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import lightning
import pandas as pd
import psutil
import pytest
import torch
import yaml
from lightning.fabric.plugins.environments import LightningEnvironment

from baselines.lama import LaMa
from sair.common import runtime
from sair.common.errors import InputError
from sair.common.files import file_sha256
from sair.methods import checkpoint
from sair.pipeline import train as launch
from sair.training import loop

PARAMETERS = {
    "encoder": {"name": "app", "channels": 4, "blocks": 1},
    "air": {"name": "liif", "hidden": [8], "unfold": True},
    "queries": 64,
    "lr": 1e-3,
}
TRAINING = {
    "steps": 8, "scale": 1, "batch": 2, "accumulate": 1, "processes": 1, "precision": "fp32", "schedule": "cosine",
    "halve_every": 0.5, "warmup": 2, "clip_gradient": 0, "validate_every": 50, "save_every": 3, "workers": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory, frozen_split):
    return frozen_split(tmp_path_factory.mktemp("data"), train=10, validation=2, masks=9).parent


def spec(cls="sair.models.inpainter:ImplicitInpainter", parameters=PARAMETERS, **training):
    return {
        "name": "tiny",
        "class": cls,
        "semantics": None,
        "sees_truth": False,
        "parameters": parameters,
        "training": TRAINING | training,
    }


LAMA = {"channels": 4, "blocks": 1, "downsamplings": 2, "discriminator_channels": 4, "discriminator_downsamplings": 2}


def run(data, out, recipe, seed=0, **options):
    files = (out / "checkpoint.safetensors", out / "train.csv")
    loop.fit(recipe, data / "images.csv", data / "masks.csv", seed, *files, **options)
    return file_sha256(out / "checkpoint.safetensors"), (out / "train.csv").read_bytes()


class Killed(BaseException):
    pass


def killed(data, out, recipe, monkeypatch, at=5):
    """Train until step ``at``, which is not taken."""
    scale = loop.lr_scale

    def dies(training, step, steps):
        if step + 1 == at:
            raise Killed
        return scale(training, step, steps)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "lr_scale", dies)
        with pytest.raises(Killed):
            run(data, out, recipe)


@pytest.mark.parametrize(
    "recipe",
    [
        spec(),
        pytest.param(spec("baselines.lama:LaMa", LAMA), marks=pytest.mark.slow),
        pytest.param(spec(workers=1), marks=pytest.mark.slow),
    ],
    ids=["liif", "lama", "workers"],
)
@pytest.mark.parametrize("kill_at", [2, 5, 8])
def test_a_killed_and_resumed_run_gives_the_same_bytes(data, tmp_path, monkeypatch, recipe, kill_at):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    expected = run(data, tmp_path / "whole", recipe)
    killed(data, tmp_path / "killed", recipe, monkeypatch, kill_at)
    assert (tmp_path / "killed/running.safetensors").exists() == (kill_at > 3)
    assert not (tmp_path / "killed/checkpoint.safetensors").exists()
    assert run(data, tmp_path / "killed", recipe) == expected
    assert not (tmp_path / "killed/running.safetensors").exists()


def test_a_running_state_of_another_run_is_not_used(data, tmp_path, monkeypatch):
    expected = run(data, tmp_path / "whole", spec())
    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_csv", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run(data, tmp_path / "other", spec(), seed=1)
    assert (tmp_path / "other/running.safetensors").exists()
    assert run(data, tmp_path / "other", spec()) == expected


def test_a_running_state_of_other_code_is_not_used(tmp_path):
    state = tmp_path / "running.safetensors"
    old = loop.Run(spec(), 0, state, ["old code"])
    old.done = 4
    old.save()
    for identity, done in ((["old code"], 4), (["new code"], 0)):
        new = loop.Run(spec(), 0, state, identity)
        new.resume()
        assert new.done == done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "goes_on"),
    [
        ({"workers": 1}, True),
        ({"save_every": 2}, True),
        ({"validate_every": 1}, True),
        ({"batch": 1}, False),
        ({"precision": "bf16"}, False),
    ],
    ids=str,
)
def test_a_running_state_goes_on_under_settings_that_decide_no_weight(data, tmp_path, monkeypatch, change, goes_on):
    expected = run(data, tmp_path / "whole", spec(**change))
    killed(data, tmp_path / "killed", spec(), monkeypatch)
    begun = []
    with monkeypatch.context() as patch:
        scale = loop.lr_scale
        patch.setattr(loop, "lr_scale", lambda *where: begun.append(where[1]) or scale(*where))
        found = run(data, tmp_path / "killed", spec(**change))
    assert (begun[0] == 3) == goes_on
    if goes_on:
        assert found[0] == expected[0] == run(data, tmp_path / "plain", spec())[0]


@pytest.mark.parametrize("became", ["bf16", "fp32"])
def test_a_running_state_belongs_to_the_precision_that_auto_became(data, tmp_path, monkeypatch, became):
    """On another kind of machine `auto` is another precision, so half of the training would be another method."""
    monkeypatch.setattr(runtime, "fast_bfloat16", lambda on: became == "bf16")
    killed(data, tmp_path / "killed", spec(precision="auto"), monkeypatch)
    for fast, first in ((became == "bf16", 3), (became != "bf16", 0)):
        shutil.copytree(tmp_path / "killed", tmp_path / str(fast))
        begun = []
        with monkeypatch.context() as patch:
            scale = loop.lr_scale
            patch.setattr(runtime, "fast_bfloat16", lambda on, fast=fast: fast)
            patch.setattr(loop, "lr_scale", lambda *where: begun.append(where[1]) or scale(*where))  # noqa: B023
            run(data, tmp_path / str(fast), spec(precision="auto"))
        assert begun[0] == first


def test_a_running_state_of_other_pretrained_files_is_not_used(data, tmp_path):
    state = tmp_path / "running.safetensors"
    files = {
        "images": data / "images.csv",
        "masks": data / "masks.csv",
        "output": tmp_path / "checkpoint.safetensors",
    }
    seen = []

    class Stop(loop.Run):
        def __init__(self, *arguments):
            seen.append(arguments[3])
            raise Killed

    for digest in ("1", "1", "2"):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(loop, "Run", Stop)
            loop.fit(spec(), seed=0, log=state, content={"g.pth": digest}, **files)
    assert seen[0] == seen[1] != seen[2]


def test_seeds_differ_and_repeat(data, tmp_path):
    first, again, other = (run(data, tmp_path / n, spec(), seed)[0] for n, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first == again != other


@pytest.mark.slow
def test_training_reduces_the_loss(data, tmp_path):
    run(data, tmp_path, spec(steps=300, parameters=PARAMETERS | {"lr": 5e-3}))
    log = pd.read_csv(tmp_path / "train.csv")
    assert list(log.columns) == ["step", "lr", "psnr", "loss"] and list(log.step) == [*range(50, 301, 50)]
    assert log.loss.iloc[-1] < 0.8 * log.loss.iloc[0]
    assert log.psnr.iloc[-1] > log.psnr.iloc[0] > 5


def test_a_loss_that_is_not_finite_stops_and_names_the_images(data, tmp_path):
    recipe = spec(parameters=PARAMETERS | {"lr": 1e30}, warmup=1)
    with pytest.raises(InputError, match=r"tiny: the loss of 'sair' is nan at step \d.*images train0"):
        run(data, tmp_path, recipe)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_losses_are_checked_before_a_state_is_saved(data, tmp_path):
    recipe = spec(parameters=PARAMETERS | {"lr": 1e30}, warmup=1, save_every=4)
    with pytest.raises(InputError, match=r"tiny: the loss of 'sair' is nan at step [234] \(images train0"):
        run(data, tmp_path, recipe)
    assert not (tmp_path / "running.safetensors").exists()


def test_a_checkpoint_alone_builds_its_method(data, tmp_path):
    run(data, tmp_path, spec())
    built, again = (checkpoint.restore(tmp_path / "checkpoint.safetensors") for _ in range(2))
    assert (built.spec["parameters"], built.image_size) == (PARAMETERS, 32)
    metadata = checkpoint.load(tmp_path / "checkpoint.safetensors")[1]
    assert (metadata["seed"], metadata["steps"]) == (0, 8)
    assert metadata["parameters"] > 100 and metadata["operations"] > 100 * metadata["parameters"]
    images, masks = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    assert torch.equal(built.network.inpaint(images, masks), again.network.inpaint(images, masks))


def test_faulty_checkpoints_are_refused(data, tmp_path):
    run(data, tmp_path, spec())
    path = tmp_path / "checkpoint.safetensors"
    tensors, metadata = checkpoint.load(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match="damaged checkpoint"):
        checkpoint.restore(path)
    with pytest.raises(InputError, match=r"no such checkpoint\. Train it first: snakemake"):
        checkpoint.restore(tmp_path / "nothing.safetensors")
    name = next(iter(tensors))
    for change, message in (
        ({k: v for k, v in tensors.items() if k != name}, f"missing: {name}"),
        (tensors | {"extra": torch.zeros(1)}, "left over: extra"),
        (tensors | {name: torch.zeros(1)}, rf"{name} \(1,\), expected"),
    ):
        checkpoint.save(path, change, metadata)
        with pytest.raises(InputError, match=message):
            checkpoint.restore(path)


class TwoPasses(torch.nn.Module):
    """Steps its weight and then uses it again, as the discriminator step of a GAN uses the generator."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1, bias=False)
        self.seen = []

    def optimizers(self):
        return {"two": torch.optim.SGD(self.parameters(), lr=1.0)}

    def training_step(self, batch, step):
        one = torch.ones(1, 1)
        step("two", self.layer(one).square().sum())
        self.seen.append((float(self.layer(one)), float(self.layer.weight)))
        return {"loss": torch.zeros(())}


def test_a_pass_after_a_step_sees_the_stepped_weights(data, tmp_path, monkeypatch):
    """This also holds in bfloat16, where autocast keeps rounded copies of them."""
    method = TwoPasses()
    monkeypatch.setattr(loop, "build", lambda recipe: method)
    run(data, tmp_path, spec(precision="bf16", steps=3))
    assert len(method.seen) == 3
    for seen, weight in method.seen:
        assert seen == pytest.approx(weight, rel=0.01)


@pytest.mark.slow
def test_a_method_over_another_starts_from_its_weights(data, tmp_path):
    run(data, tmp_path / "below", spec("baselines.lama:LaMa", LAMA))
    recipe = spec("test_training:Over", {"generator": {"class": "baselines.lama:LaMa", "parameters": LAMA}}, steps=1)
    path = tmp_path / "below/checkpoint.safetensors"
    loop.fit(recipe, data / "images.csv", data / "masks.csv", 1, tmp_path / "a", tmp_path / "a.csv", over=path)
    below, above = checkpoint.restore(path).network.state_dict(), checkpoint.load(tmp_path / "a")[0]
    painted = {key: value for key, value in below.items() if key.startswith("generator.")}
    assert painted and all(torch.equal(value, above[f"generator.{key}"]) for key, value in painted.items())


class Over(torch.nn.Module):
    """Adds a constant to what another method paints."""

    def __init__(self, generator):
        super().__init__()
        self.generator = LaMa(**generator["parameters"]).requires_grad_(False)
        self.shift = torch.nn.Parameter(torch.zeros(1))

    def inpaint(self, images, masks):
        return self.generator.inpaint(images, masks) + self.shift

    def optimizers(self):
        return {"shift": torch.optim.Adam([self.shift])}

    def training_step(self, batch, step):
        loss = (self.shift - 1).square().mean()
        step("shift", loss)
        return {"loss": loss.detach()}


class Averages(torch.nn.Module):
    """Moves its weight towards the mean of the images."""

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(3))
        self.names = []

    def optimizers(self):
        return {"mean": torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)}

    def training_step(self, batch, step):
        self.names.append(tuple(batch["id"]))
        loss = (self.mean[:, None, None] - batch["images"]).square().mean()
        step("mean", loss)
        return {"loss": loss.detach()}


def test_accumulated_batches_step_as_one(data, tmp_path, monkeypatch):
    """Four batches of 2 equal one of 8: the same images in the same order give the same weights."""
    found = []
    for batch, accumulate in ((8, 1), (2, 4)):
        method = Averages()
        monkeypatch.setattr(loop, "build", lambda recipe, method=method: method)
        run(data, tmp_path / str(batch), spec(batch=batch, accumulate=accumulate, steps=5))
        found.append((sum(method.names, ()), method.mean.detach()))
    assert found[0][0] == found[1][0] and len(found[0][0]) == 40
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6) and found[0][1].abs().min() > 0.05


def test_a_full_disk_leaves_nothing_half_written(data, tmp_path):
    """No file may grow beyond 2 KiB: the first saving fails, and the run starts again from what was there before."""
    expected = run(data, tmp_path / "whole", spec())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        with pytest.raises(InputError, match=r"running\.safetensors: cannot be written .*Free space there"):
            run(data, tmp_path / "full", spec())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "full").iterdir())
    assert run(data, tmp_path / "full", spec()) == expected


def test_asked_to_stop_it_saves_and_goes_on_to_the_same_weights(data, tmp_path):
    whole = run(data, tmp_path / "whole", spec("test_training:Interrupted", {}))
    with pytest.raises(SystemExit, match=r"stopped on request; state saved after step 4\. Run the same command"):
        run(data, tmp_path / "cut", spec("test_training:Interrupted", {"at": 4}))
    assert not (tmp_path / "cut/checkpoint.safetensors").exists()
    state = tmp_path / "cut/running.safetensors"
    tensors, metadata = checkpoint.load(state)
    metadata["run"]["spec"]["parameters"] = {}  # the resumed method is not interrupted
    checkpoint.save(state, tensors, metadata)
    assert run(data, tmp_path / "cut", spec("test_training:Interrupted", {})) == whole


class Interrupted(Averages):
    """Sends its process the signal of a cluster's time limit in the middle of a step."""

    def __init__(self, at=None):
        super().__init__()
        self.at = at

    def training_step(self, batch, step):
        if len(self.names) + 1 == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().training_step(batch, step)


def test_a_complete_training_whose_files_are_discarded_is_not_computed_again(data, tmp_path, monkeypatch):
    """As a cluster does if the time limit is reached in the last step, or while the job ends."""
    recipe = spec("test_training:Interrupted", {"at": 8})
    expected = run(data, tmp_path, recipe, keep_state=True)
    for name in ("checkpoint.safetensors", "train.csv"):
        (tmp_path / name).unlink()
    monkeypatch.setattr(Averages, "training_step", lambda *_: pytest.fail("a step was computed again"))
    assert run(data, tmp_path, recipe, keep_state=True) == expected
    assert (tmp_path / "running.safetensors").exists()
    assert run(data, tmp_path, recipe) == expected
    assert not (tmp_path / "running.safetensors").exists()


class GroupInterrupted(Interrupted):
    """Sends the signal to every process of the job, as Slurm does."""

    def training_step(self, batch, step):
        if len(self.names) + 1 == self.at:
            workers = [str(worker.pid) for worker in psutil.Process().children(recursive=True)]
            subprocess.run(["kill", "-TERM", *workers])  # by another process: from their parent they would accept it
            time.sleep(0.3)
        return super().training_step(batch, step)


@pytest.mark.slow
def test_a_signal_to_its_data_workers_too_does_not_keep_a_training_from_saving(data, tmp_path):
    with pytest.raises(SystemExit, match=r"state saved after step 4"):
        run(data, tmp_path, spec("test_training:GroupInterrupted", {"at": 4}, workers=2))
    assert (tmp_path / "running.safetensors").exists()


STOPPED = """
import sys, yaml
from sair.pipeline.train import train
recipe, arguments = yaml.safe_load(sys.stdin)
train(2, recipe, **arguments)
"""


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["the first process", "all processes"])
def test_several_processes_that_are_asked_to_stop_save_their_state(data, tmp_path, whom):
    recipe = spec(processes=2, batch=4, steps=4000, save_every=3)
    files = {"images": data / "images.csv", "masks": data / "masks.csv"}
    files |= {"output": tmp_path / "checkpoint.safetensors", "log": tmp_path / "train.csv"}
    given = yaml.safe_dump([recipe, {"seed": 0, "device": "cpu"} | {name: str(path) for name, path in files.items()}])
    first = subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stderr=(tmp_path / "log").open("w"), text=True
    )
    first.stdin.write(given)
    first.stdin.close()
    state = tmp_path / "running.safetensors"
    while not state.exists():
        assert first.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.02)
    others = psutil.Process(first.pid).children(recursive=True)
    for process in [first, *others] if whom == "all processes" else [first]:
        process.send_signal(signal.SIGTERM)
    assert first.wait(60) == 1
    printed = (tmp_path / "log").read_text()
    [done] = set(re.findall(r"tiny: stopped on request; state saved after step (\d+)", printed))
    assert checkpoint.load(state)[1]["done"] == int(done)
    assert not psutil.wait_procs(others, 10)[1]


SLURM = {
    "SLURM_JOB_ID": "35",
    "SLURM_JOB_NAME": "driver",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}
SLURM |= {"SLURM_NODEID": "0", "SLURM_NODELIST": "node1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_JOB_NODELIST": "node1"}


@pytest.mark.parametrize("around", ["no job", "one task", "four tasks", "third task"])
def test_a_job_around_a_training_does_not_launch_its_processes(tmp_path, monkeypatch, recwarn, around):
    """Neither ``srun``, which is on the path of a login node, nor the tasks of a job concern a training's processes."""
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    changes = {"four tasks": {"SLURM_NTASKS": "4"}, "third task": {"SLURM_NTASKS": "4", "SLURM_PROCID": "2"}}
    for name, value in ({} if around == "no job" else SLURM | changes.get(around, {})).items():
        monkeypatch.setenv(name, value)
    if around == "four tasks":  # as `sbatch --ntasks=4` sets them
        monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    for count in (1, 2):
        # Not launched: that would start a second process.
        monkeypatch.setattr(lightning.Fabric, "launch", lambda fabric: None)
        fabric = loop._fabric(count, "cpu")
        environment = fabric._connector.cluster_environment
        assert isinstance(environment, LightningEnvironment) and fabric.global_rank == 0
        assert fabric._strategy.num_processes == count if count > 1 else fabric.world_size == 1
    assert not [warning for warning in recwarn if "srun" in str(warning.message)]


def launched(recipe, data, out):
    """Train with the number of processes in the recipe."""
    files = {"images": data / "images.csv", "masks": data / "masks.csv"}
    files |= {"output": out / "checkpoint.safetensors", "log": out / "train.csv"}
    launch.train(2, recipe, seed=0, device="cpu", **{name: str(path) for name, path in files.items()})


@pytest.mark.slow
def test_two_processes_train_as_one(data, tmp_path):
    """Their batches, random pixels and gradients together equal those of one process."""
    parameters = PARAMETERS | {"hole_share": 0.5, "queries": 65}
    for processes in (1, 2):
        recipe = spec(parameters=parameters, processes=processes, batch=4, accumulate=2, clip_gradient=1.0)
        launched(recipe, data, tmp_path / str(processes))
    one, two = (checkpoint.load(tmp_path / n / "checkpoint.safetensors")[0] for n in "12")
    start = loop.Run(spec(parameters=parameters), 0, tmp_path / "state", []).method.state_dict()
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=1e-5)
    assert max((one[name] - start[name]).abs().max() for name in one) > 1e-3
    assert pd.read_csv(tmp_path / "2/train.csv").psnr.notna().all()


@pytest.mark.slow
def test_processes_must_divide_the_batch(data, tmp_path):
    with pytest.raises(InputError, match=r"a batch of 3 cannot be shared by 2 processes\. Make it a multiple\."):
        launched(spec(batch=3, processes=2), data, tmp_path)
    assert not (tmp_path / "checkpoint.safetensors").exists()
