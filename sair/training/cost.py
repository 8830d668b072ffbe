"""Count what a training costs on any machine: trainable parameters, and arithmetic operations per step."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import default_collate
from torch.utils.flop_counter import flop_registry

from sair.data.samples import Samples

_IMAGES = 2  # of the counted batch; operations grow in proportion
_STAGES = 10  # points of a run at which a method that is trained in stages is counted


def training_cost(
    method: Any, optimizers: Mapping[str, torch.optim.Optimizer], samples: Samples, training: Mapping[str, Any]
) -> dict[str, int]:
    """Return the cost of one optimizer step, for the metadata of a checkpoint.

    A copy of the method takes training steps on the CPU, so that the count is the same on every device, and the method
    and its random numbers stay as they are. Counted are products of matrices and convolutions, forward and backward, a
    multiplication and an addition as two operations (formulas of ``torch.utils.flop_counter``).

    Args:
        method: the trained method.
        optimizers: its optimizers.
        samples: training samples.
        training: settings of the training.

    Returns:
        ``parameters``, the number of trainable parameters, and ``operations``, of one step with its whole batch. If the
        method cannot take a step on a CPU, a line on stderr says so, and the latter is missing.
    """
    groups = chain.from_iterable(optimizer.param_groups for optimizer in optimizers.values())
    parameters = {id(weight): weight.numel() for group in groups for weight in group["params"] if weight.requires_grad}
    cost = {"parameters": sum(parameters.values())}
    batch = default_collate([samples[k] for k in range(min(_IMAGES, len(samples)))])
    try:
        with torch.random.fork_rng(devices=[]):
            own = copy.deepcopy(method).cpu().float().train()
            per_batch = _mean_count(own, batch)
    except Exception as error:  # a complete training is worth more than its cost
        print(f"operations of a training step were not counted ({error})", file=sys.stderr)
        return cost
    whole = training["batch"] * training["accumulate"]
    return cost | {"operations": round(per_batch * whole / len(batch["id"]))}


def _mean_count(method: Any, batch: dict[str, Any]) -> float:
    """Return the operations of one batch, averaged over a run if they change in its course."""
    points = [(k + 0.5) / _STAGES for k in range(_STAGES)]
    few = [_count(method, batch, at) for at in (points[0], points[_STAGES // 2], points[-1])]
    if len(set(few)) == 1:
        return float(few[0])
    counts: Sequence[int] = [_count(method, batch, at) for at in points]
    return sum(counts) / len(counts)


def _count(method: Any, batch: dict[str, Any], progress: float) -> int:
    torch.manual_seed(0)

    def step(name: str, loss: torch.Tensor) -> None:
        loss.backward()

    with _Counter() as counter:
        method.training_step(batch | {"progress": progress}, step)
    method.zero_grad(set_to_none=True)
    return counter.operations


class _Counter(TorchDispatchMode):
    """Add up the operations of all operators. torch's ``FlopCounterMode`` fails if a loss calls ``autograd.grad``."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=result)
        return result
