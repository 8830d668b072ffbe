"""Train methods. A method defines its losses; this loop handles order, precision, schedule, logs and resuming.

A trainable method is a torch module with

    optimizers() -> {name: optimizer}
    training_step(batch, step) -> {name: scalar to log}, which calls step(name, loss) for each optimizer it steps

so that a GAN's two optimizers, or three stages, are trained like a single loss. A method whose steps all consist of the
same operators may say so by ``repeats_its_step = True``; on a GPU its steps are then replays of a recorded one.

Step k of a run is a pure function of the state before it and of (seed, k), which determine samples and random numbers.
So a run that was killed and resumed gives the same weights as one that was not. Several processes may share each batch
(``sair.training.parallel``).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain, cycle
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from sair.common import runtime
from sair.common.errors import InputError
from sair.common.files import discard, file_sha256, write_csv
from sair.common.progress import progress
from sair.common.signals import ignore_sigterm, on_sigterm
from sair.data.samples import Samples
from sair.data.seeds import mix
from sair.methods import checkpoint, loading
from sair.methods.build import Built, build
from sair.methods.spec import UPKEEP, with_parameters
from sair.training import parallel
from sair.training.cost import training_cost
from sair.training.recorded import RecordedSteps
from sair.training.schedule import lr_scale, total_steps
from sair.training.state import running_state

LOG_EVERY = 50
LOG_COLUMNS = ("step", "lr", "psnr", "loss")  # followed by the method's own columns, by name


def prepare(method: Any) -> dict[str, torch.optim.Optimizer]:
    """Lay out a method's weights for fast training, and return its optimizers by name."""
    # bfloat16 convolutions use channels last; with weights of the other layout their outputs would have it, too.
    method.to(memory_format=torch.channels_last)
    optimizers: dict[str, torch.optim.Optimizer] = method.optimizers()
    for group in chain.from_iterable(optimizer.param_groups for optimizer in optimizers.values()):
        if "fused" in group:  # an option of Adam: one call for all weights instead of several for each
            group["fused"] = True
    return optimizers


class Run:
    """A training run: its method, optimizers and log, and how they are saved and resumed.

    Without ``training`` the method is loaded with the weights that its specification names.

    Args:
        spec: the method's specification (``sair.methods.spec.load_spec``).
        seed: seed of initial weights, samples and steps.
        state: file of the running state, which is removed when the run is complete.
        identity: further facts in which a running state must agree with this run: data, code, device, precision.
        encoder: checkpoint of the trained semantic encoder, for a method with ``semantics``.
        over: checkpoint of the method that this one is built over, if it names one.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        seed: int,
        state: Path,
        identity: list[str],
        encoder: str | Path | None = None,
        over: str | Path | None = None,
    ) -> None:
        self.seed, self.state_file, self.identity = seed, state, identity
        self.training = spec["training"]
        # UPKEEP does not affect the weights, so it is neither stored in the checkpoint nor compared when a run resumes.
        if self.training is not None:
            spec = spec | {"training": {key: value for key, value in self.training.items() if key not in UPKEEP}}
        torch.manual_seed(mix("initial weights", seed))
        generator = semantic = None
        # Add the descriptions of the parts that are already trained, so that all can be built from this checkpoint.
        if over is not None:
            part = {"name": f"the generator of {spec['name']}", **spec["parameters"].get("generator", {})}
            with torch.random.fork_rng(devices=[]):  # the initial weights do not depend on how the generator is built
                generator = loading.load(part, over)
            spec = with_parameters(spec, generator={key: generator.spec[key] for key in ("class", "parameters")})
        if encoder is not None:
            semantic = loading.load_encoder(encoder)
            spec = with_parameters(spec, semantic=semantic.description)
        self.method: Any
        if spec["training"] is not None:
            self.method, self.spec = build(spec), spec
        else:
            built = loading.load(spec, fills_holes=False)
            self.method, self.spec = built.network, built.spec
        if semantic is not None:
            self.method.load_semantic(semantic.dense)
        if generator is not None and over is not None:
            checkpoint.load_weights(self.method.generator, checkpoint.weights_of(generator.network), over)
        self.optimizers = prepare(self.method)
        self.base_lr = {name: [g["lr"] for g in o.param_groups] for name, o in self.optimizers.items()}
        self.done = 0
        self.cost: dict[str, int] = {}  # of one step, once the run is complete
        self.log: list[dict[str, float]] = []
        self.psnr = math.nan

    def note(self, scalars: dict[str, Tensor]) -> None:
        """Add a line to the log: step, learning rate, last validation PSNR, and the method's own scalars."""
        lr = float(next(iter(self.optimizers.values())).param_groups[0]["lr"])
        values = {name: float(value.detach()) for name, value in scalars.items()}
        self.log.append({"step": self.done, "lr": lr, "psnr": self.psnr, **values})

    def set_lr(self, scale: float) -> None:
        """Scale every learning rate of every optimizer."""
        for name, optimizer in self.optimizers.items():
            for group, lr in zip(optimizer.param_groups, self.base_lr[name], strict=True):
                if isinstance(group["lr"], Tensor):  # which a recorded step reads
                    group["lr"].fill_(lr * scale)
                else:
                    group["lr"] = lr * scale

    def save(self) -> None:
        """Write the whole running state."""
        tensors = {f"method/{name}": value for name, value in self.method.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for number, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{name}/{number}/{key}": torch.as_tensor(v) for key, v in state.items()}
        metadata = {"run": self._run(), "done": self.done, "log": self.log, "psnr": self.psnr, "cost": self.cost}
        checkpoint.save(self.state_file, tensors, metadata)

    def _run(self) -> dict[str, Any]:
        return {"spec": self.spec, "seed": self.seed, "identity": self.identity}

    def resume(self) -> None:
        """Continue from the running state, if there is one and it belongs to the same run."""
        if not self.state_file.exists():
            return
        tensors, metadata = checkpoint.load(self.state_file)
        if metadata.get("run") != self._run():
            return
        self.method.load_state_dict(
            {k.removeprefix("method/"): v for k, v in tensors.items() if k.startswith("method/")}
        )
        for name, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"optimizer/{name}/"):
                    number, entry = key.split("/")[2:]
                    # A file has only one layout. In the layout of the weights, Adam is faster and rounds the same way.
                    layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
                    state.setdefault(int(number), {})[entry] = value.contiguous(memory_format=layout)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.done, self.log, self.psnr = metadata["done"], metadata["log"], metadata["psnr"]
        self.cost = metadata.get("cost", {})  # states of earlier versions have none


