"""Describe the published methods in a tiny size, and the form of their authors' files."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from baselines.edgeconnect import EdgeConnect
from baselines.jpgnet import JPGNet
from baselines.lama import LaMa
from baselines.misf import MISF
from baselines.rfrnet import RFRNet
from baselines.structureflow import StructureFlow


class Painter(nn.Module):
    """Replaces the method under JPGNet: it paints one colour."""

    def __init__(self, pretrained=None):
        super().__init__()
        self.colour = nn.Parameter(torch.full((1, 3, 1, 1), 0.9))
        self.pretrained = pretrained

    def inpaint(self, images, masks):
        assert (images * masks).abs().max() == 0, "the painter must not see the hole"
        return self.colour.detach().expand_as(images)

    def weights_to_save(self):
        return {"paint": self.colour.detach()}


PAINTER = {"class": "helpers.published:Painter"}


def below_generator(state):
    """Nest weights as most of the authors do."""
    return {"iteration": 7, "generator": state}


def of_lightning(state):
    """Nest weights as in LaMa's files."""
    return {"state_dict": {f"generator.{name}": value for name, value in state.items()}, "epoch": 3}


class Published(NamedTuple):
    """One method: its class, tiny parameters, and by part (None: a single file) its network and the file's nesting."""

    cls: type
    tiny: dict[str, Any]
    files: dict[str | None, tuple[str, Callable[[dict], dict]]]

    def make(self, **changes: Any) -> Any:
        return self.cls(**{**self.tiny, **changes})


METHODS = {
    "edgeconnect": Published(
        EdgeConnect,
        {
            "channels": 8,
            "blocks": 1,
            "discriminator_channels": 4,
            "discriminator_downsamplings": 1,
            "content_weight": 0,
            "style_weight": 0,
        },
        {"edge": ("edge_generator", below_generator), "inpaint": ("inpaint_generator", below_generator)},
    ),
    "jpgnet": Published(
        JPGNet,
        {"generator": PAINTER, "channels": 8, "downsamplings": 2, "init_gain": 1.0},
        {"kpn1": ("kpn1", dict), "kpn2": ("kpn2", dict)},
    ),
    "lama": Published(
        LaMa,
        {
            "channels": 8,
            "blocks": 1,
            "downsamplings": 1,
            "discriminator_channels": 8,
            "discriminator_downsamplings": 2,
            "perceptual": None,
        },
        {None: ("generator", of_lightning)},
    ),
    "misf": Published(
        MISF,
        {
            "channels": 8,
            "blocks": 1,
            "discriminator_channels": 8,
            "discriminator_downsamplings": 1,
            "content_weight": 0,
            "style_weight": 0,
        },
        {None: ("generator", below_generator)},
    ),
    "rfrnet": Published(
        RFRNet,
        {"channels": 8, "kernel": 3, "recurrences": 2, "strides": (2, 2, 1)},
        {None: ("generator", below_generator)},
    ),
    "structureflow": Published(
        StructureFlow,
        {
            "channels": 4,
            "structure_blocks": 1,
            "flow_blocks": 1,
            "discriminator_channels": 4,
            "windows": ((4, 1.0), (2, 0.5)),
            "sigma": 1.0,
            "iterations": 1,
        },
        {"s_gen": ("s_gen", dict), "f_gen": ("f_gen", dict)},
    ),
}


def train(method, images, masks, progress=0.0, steps=1, autocast=False):
    """Train a method on one batch.

    Returns:
        what each step logged, and the names of the optimizers that were used.
    """
    optimizers, used = method.train().optimizers(), set()

    def step(name, loss):
        assert loss.dtype == torch.float32 and loss.isfinite()
        method.zero_grad()
        loss.backward()
        own = {parameter for group in optimizers[name].param_groups for parameter in group["params"]}
        reached = {parameter for parameter in method.parameters() if parameter.grad is not None}
        assert reached and reached <= own, "a loss must reach the networks of its own optimizer only"
        optimizers[name].step()
        used.add(name)

    def one():
        # A context per step, as in the training loop: autocast keeps its copies of the weights until it is left.
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            return method.training_step({"images": images, "masks": masks, "progress": progress}, step)

    return [one() for _ in range(steps)], used
