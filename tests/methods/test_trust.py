"""Test that loading a checkpoint builds only what the user chose."""

import json
import sys

import pytest
import torch
from helpers.checkpoints import LIIF, with_spec, write_checkpoint
from safetensors.torch import save_file

from sair.common.errors import InputError
from sair.methods.loading import load
from sair.methods.spec import classes_named, load_spec, method_names
from sair.methods.trust import PROJECT_CLASSES


@pytest.fixture
def probe(folder):
    """Write a module that leaves a file behind when it is imported."""
    (folder / "probe_module.py").write_text(
        "from pathlib import Path\nimport torch\nPath('imported').touch()\n"
        "class Probe(torch.nn.Module):\n    def inpaint(self, images, masks):\n        return images\n"
    )
    sys.path.append(str(folder))
    yield folder
    sys.modules.pop("probe_module", None)


NESTED = [
    lambda name: {"class": name},
    lambda name: {"class": "baselines.jpgnet:JPGNet", "parameters": {"generator": {"class": name, "parameters": {}}}},
    lambda name: {"parameters": {**LIIF["parameters"], "semantic": {"class": name}}},
    lambda name: {"parameters": {"parts": [{"inner": [{"class": name}]}]}},
    lambda name: {"over": {"class": name}},
]


@pytest.mark.parametrize("change", NESTED, ids=["itself", "generator", "semantic", "list", "over"])
def test_a_class_that_the_user_did_not_choose_is_not_imported(probe, change):
    path = with_spec(probe / "evil.safetensors", **change("probe_module:Probe"))
    with pytest.raises(InputError, match="refused: it names 'probe_module:Probe'"):
        load(path)
    assert "probe_module" not in sys.modules and not (probe / "imported").exists()


@pytest.mark.parametrize(
    "name",
    [
        "subprocess:Popen",
        "os:system",
        "builtins:exec",
        "torch.nn:Linear",
        "sair.provenance.records:subprocess",
        "sair.common.files:atomic",
        "sair.models.inpainter:ImplicitInpainter.inpaint",
        "sair.models.inpainter:nn.Linear",
        "baselines.lama.model:LaMaGenerator",
        "baselines.lama:LaMa ",
        "baselines.controls:MeanFill",
        "baselines.command:Command",
        "baselines.precomputed:Precomputed",
        "sair.models.inpainter",
        "",
    ],
)
def test_only_methods_with_weights_can_be_named(folder, name):
    path = with_spec(folder / "evil.safetensors", **{"class": name, "parameters": {"command": ["touch", "ran"]}})
    with pytest.raises(InputError, match="refused: it names"):
        load(path)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("baselines.command:Command", {"command": ["touch", "ran"]}),
        ("baselines.precomputed:Precomputed", {"folder": "."}),
    ],
)
@pytest.mark.parametrize("nested", [False, True], ids=["itself", "generator"])
def test_a_program_or_folder_is_never_restored(folder, name, parameters, nested):
    """This holds even if a method file of the working folder names the class."""
    (folder / "config/methods/theirs.yaml").write_text(f"label: Theirs\nclass: {name}\ntraining: null\n")
    part = {"class": name, "parameters": parameters}
    change = {"class": "baselines.jpgnet:JPGNet", "parameters": {"generator": part}} if nested else part
    with pytest.raises(InputError, match=f"refused: {name} has no weights"):
        load(with_spec(folder / "evil.safetensors", **change))
    assert not (folder / "ran").exists()


def test_the_project_classes_are_those_of_its_method_files():
    specs = [
        load_spec(n, f"config/{kind}", "mini")
        for kind in ("methods", "semantics")
        for n in method_names(f"config/{kind}")
    ]
    trained = {name for spec in specs if spec["training"] is not None for name in classes_named(spec)}
    assert trained == PROJECT_CLASSES


@pytest.mark.parametrize("place", ["config/methods", "config/semantics"])
def test_a_users_own_class_is_restored_where_a_method_file_names_it(probe, place):
    (probe / "probe_module.py").write_text(
        "import torch\nclass Mine(torch.nn.Module):\n    def __init__(self, *, width):\n        super().__init__()\n"
        "        self.layer = torch.nn.Linear(width, 1)\n    def inpaint(self, images, masks):\n        return images\n"
    )
    spec = {"name": "mine", "class": "probe_module:Mine", "parameters": {"width": 3}}
    path = write_checkpoint(probe / "mine.safetensors", spec)
    with pytest.raises(InputError, match="refused: it names 'probe_module:Mine'"):
        load(path)
    (probe / place / "mine.yaml").write_text("label: Mine\nclass: probe_module:Mine\nparameters: {width: 5}\n")
    del sys.modules["probe_module"]
    sys.path.remove(str(probe))  # as for the console script, whose path starts with its own folder
    assert load(path).network.layer.in_features == 3


