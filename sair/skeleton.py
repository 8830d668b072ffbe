"""``sair new-method``: the files of a new method, which run as they are."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from sair.files import InputError, write_text

CODE = '''"""{name}: say here whose method it is, and where it is published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class {cls}(nn.Module):
    """A working start: three convolutions that learn to fill holes. Replace them by your method.

    Args:
        channels: width of the layers.
        lr: Adam's learning rate.
    """

    def __init__(self, *, channels: int = 32, lr: float = 1e-3) -> None:
        super().__init__()
        self.lr = lr
        self.layers = nn.Sequential(
            nn.Conv2d(4, channels, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 5, padding=4, dilation=2),
            nn.ReLU(),
            nn.Conv2d(channels, 3, 5, padding=2),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], holes at 0, and (B, 1, H, W), 1 = hole -> (B, 3, H, W) in [0, 1]."""
        return self.layers(torch.cat([images, masks], dim=1))

    @torch.no_grad()
    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """The whole picture with its hole filled; the harness composites and rounds."""
        return self(images, masks)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers that ``training_step`` steps, by name."""
        return {{"{name}": torch.optim.Adam(self.parameters(), lr=self.lr)}}

    def training_step(self, batch: dict[str, Any], step: Callable[[str, Tensor], None]) -> dict[str, Tensor]:
        """One step on complete ``images`` (B, 3, H, W) and ``masks`` (B, 1, H, W)."""
        images, masks = batch["images"], batch["masks"]
        loss = F.l1_loss(self(images * (1 - masks), masks), images)
        step("{name}", loss)
        return {{"loss": loss}}
'''

CONFIG = """# Say here what the method is. sair/methods.py explains the keys, docs/add-a-method.md the way.
label: {cls}
class: baselines.{name}:{cls}
tables: {{table1: null}}
presets:
  mini:
    parameters: {{channels: 32}}
    training: {{steps: 1000}}
  paper:
    parameters: {{channels: 64}}
"""

TEST = '''"""{cls}: what sets it apart; the conformance suite finds every method of config/methods by itself."""

import torch

from baselines.{name} import {cls}
from sair.conformance import samples


def test_it_learns():
    torch.manual_seed(0)
    method = {cls}(channels=8)
    optimizer = method.optimizers()["{name}"]
    images, masks = samples(2, 32)

    def step(name, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    batch = {{"images": images, "masks": masks}}
    losses = [float(method.training_step(batch, step)["loss"].detach()) for _ in range(30)]
    assert losses[-1] < losses[0]
'''


def write_skeleton(name: str, root: str | Path = ".") -> list[Path]:
    """Write a method that trains, runs and passes the conformance suite, to be changed into one's own.

    Args:
        name: of the method, a lower-case Python name.
        root: the project's folder.

    Returns:
        The files written: its YAML, its module, its test.

    Raises:
        InputError: no such name can be, or one of the files exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(
            f"method name {name!r}: expected lower-case letters, digits and underscores, such as my_method."
        )
    root, cls = Path(root), "".join(part.capitalize() for part in name.split("_"))
    if not (root / "config/methods").is_dir():
        raise InputError(f"{root.resolve()}: no folder config/methods. Call it in the project's folder.")
    files = {
        root / f"config/methods/{name}.yaml": CONFIG,
        root / f"baselines/{name}/__init__.py": CODE,
        root / f"tests/test_{name}.py": TEST,
    }
    for path in files:
        if path.exists():
            raise InputError(f"{path} exists. Choose another name, or remove it.")
    for path, text in files.items():
        write_text(path, text.format(name=name, cls=cls))
    return list(files)
