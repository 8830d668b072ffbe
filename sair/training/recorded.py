"""Replay a training step on a GPU as a CUDA graph.

A step of a small network launches a thousand small kernels, which the CPU cannot launch as fast as the GPU computes
them. A CUDA graph is recorded once and launched at once. Its kernels and their order are those of an ordinary step, so
the weights are the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # ordinary steps before the recording: the first ones choose kernels and create the optimizers' state

Apply = Callable[[str, Tensor], None]


class RecordedSteps:
    """Training steps of one method on a GPU: a few ordinary ones, then replays of one recorded step.

    It suits methods with ``repeats_its_step``, which compute each step with the same operators on batches of one
    shape: what depends on the number of the step, on a value of a tensor or on Python's random numbers would be
    recorded as it was. Torch's random numbers follow its seed, as in an ordinary step.

    Args:
        training_step: the method's ``training_step(batch, step)``.
        apply: computes gradients of a named loss and takes its optimizer's step.
        optimizers: all optimizers that ``apply`` steps, fused ones. A learning rate becomes a tensor on the GPU, which
            may be changed between steps, in place.
    """

    def __init__(
        self,
        training_step: Callable[[Mapping[str, Any], Apply], dict[str, Tensor]],
        apply: Apply,
        optimizers: Iterable[torch.optim.Optimizer],
    ) -> None:
        self._training_step, self._apply = training_step, apply
        self._groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group in self._groups:
            group["lr"] = torch.tensor(group["lr"], device=group["params"][0].device)
        self._stream = torch.cuda.Stream()
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: dict[str, Any] = {}
        self._losses: list[tuple[str, Tensor]] = []
        self._scalars: dict[str, Tensor] = {}

    def __call__(self, batch: Mapping[str, Any], note: Apply) -> dict[str, Tensor]:
        """Take a step.

        Args:
            batch: tensors and other values; the tensors' shapes are those of the first call.
            note: called with the name and the value of each loss.

        Returns:
            The method's scalars, as its ``training_step`` returns them, without gradients.
        """
        if self._taken < WARM_UP:
            self._taken += 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._step(batch)
            torch.cuda.current_stream().wait_stream(self._stream)
        else:
            if self._graph is None:
                self._record(batch)
            assert self._graph is not None
            for name, value in self._batch.items():
                if isinstance(value, Tensor):
                    value.copy_(batch[name])
            self._graph.replay()
        for name, loss in self._losses:
            note(name, loss.clone())
        return {name: value.clone() for name, value in self._scalars.items()}

    def _step(self, batch: Mapping[str, Any]) -> None:
        """Take an ordinary step, and keep its losses and scalars."""
        self._losses = []

        def step(name: str, loss: Tensor) -> None:
            self._losses.append((name, loss.detach()))
            self._apply(name, loss)

        self._scalars = {name: value.detach() for name, value in self._training_step(batch, step).items()}

    def _record(self, batch: Mapping[str, Any]) -> None:
        """Record a step on copies of a batch's tensors. Nothing is computed yet."""
        self._batch = {name: x.clone() if isinstance(x, Tensor) else x for name, x in batch.items()}
        for group in self._groups:
            group["capturable"] = True  # allows a step inside a recording; a fused one is the same without
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._step(self._batch)