def fit(
    spec: dict[str, Any],
    images: str | Path,
    masks: str | Path,
    seed: int,
    output: str | Path,
    log: str | Path,
    *,
    encoder: str | Path | None = None,
    over: str | Path | None = None,
    device: str = "auto",
    code: str = "",
    content: Mapping[str, str] = MappingProxyType({}),
    keep_state: bool = False,
) -> None:
    """Train one method on one dataset with one seed, in this process.

    Args:
        spec: the method's specification; one without ``training`` is written as it is loaded.
        images, masks: images.csv and training_masks.csv of the dataset.
        seed: seed of everything that is random.
        output: the checkpoint to write; the running state (``running_state``) is beside it until the run is complete.
        log: train.csv to write: step, lr, psnr of the validation images, and the method's own scalars.
        encoder: checkpoint of the trained semantic encoder, for a method with ``semantics``.
        over: checkpoint of the method that this one is built over, if it names one; it becomes its ``generator``.
        device: ``auto``, ``cpu`` or ``cuda``.
        code: fingerprint of the code; if it differs, a killed run starts again instead of continuing.
        content: digests of the files that the specification names, such as ``pretrained``; if one differs, a killed
            run starts again, too.
        keep_state: whether to leave the running state of the complete run. A run that is started again then only
            writes its files anew, for a caller that may still discard them.

    Raises:
        InputError: an altered sample, a damaged checkpoint, or a loss that is not finite.
    """
    output, training = Path(output), spec["training"]
    samples, validation = (Samples(images, masks, split, seed) for split in ("train", "validation"))
    identity = [code, *(file_sha256(path) for path in (images, masks, encoder, over) if path is not None)]
    if training is not None:  # a run does not continue on another device or in another precision, so resolve `auto`
        on = runtime.device(device)
        identity += [on.type, runtime.precision(training["precision"], on)]
    identity += [f"{path} {digest}" for path, digest in sorted(content.items())]
    run = Run(spec, seed, running_state(output), identity, encoder, over)
    steps, stop = 0, threading.Event()
    if training is not None:  # a pretrained encoder is written out unchanged, so that later rules treat both alike
        fabric = _fabric(training["processes"], device)
        fabric.to_device(run.method)
        run.resume()  # on the device, so that the optimizers' state arrives there too
        steps = total_steps(training, len(samples))
        with on_sigterm(stop.set):  # a cluster's time limit, a shutdown: the current step is completed first
            resumed = run.done
            _steps(run, fabric, samples, validation, steps, stop)
            if runtime.writes() and not run.cost:  # not again by a run that only writes its files anew
                run.cost = training_cost(run.method, run.optimizers, samples, training)
            if keep_state and runtime.writes() and resumed < steps:
                run.save()
    if not runtime.writes():
        return
    write_csv(pd.DataFrame(run.log, columns=list(dict.fromkeys([*LOG_COLUMNS, *sorted(set().union(*run.log))]))), log)
    built = Built(run.method, run.spec, samples.image_size)
    checkpoint.save_method(output, built, seed=seed, steps=steps, **run.cost)
    if not keep_state:
        discard(run.state_file)


