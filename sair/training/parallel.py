"""Share one training among several processes, with a GPU each.

Each process takes its part of every batch and draws the random numbers of the whole batch. Gradients are averaged
over all processes before a step. So the weights are those of one process with the same batch, up to the order of sums.
A loss that depends on the batch as a whole (batch normalisation, a mean over the batch's hole pixels) is computed from
the part alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import distributed
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from sair.common.errors import InputError


def shares(first: int, last: int, batch: int, rank: int, processes: int) -> Iterator[range]:
    """Return the part of each batch that one process takes.

    Args:
        first, last: number of the first sample, and number after the last sample.
        batch: number of samples in a whole batch.
        rank: number of the process, from 0.
        processes: number of processes.

    Returns:
        Numbers of samples, one range per batch.

    Raises:
        InputError: the batch cannot be shared evenly.
    """
    if batch % processes:
        raise InputError(f"training: a batch of {batch} cannot be shared by {processes} processes. Make it a multiple.")
    part = batch // processes
    return (range(start + rank * part, start + (rank + 1) * part) for start in range(first, last, batch))


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Replace every process's gradients by their mean over all processes."""
    found = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    together = _flatten_dense_tensors(found)  # one transfer instead of hundreds
    distributed.all_reduce(together)
    together /= distributed.get_world_size()
    for gradient, mean in zip(found, _unflatten_dense_tensors(together, found), strict=True):
        gradient.copy_(mean)


def any_process(flag: bool, device: torch.device) -> bool:
    """Return whether ``flag`` is true in any process."""
    votes = torch.tensor(float(flag), device=device)
    distributed.all_reduce(votes)
    return bool(votes)
