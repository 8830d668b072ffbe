"""One training by several processes, a GPU each: every batch is shared, and the run is that of one process.

Each process takes its part of every batch, draws the random numbers of the whole batch, and averages its gradients with
the others' before a step; so the weights are those of one process with the same batch, up to the order of sums. A loss
that looks at the batch as a whole (batch normalisation, a mean over the batch's hole pixels) sees the part alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import distributed
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from sair.common.errors import InputError


def shares(first: int, last: int, batch: int, rank: int, processes: int) -> Iterator[range]:
    """Samples of each batch from ``first`` to ``last`` that are one process's part.

    Raises:
        InputError: the batch cannot be shared evenly.
    """
    if batch % processes:
        raise InputError(f"training: a batch of {batch} cannot be shared by {processes} processes. Make it a multiple.")
    part = batch // processes
    return (range(start + rank * part, start + (rank + 1) * part) for start in range(first, last, batch))


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Give every process the mean of all processes' gradients."""
    found = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    together = _flatten_dense_tensors(found)  # one message instead of hundreds
    distributed.all_reduce(together)
    together /= distributed.get_world_size()
    for gradient, mean in zip(found, _unflatten_dense_tensors(together, found), strict=True):
        gradient.copy_(mean)


def anybody(flag: bool, device: torch.device) -> bool:
    """Whether any process says yes."""
    votes = torch.tensor(float(flag), device=device)
    distributed.all_reduce(votes)
    return bool(votes)