class Stepper:
    """The ``step`` argument of a training step, which a method calls with each of its losses: ``step(name, loss)``.

    Args:
        run: the training run.
        fabric: for the backward pass.
        optimizers: the optimizers that Fabric has set up, by name.
    """

    def __init__(self, run: Run, fabric: lightning.Fabric, optimizers: Mapping[str, Any]) -> None:
        self._run, self._fabric, self._optimizers = run, fabric, optimizers
        self._parts, self._clip = (run.training[key] for key in ("accumulate", "clip_gradient"))
        self._part = 0
        self._ids: Sequence[str] = ()
        self._unchecked: list[tuple[Tensor, str, int, Sequence[str]]] = []  # loss, its name, step, images

    def begin(self, part: int, ids: Sequence[str]) -> bool:
        """Begin a batch.

        Args:
            part: number of this part of an optimizer step, from 0 to ``accumulate`` - 1.
            ids: its image ids, for errors.

        Returns:
            Whether it is the last part, after which the optimizers take their step.
        """
        self._part, self._ids = part, ids
        return part == self._parts - 1

    def __call__(self, name: str, loss: Tensor) -> None:
        """Note a loss and apply it."""
        self.note(name, loss)
        self.apply(name, loss)

    def note(self, name: str, loss: Tensor) -> None:
        """Keep a loss's value until the next check."""
        self._unchecked.append((loss.detach(), name, self._run.done + 1, self._ids))

    def apply(self, name: str, loss: Tensor) -> None:
        """Add a loss's gradients; with the last batch of a step, take the optimizer's step."""
        optimizer = self._optimizers[name]
        if self._part == 0:
            optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(loss / self._parts)
        if self._part < self._parts - 1:
            return
        if self._fabric.world_size > 1:
            parallel.average_gradients(optimizer)
        if self._clip:
            self._fabric.clip_gradients(self._run.method, optimizer, max_norm=self._clip)
        optimizer.step()
        # Autocast caches bfloat16 copies of the weights. Clear them, or a second forward pass would use the weights
        # from before this step.
        torch.clear_autocast_cache()

    def check(self) -> None:
        """Check the losses since the last check. It is not called in each step, because the CPU then waits for the GPU.

        Raises:
            InputError: a loss is not finite; the first one is named.
        """
        if not self._unchecked:
            return
        values = torch.stack([loss.float() for loss, *_ in self._unchecked]).tolist()
        for value, (_, name, step, ids) in zip(values, self._unchecked, strict=True):
            if not math.isfinite(value):
                raise InputError(
                    f"{self._run.spec['name']}: the loss of {name!r} is {value} at step {step} (images "
                    f"{', '.join(ids)}). Lower the learning rate, or train with `precision: fp32`."
                )
        self._unchecked.clear()