@pytest.mark.parametrize(
    "parameters",
    [
        {"pretrained": "secret.pth"},
        {"parts": [{"pretrained": {"a": "secret.pth"}}]},
        {"semantic": {"name": "clip", "architecture": "hf-hub:somebody/model"}},
        {"semantic": {"name": "clip", "architecture": "local-dir:folder"}},
        {"semantic": {"name": "clip", "architecture": {"vision_cfg": {"timm_model_name": "resnet18"}}}},
        {"semantic": {"name": "clip", "architecture": {"text_cfg": {"hf_model_name": "somebody/model"}}}},
    ],
)
def test_a_checkpoint_that_names_files_is_refused(folder, parameters):
    path = with_spec(folder / "evil.safetensors", parameters={**LIIF["parameters"], **parameters})
    with pytest.raises(InputError, match="to be read, but a checkpoint contains all of its weights"):
        load(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        {"encoder": {"name": "app", "channels": 10**9, "blocks": 1}},
        {"queries": 10**400},
        {"encoder": {"name": "app", "channels": 20_000, "blocks": 1}},
        {"encoder": {"name": "app", "channels": 4, "blocks": 100_000}},
        {"air": {"name": "liif", "hidden": [10**6, 10**6]}},
        {"semantic": {"name": "clip", "architecture": "ViT-L-14"}},
    ],
    ids=["channels", "digits", "wide", "deep", "hidden", "semantic"],
)
def test_a_network_far_larger_than_its_file_takes_no_memory(folder, monkeypatch, parameters):
    largest = 0
    empty = torch.empty

    def watched(*size, **options):
        nonlocal largest
        made = empty(*size, **options)
        largest = max(largest, made.numel())
        return made

    path = with_spec(folder / "evil.safetensors", parameters={**LIIF["parameters"], **parameters})
    monkeypatch.setattr(torch, "empty", watched)
    with pytest.raises(InputError, match="refused"):
        load(path)
    assert largest <= 1 << 27


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ("9" * 10_000, "not a JSON object"),
        ('{"spec": "' + "a" * (1 << 24) + '"}', "bytes of metadata"),
        ("{}", "contains no specification"),
        ('{"spec": null}', "contains no specification"),
        ('{"spec": {"name": "x", "class": 5, "parameters": {}}}', "contains no specification"),
        ('{"spec": {"name": "x", "class": "a:b"}}', "contains no specification"),
        ('{"spec": {"name": "x", "class": "a:b", "parameters": []}}', "contains no specification"),
        ('{"spec": {"name": "x", "class": "a:b", "parameters": {}}, "image_size": "big"}', "image_size is 'big'"),
        ('{"spec": {"name": "x", "class": "a:b", "parameters": {}}, "image_size": true}', "image_size is True"),
        ('{"spec": {"name": "x", "class": "a:b", "parameters": {}, "sees_truth": 1}}', "sees_truth is 1"),
        ('{"spec": {"name": "x", "class": "a:b", "parameters": {"g": {"class": [1]}}}}', "a class that is not text"),
        (
            json.dumps(
                {"spec": {"name": "x", "class": "a:b", "parameters": json.loads('{"a":' * 50 + "1" + "}" * 50)}}
            ),
            "deep",
        ),
        ('{"run": {}, "done": 3}', "the state of a training that is not finished"),
    ],
)
def test_faulty_metadata_is_refused(folder, metadata, message):
    save_file({"a": torch.zeros(1)}, folder / "a.safetensors", {"sair": metadata})
    with pytest.raises(InputError, match=message):
        load(folder / "a.safetensors")


@pytest.mark.parametrize(
    "parameters", [{}, {"air": 5}, {"air": {"name": "os"}}, {"air": {}, "encoder": {"name": "app", "channels": "x"}}]
)
def test_parameters_that_describe_no_method_are_refused(folder, parameters):
    with pytest.raises(InputError, match=r"a\.safetensors: "):
        load(with_spec(folder / "a.safetensors", parameters=parameters))
