"""Define the base of the published methods: painting, optimizers, stages of training, and saving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from baselines.networks import evaluating, plain_state

# Called with an optimizer's name and its loss: runs the backward pass and the update.
Step = Callable[[str, Tensor], None]


class PublishedMethod(nn.Module):
    """A published method: networks that paint, networks that are used only in training, and a training step.

    A subclass creates its networks, sets ``learning_rates``, and defines ``paint`` and ``training_step``.

    Attributes:
        painting: names of the networks that paint. A checkpoint contains only these.
        learning_rates: Adam's learning rate for each network that is trained, by the network's name.
        betas: Adam's betas, for all networks.
    """

    painting: tuple[str, ...] = ("generator",)
    learning_rates: dict[str, float]
    betas: tuple[float, float] = (0.9, 0.999)

    def paint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Paint the whole image; ``inpaint`` calls it in evaluation mode and without gradients.

        Args:
            images: (B, 3, H, W) in [0, 1].
            masks: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1], not composited.
        """
        raise NotImplementedError

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Fill holes, in evaluation mode and without gradients.

        Args:
            images: (B, 3, H, W) in [0, 1], hole pixels zero; any size.
            masks: (B, 1, H, W) in {0, 1}, 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1]: the whole painted image, not composited.
        """
        with evaluating(*(getattr(self, name) for name in self.painting)):
            return self.paint(images, masks)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return an Adam for each network that is trained, by the network's name."""
        return {
            name: torch.optim.Adam(getattr(self, name).parameters(), lr=rate, betas=self.betas)
            for name, rate in self.learning_rates.items()
        }

    def training_step(self, batch: Mapping[str, Any], step: Step) -> dict[str, Tensor]:
        """Make one step of every network that the current stage trains.

        Args:
            batch: ``images`` (B, 3, H, W) complete, in [0, 1]; ``masks`` (B, 1, H, W), 1 = hole; ``progress``, the
                share of the run that is done, in [0, 1), 0 if it is missing.
            step: called with an optimizer's name and its loss; runs the backward pass and the update.

        Returns:
            scalars to log, weighted as they enter the losses, without gradients.
        """
        raise NotImplementedError

    def weights_to_save(self) -> dict[str, Tensor]:
        """Return the weights of the painting networks, with spectral norm folded, as ``<network>.<weight>``."""
        return {
            f"{network}.{name}": value
            for network in self.painting
            for name, value in plain_state(getattr(self, network)).items()
        }


class Stages:
    """The stages of a training run, in order.

    Args:
        shares: share of the run by the stage's name; they need not add up to 1.
        default: the stages in their order, with the shares that are used if ``shares`` is None.

    Raises:
        ValueError: other names than the stages', a negative share, or only zeros.
    """

    def __init__(self, shares: Mapping[str, float] | None, default: Mapping[str, float]) -> None:
        given = default if shares is None else shares
        if (
            not isinstance(given, Mapping)
            or given.keys() != default.keys()
            or min(given.values()) < 0
            or sum(given.values()) <= 0
        ):
            names = ", ".join(default)
            raise ValueError(f"stages {shares!r}: expected each stage's share of the run, for {names}.")
        self._shares = {name: given[name] for name in default}

    def at(self, progress: float | Tensor) -> str:
        """Return the name of the stage at ``progress`` of the run, in [0, 1)."""
        total, reached = sum(self._shares.values()), 0.0
        *earlier, last = self._shares
        for name in earlier:
            reached += self._shares[name] / total
            if progress < reached:
                return name
        return last


def detached(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the terms of a loss without their gradients, to be logged."""
    return {name: value.detach() for name, value in terms.items()}