def _steps(
    run: Run, fabric: lightning.Fabric, samples: Samples, validation: Samples, steps: int, stop: threading.Event
) -> None:
    """Train until ``steps`` steps are done, or until ``stop`` is set."""
    training = run.training
    method = run.method.train()
    optimizers = {name: fabric.setup_optimizers(optimizer) for name, optimizer in run.optimizers.items()}
    step = Stepper(run, fabric, optimizers)
    parts = training["accumulate"]
    a_step = training["batch"] * parts
    first, last, rank = run.done * a_step, steps * a_step, fabric.global_rank
    mine: Any = parallel.shares(first, last, training["batch"], rank, fabric.world_size)
    loader = fabric.setup_dataloaders(
        # A cluster sends SIGTERM to every process of a job: without its data workers the current step would fail.
        DataLoader(samples, batch_sampler=mine, num_workers=training["workers"], worker_init_fn=ignore_sigterm),
        use_distributed_sampler=False,
    )
    take: Any = partial(method.training_step, step=step)
    if _may_record(run, fabric):
        recorded = RecordedSteps(method.training_step, step.apply, run.optimizers.values())
        take = partial(recorded, note=step.note)
    bar = progress(total=steps, initial=run.done, desc=run.spec["name"], unit="step")
    for part, batch in zip(cycle(range(parts)), loader, strict=False):
        complete = step.begin(part, batch["id"])
        torch.manual_seed(mix("step", run.seed, run.done, *([part] if part else [])))
        run.set_lr(lr_scale(training, run.done, steps))
        batch["progress"] = run.done / steps  # for a method that is trained in stages
        # Fabric's own mixed precision is not used: it would also round the images, and so the targets, to bfloat16.
        with runtime.autocast(training["precision"], fabric.device):
            try:
                scalars = take(batch)
            except Exception:
                step.check()  # an earlier loss that was not finite may be the cause
                raise
        if complete:
            run.done += 1
            bar.update()
            # All processes must stop at the same step; otherwise the remaining ones would wait forever in the next
            # all-reduce.
            leave = parallel.any_process(stop.is_set(), fabric.device) if fabric.world_size > 1 else stop.is_set()
            if leave or run.done == steps or any(run.done % every == 0 for every in _occasions(training)):
                step.check()  # before anything is logged or saved
            _after_step(run, scalars, validation, steps, leave, bar)
    bar.close()


def _may_record(run: Run, fabric: lightning.Fabric) -> bool:
    """Return whether steps may be replayed from a recorded one: one process, one batch per step, fixed operators."""
    training, on_gpu = run.training, fabric.device.type == "cuda" and fabric.world_size == 1
    fixed = training["accumulate"] == 1 and not training["clip_gradient"]  # clipping reads the norm of the gradient
    return on_gpu and fixed and getattr(run.method, "repeats_its_step", False)


def _occasions(training: dict[str, Any]) -> tuple[int, ...]:
    """Return the numbers of steps after which something is logged, validated or saved."""
    return LOG_EVERY, training["validate_every"], training["save_every"]


def _fabric(processes: int, device: str) -> lightning.Fabric:
    """Set up Fabric for this process, or for one of several that ``sair.pipeline.train`` started."""
    accelerator = runtime.device(device).type
    if accelerator == "cuda" and processes > torch.cuda.device_count():
        raise InputError(
            f"training: {processes} processes need a GPU each, but {torch.cuda.device_count()} are visible. Lower "
            "`processes`."
        )
    # Else Fabric would take a Slurm or MPI job around it for the launcher of its processes, and refuse other numbers.
    environment = TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()
    strategy = "ddp" if processes > 1 else "auto"
    fabric = lightning.Fabric(accelerator=accelerator, strategy=strategy, devices=processes, plugins=environment)
    fabric.launch()
    return fabric


def _after_step(run: Run, scalars: dict[str, Tensor], validation: Samples, steps: int, leave: bool, bar: tqdm) -> None:
    """Validate, log and save when it is due, and end the process if it was asked to stop."""
    training, last = run.training, run.done == steps
    if runtime.writes() and (run.done % training["validate_every"] == 0 or last):
        run.psnr = validation_psnr(run.method, validation)
        run.method.train()
    if run.done % LOG_EVERY == 0 or last:
        run.note(scalars)
        bar.set_postfix(loss=f"{run.log[-1]['loss']:.4f}", val_psnr=f"{run.psnr:.2f}", refresh=False)
    if last:
        return
    if runtime.writes() and (run.done % training["save_every"] == 0 or leave):
        run.save()
    if leave:
        name = run.spec["name"]
        raise SystemExit(
            f"{name}: stopped on request; state saved after step {run.done}. Run the same command to continue."
        )


@torch.no_grad()
def validation_psnr(method: Any, samples: Samples) -> float:
    """Return the mean PSNR in dB of the composited validation images, in floats; nan for a semantic encoder."""
    if not hasattr(method, "inpaint") or len(samples) == 0:
        return math.nan
    method.eval()
    device = next(method.parameters()).device
    values = []
    for k in range(len(samples)):
        image, mask = (samples[k][key][None].to(device) for key in ("images", "masks"))
        error = (method.inpaint(image * (1 - mask), mask) - image) * mask
        values.append(-10 * math.log10(max(error.square().mean().item(), 1e-10)))
    return float(np.mean(values))
