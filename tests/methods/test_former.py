"""Test that checkpoints and method files with former names are still read."""

import json

import pytest
import torch
from safetensors.torch import save_file

from baselines.jpgnet import JPGNet
from baselines.lama import LaMa
from baselines.misf import MISF
from baselines.rfrnet import RFRNet
from baselines.structureflow import StructureFlow
from sair.common.errors import InputError
from sair.methods import checkpoint
from sair.methods.former import current
from sair.methods.origins import Layer
from sair.methods.spec import explain_method, load_spec

# Parameters as they stand in checkpoints that were written before, and as the classes take them now.
LAMA = {"base_channels": 4, "blocks": 1, "downsamplings": 1, "discriminator_layers": 2, "generator_lr": 0.002}
NEW_LAMA = {"channels": 4, "blocks": 1, "downsamplings": 1, "discriminator_downsamplings": 2, "lr": 0.002}
RFR = {"channels": 8, "kernel": 3, "recurrences": 1, "finetune_from": 0.75}
NEW_RFR = {"channels": 8, "kernel": 3, "recurrences": 1, "stages": {"train": 0.75, "finetune": 0.25}}
FLOW = {"channels": 4, "structure_blocks": 1, "flow_blocks": 1, "windows": [[2, 0.5]]}
CASES = {
    "lama": ("baselines.lama:LaMa", LAMA, LaMa, NEW_LAMA),
    "misf": ("baselines.misf:MISF", {"base_channels": 4, "blocks": 1}, MISF, {"channels": 4, "blocks": 1}),
    "rfrnet": ("baselines.rfrnet:RFR", RFR, RFRNet, NEW_RFR),
    "structureflow": (
        "baselines.structureflow:StructureFlow",
        {**FLOW, "stages": [0.25, 0.5]},
        StructureFlow,
        {**FLOW, "stages": {"structure": 0.25, "texture": 0.25, "joint": 0.5}},
    ),
    "jpgnet": (
        "baselines.jpgnet:JPGNet",
        {"base_channels": 4, "downsamplings": 2, "generator": {"class": "baselines.rfrnet:RFR", "parameters": RFR}},
        JPGNet,
        {
            "channels": 4,
            "downsamplings": 2,
            "generator": {"class": "baselines.rfrnet:RFRNet", "parameters": NEW_RFR},
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_under_former_names_loads(case, tmp_path):
    former, written, cls, parameters = CASES[case]
    method, path = cls(**parameters).eval(), tmp_path / "checkpoint.safetensors"
    spec = {"name": case, "class": former, "parameters": written, "sees_truth": False, "training": {"steps": 1}}
    weights = {name: value.contiguous() for name, value in method.weights_to_save().items()}
    save_file(weights, path, {"sair": json.dumps({"spec": spec, "image_size": 32})})
    restored = checkpoint.restore(path)
    assert type(restored.network) is cls and restored.spec["parameters"] == parameters
    assert restored.spec["class"] == f"{cls.__module__}:{cls.__name__}"
    images, masks = torch.rand(1, 3, 32, 32), (torch.rand(1, 1, 32, 32) < 0.3).float()
    assert torch.equal(method.inpaint(images, masks), restored.network.inpaint(images, masks))


@pytest.mark.parametrize("case", CASES)
def test_a_method_file_under_former_names_means_the_same(case, tmp_path):
    former, written, cls, parameters = CASES[case]
    text = {"label": "Mine", "class": former, "parameters": written, "training": {"steps": 1}}
    (tmp_path / "mine.yaml").write_text(json.dumps(text))
    spec = load_spec("mine", tmp_path, "mini", {"processes": 1})
    assert spec["parameters"] == parameters and spec["class"] == f"{cls.__module__}:{cls.__name__}"


def test_a_former_name_in_a_variant_or_config_overrides_the_current_name_in_the_file_below(tmp_path):
    (tmp_path / "base.yaml").write_text("label: A\nclass: baselines.lama:LaMa\nparameters: {channels: 8, blocks: 3}\n")
    (tmp_path / "mine.yaml").write_text("label: B\nextends: base\nparameters: {base_channels: 16}\n")
    changes = {"base": {"parameters": {"generator_lr": 0.5}}}
    assert load_spec("mine", tmp_path, "mini")["parameters"] == {"channels": 16, "blocks": 3}
    assert load_spec("base", tmp_path, "mini", {}, changes)["parameters"] == {"channels": 8, "blocks": 3, "lr": 0.5}
    explained = explain_method("mine", tmp_path, "mini", [])
    assert explained.origins["parameters"]["channels"] == str(tmp_path / "mine.yaml")


def test_structureflows_list_of_files_becomes_one_file_per_part():
    spec = {"class": "baselines.structureflow:StructureFlow", "parameters": {"pretrained": ["a.pth", "b.pth"]}}
    assert current(Layer.of(spec, "")).values["parameters"] == {"pretrained": {"s_gen": "a.pth", "f_gen": "b.pth"}}


@pytest.mark.parametrize("stages", [["a", "b"], [0.1], [None, 1], "x", {"structure": 1}])
def test_values_that_never_were_valid_are_refused_by_the_class(stages, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    spec = {"name": "x", "class": "baselines.structureflow:StructureFlow", "parameters": {**FLOW, "stages": stages}}
    save_file({"a": torch.zeros(1)}, path, {"sair": json.dumps({"spec": spec})})
    with pytest.raises(InputError, match="stages"):
        checkpoint.restore(path)


def test_a_former_class_is_bounded_as_todays(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    spec = {"name": "x", "class": "baselines.rfrnet:RFR", "parameters": {"recurrences": 10**9}}
    save_file({"a": torch.zeros(1)}, path, {"sair": json.dumps({"spec": spec})})
    with pytest.raises(InputError, match="'recurrences' is over"):
        checkpoint.restore(path)
