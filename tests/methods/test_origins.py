"""Test the origins of a method's values that `sair methods --show` prints."""

from pathlib import Path

import pytest
import yaml

from sair.commands.cli import main
from sair.methods.annotated import to_yaml
from sair.methods.origins import Layer, merge
from sair.methods.spec import explain_method, load_spec

FILES = {
    "base": """
label: Base
class: m:Base
tables: {table1: Base}
parameters: {own: 1, deep: {own: 1, taken: 1, gone: {a: 1}}, words: "two\\nlines # of text", empty: {}}
training: {batch: 4}
presets: {mini: {parameters: {size: 2, deep: {size: 2}}, training: {steps: 7, batch: 5}}, paper: {}}
""",
    "variant": """
extends: base
label: Variant
parameters: {deep: {taken: 2, gone: null}}
presets: {mini: {parameters: {size: 3}}}
""",
    "above": "label: Above\nclass: m:Above\nover: variant\nparameters: {generator: {parameters: {size: 9}}}",
    "still": "label: Still\nclass: m:Still\npresets: {mini: {training: null}}",
    "weighted": "extends: variant\nlabel: Weighted\nweights: w.safetensors",
}
CONFIGS = [
    ("a.yaml", {"training": {"steps": 1, "scale": 1, "warmup": 5}, "methods": {"variant": {"parameters": {"own": 3}}}}),
    ("b.yaml", {"training": {"scale": 2}, "methods": {"variant": {"training": {"warmup": 0}}}}),
]


@pytest.fixture
def registry(tmp_path):
    for name, text in FILES.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def explained(registry, name):
    """Return a method's values and, by their names, where they came from, without the folder."""
    layer = explain_method(name, registry, "mini", CONFIGS)
    found = {}

    def walk(origins, above):
        for key, origin in origins.items():
            if isinstance(origin, dict):
                walk(origin, f"{above}{key}.")
            elif key is not None:
                found[f"{above}{key}"] = origin.replace(f"{registry}/", "")

    walk(layer.origins, "")
    return layer.values, found


def test_every_value_names_the_last_that_states_it(registry):
    values, origins = explained(registry, "variant")
    assert values["parameters"]["deep"] == {"size": 2, "own": 1, "taken": 2, "gone": None}
    assert values["training"] == {"steps": 7, "scale": 2, "warmup": 0, "batch": 4}
    assert {key: origin for key, origin in origins.items() if "." in key} == {
        "parameters.own": "a.yaml, methods.variant",
        "parameters.size": "variant.yaml, presets.mini",
        "parameters.deep.size": "base.yaml, presets.mini",
        "parameters.deep.own": "base.yaml",
        "parameters.deep.taken": "variant.yaml",
        "parameters.deep.gone": "variant.yaml",
        "parameters.words": "base.yaml",
        "training.steps": "base.yaml, presets.mini",
        "training.scale": "b.yaml",
        "training.warmup": "b.yaml, methods.variant",
        "training.batch": "base.yaml",
    }
    assert (origins["label"], origins["class"]) == ("variant.yaml", "base.yaml")


def test_values_of_the_method_below_name_their_origin(registry):
    values, origins = explained(registry, "above")
    assert values["parameters"]["generator"]["parameters"]["own"] == 3
    assert origins["parameters.generator.class"] == "over variant: base.yaml"
    assert origins["parameters.generator.parameters.own"] == "over variant: a.yaml, methods.variant"
    assert origins["parameters.generator.parameters.size"] == "above.yaml"


def test_a_method_without_training_names_the_reason(registry):
    assert explained(registry, "still")[1]["training"] == "still.yaml, presets.mini"
    values, origins = explained(registry, "weighted")
    assert (values["training"], values["parameters"]) == (None, {})
    assert origins["training"] == origins["weights"] == "weighted.yaml"


def test_null_replaces_in_both_trees_alike():
    layers = [Layer.of({"a": {"b": 1, "c": {}}}, "x"), Layer.of({"a": None}, "y"), Layer.of({"a": {"d": 1}}, "z")]
    merged = layers[0].under(layers[1]).under(layers[2])
    assert merged.values == {"a": {"d": 1}} and merged.origins["a"] == {None: "z", "d": "z"}
    later = layers[0].under(layers[1].under(layers[2]))
    assert later.values == {"a": {"b": 1, "c": {}, "d": 1}}
    assert later.origins["a"] == {None: "z", "b": "x", "c": {None: "x"}, "d": "z"}
    assert layers[0].under(Layer.of({"a": {"c": {}}}, "y")).origins["a"]["c"] == {None: "y"}


def test_it_is_the_specification_as_yaml_with_one_line_a_value(registry):
    for name in FILES:
        layer = explain_method(name, registry, "mini", CONFIGS)
        text = to_yaml(layer)
        assert yaml.safe_load(text) == layer.values
        config = merge(CONFIGS[0][1], CONFIGS[1][1])
        assert layer.values == load_spec(name, registry, "mini", config["training"], config["methods"])
    lines = to_yaml(explain_method("variant", registry, "mini", CONFIGS)).splitlines()
    assert next(line for line in lines if "words" in line).endswith(f"  # {registry}/base.yaml")
    assert next(line for line in lines if "empty" in line).split() == ["empty:", "{}", "#", f"{registry}/base.yaml"]


def test_the_command_shows_what_the_workflow_uses(capsys, config):
    config = merge(config, yaml.safe_load(Path("config/celeba32.yaml").read_text(encoding="utf-8")))
    for name, preset in (("jpgnet", "mini"), ("sair_nfs", "paper")):
        assert main(["methods", "--show", name, "--configfile", "config/celeba32.yaml", "--preset", preset]) == 0
        shown = capsys.readouterr().out
        assert yaml.safe_load(shown) == load_spec(name, "config/methods", preset, config["training"], config["methods"])
        values = [line for line in shown.split("parameters:", 1)[1].splitlines() if line.startswith("  ")]
        assert all("  # config/" in line or " # over " in line or line.endswith(":") for line in values)


def test_the_command_refuses_an_unknown_name(capsys):
    assert main(["methods", "--show", "siar"]) == 1
    assert "Did you mean sair" in capsys.readouterr().err
