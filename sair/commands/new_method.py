"""Write the files of a new method, which run as they are (``sair new-method``)."""

from __future__ import annotations

import builtins
import keyword
import re
from pathlib import Path

import yaml

from sair.common.errors import InputError
from sair.common.files import read_mapping, write_text
from sair.methods.spec import METHODS, SEMANTICS
from sair.pipeline.config import SCHEMA, check_schema, read_schema

BASELINES = Path("baselines")
LONGEST = 40  # characters of a name; with a longer one, generated lines of code would be too long
# What YAML 1.1, pandas or a spreadsheet reads as a value although PyYAML takes it for text.
_WORDS_OF_DATA = frozenset({"y", "n", "na", "nan", "none", "inf", "infinity"})
_NAMES_OF_CODE = frozenset({"Any", "Callable", "F", "Tensor"})  # imported by the module that is written

CODE = '''"""{name}: write here whose method it is, and where it is published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class {cls}(nn.Module):
    """A working start: three convolutions that are trained to fill holes. Replace them with your method.

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
        """Fill holes: (B, 3, H, W) in [0, 1], holes at 0, and (B, 1, H, W), 1 = hole -> (B, 3, H, W) in [0, 1]."""
        return self.layers(torch.cat([images, masks], dim=1))

    @torch.no_grad()
    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Predict whole images; the harness composites and rounds them."""
        return self(images, masks)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizers that ``training_step`` steps, by name."""
        return {{"{name}": torch.optim.Adam(self.parameters(), lr=self.lr)}}

    def training_step(self, batch: dict[str, Any], step: Callable[[str, Tensor], None]) -> dict[str, Tensor]:
        """Take one step on complete ``images`` (B, 3, H, W) and ``masks`` (B, 1, H, W)."""
        images, masks = batch["images"], batch["masks"]
        loss = F.l1_loss(self(images * (1 - masks), masks), images)
        step("{name}", loss)
        return {{"loss": loss}}
'''

CONFIG = """# Write here what the method is. config/README.md explains the keys, docs/add-a-method.md the steps.
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

TEST = '''"""{cls}: write here what is tested in addition to the conformance suite."""

import torch

from baselines.{name} import {cls}
from sair.commands.conformance import samples


def test_training_lowers_the_loss():
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
    """Write the skeleton of a method, which already trains, runs and passes the conformance suite.

    Args:
        name: the method's name, a lower-case Python name.
        root: the project's folder.

    Returns:
        The files written: its YAML, its module, its test.

    Raises:
        InputError: the name cannot be used, or one of the files exists.
    """
    root = Path(root)
    if not (root / METHODS).is_dir():
        raise InputError(f"{root.resolve()}: no folder {METHODS}. Call it in the project's folder.")
    cls = "".join(part.capitalize() for part in name.split("_"))
    if fault := _fault(name, cls):
        raise InputError(f"method name {name!r}: {fault} Choose another, such as my_method.")
    files = {
        root / f"config/methods/{name}.yaml": CONFIG,
        root / f"baselines/{name}/__init__.py": CODE,
        root / f"tests/test_{name}.py": TEST,
    }
    for path in files:
        if path.exists():
            raise InputError(f"{path} exists. Choose another name, or remove it.")
    if taken := _taken(name, root):
        raise InputError(f"method name {name!r}: {taken} Choose another.")
    if (root / SCHEMA).is_file():
        check_schema("method name", name, read_schema(root / SCHEMA)["$defs"]["method"])
    for path, text in files.items():
        write_text(path, text.format(name=name, cls=cls))
    return list(files)


def _fault(name: str, cls: str) -> str | None:
    """Return why a name cannot be that of a YAML file, a module, a class and a test at once; None if it can."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > LONGEST:
        return f"expected lower-case letters, digits and underscores, at most {LONGEST}."
    if name in _WORDS_OF_DATA or not all(isinstance(yaml.safe_load(word), str) for word in (name, cls)):
        return "YAML, tables and spreadsheets read this word as a value, not as a name."
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name):
        return "it is a keyword or a built-in name of Python."
    if keyword.iskeyword(cls) or hasattr(builtins, cls) or cls in _NAMES_OF_CODE:
        return f"its class would be {cls}, which has a meaning already."
    if name == "test" or name.startswith(("test_", "tests")) or cls.startswith("Test"):
        return "pytest would take it for a test."
    return None


def _taken(name: str, root: Path) -> str | None:
    """Return what has this name already, ignoring case, as some file systems do; None if nothing has it."""
    for folder, what in ((METHODS, "a method"), (SEMANTICS, "a semantic encoder"), (BASELINES, "a module")):
        for path in sorted((root / folder).glob("*")):
            if path.name.partition(".")[0].lower() == name:
                return f"{folder / path.name} is {what} already."
    config = root / "config/config.yaml"
    if config.is_file() and name in read_mapping(config).get("datasets", {}):
        return "config/config.yaml has a dataset of this name."
    return None
