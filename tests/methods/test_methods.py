"""Test which method files are accepted and refused, and that every registered method conforms."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from helpers.quick import quick

from baselines.controls import Biharmonic, MeanFill
from sair.commands.conformance import check, maker, samples
from sair.common.errors import InputError
from sair.inference.method import Method
from sair.methods.build import build
from sair.methods.origins import merge
from sair.methods.readiness import lacking
from sair.methods.spec import KEYS, load_spec, method_names, with_parameters
from sair.models.clip import CLIP
from sair.pipeline.project import Project, _classes
from sair.reporting.notes import departures

NAMES = method_names("config/methods")
QUICK = ("biharmonic", "ground_truth", "liif", "lte", "mean_fill", "misf", "opencv_telea", "sair")  # one of each kind
DEFAULTS = {"steps": 10, "scale": 1}


def write(folder, name, text):
    (folder / f"{name}.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_the_registry_has_the_methods_of_table_1():
    assert {"sair", "liif", "lama", "ground_truth", "mean_fill", "biharmonic"} <= set(NAMES)


def test_an_unknown_name_lists_the_near_ones():
    with pytest.raises(InputError, match=r"unknown method 'siar'.*Did you mean sair"):
        load_spec("siar", "config/methods", "mini")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label: X\nclass: a:b\nparamters: {}", r"unknown key 'paramters'. Did you mean parameters"),
        ("label: X", "missing class"),
        ("label: [", "not valid YAML"),
        ("extends: x\nlabel: X", "extends itself through x -> x"),
        ("extends: nothing", "unknown method 'nothing'"),
        ("label: X\nclass: a:b\npresets: {paper: {}}", "has no preset 'mini'"),
        ("", r"x\.yaml: is empty"),
        ("# nothing", r"x\.yaml: is empty"),
        ("- a\n- b", r"x\.yaml: holds a list"),
        ("text", r"x\.yaml: holds a str"),
        ("label: X\nclass: a:b\nlabel: Y", r"x\.yaml: .*'label' occurs twice"),
        ("label: X\nclass: a:b\nparameters: {a: 1, a: 2}", r"x\.yaml: .*'a' occurs twice"),
        ("label: X\nclass: a:b\n\ttabs: 1", r"x\.yaml: not valid YAML"),
        ("label: 5\nclass: a:b", "label: expected text, found 5"),
        ("label: X\nclass: [a]", "class: expected text"),
        ("label: X\nclass: baselines.lama", r"class: 'baselines.lama' should be module:Class"),
        ("label: X\nclass: a:b\nparameters: [1]", "parameters: expected keys and values, found"),
        ("label: X\nclass: a:b\nparameters: null", "parameters: expected keys and values, found None"),
        ("label: X\nclass: a:b\ntables: table1", "tables: expected keys and values"),
        ("label: X\nclass: a:b\ntraining: 5", "training: expected keys and values or null"),
        ("label: X\nclass: a:b\nsees_truth: 'no'", "sees_truth: expected true or false, found 'no'"),
        ("label: X\nclass: a:b\ncontrol: 1", "control: expected true or false, found 1"),
        ("label: X\nclass: a:b\nover: [a]", "over: expected text or null"),
        ("label: X\nclass: a:b\nsemantics: true", "semantics: expected text or null, found True"),
        ("label: X\nclass: a:b\npresets: {mini: 5}", r"presets\.mini: expected keys and values"),
        ("label: X\nclass: a:b\npresets: {mini: {paramters: {}}}", r"presets\.mini: unknown key 'paramters'"),
        ("label: X\nclass: a:b\npresets: {mini: {training: 5}}", r"presets\.mini, training: expected"),
        ("label: caf\xe9\nclass: a:b".encode("latin-1"), r"x\.yaml: not UTF-8"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path, text, message):
    write(tmp_path, "x", text)
    with pytest.raises(InputError, match=message) as error:
        load_spec("x", tmp_path, "mini")
    said = str(error.value)
    assert "\n" not in said and ("x.yaml" in said or "unknown method 'nothing'" in said)


@pytest.mark.parametrize(
    ("cls", "parameters", "message"),
    [
        ("sair.nowhere:Nothing", {}, "cannot be imported"),
        ("baselines.controls:Nothing", {}, "cannot be imported"),
        ("sair.provenance.records:subprocess", {}, "is not a method: expected a class with `inpaint`"),
        ("sair.common.files:atomic", {"path": "a"}, "is not a method"),
        ("subprocess:Popen", {"args": ["touch", "ran"]}, "is not a method"),
        ("baselines.edgeconnect:EdgeConnect", {"drawn_edges": "nowhere"}, "method x: drawn_edges 'nowhere'"),
        ("baselines.command:Command", {}, "Command: missing a required argument: 'command'"),
        ("baselines.lama:LaMa", {"bloks": 3}, r"no parameter 'bloks'. Did you mean blocks"),
    ],
)
def test_a_faulty_class_is_refused(cls, parameters, message):
    with pytest.raises(InputError, match=message):
        build({"name": "x", "class": cls, "parameters": parameters})


def test_a_variant_overrides_its_parent_and_its_preset(tmp_path):
    write(
        tmp_path,
        "base",
        """
label: Base
class: m:c
tables: {table1: Base}
parameters: {a: 1, deep: {x: 1, y: 2}}
training: {batch: 4}
presets: {mini: {parameters: {b: 2, deep: {z: 3}}, training: {steps: 7}}}
""",
    )
    write(tmp_path, "variant", "extends: base\nlabel: Variant\nparameters: {b: 5, deep: {y: null}}")
    spec = load_spec("variant", tmp_path, "mini", DEFAULTS)
    assert spec["parameters"] == {"a": 1, "b": 5, "deep": {"x": 1, "y": None, "z": 3}}
    assert spec["training"] == {"steps": 7, "scale": 1, "batch": 4}
    assert spec["tables"] == {}  # a place in a table is not inherited
    assert spec["label"] == "Variant"


def test_variants_of_a_control_are_controls(tmp_path):
    write(tmp_path, "base", "label: Base\nclass: m:c\ncontrol: true")
    write(tmp_path, "variant", "extends: base\nlabel: Variant")
    write(tmp_path, "rival", "extends: variant\ncontrol: false")
    write(tmp_path, "plain", "label: Plain\nclass: baselines.controls:MeanFill")
    controls = [name for name in method_names(tmp_path) if load_spec(name, tmp_path, "mini")["control"]]
    assert controls == ["base", "variant"]
    registered = [name for name in NAMES if load_spec(name, "config/methods", "mini")["control"]]
    opencv = ["opencv_fsr", "opencv_ns", "opencv_shift_map", "opencv_telea"]
    assert registered == ["biharmonic", "ground_truth", "mean_fill", *opencv]


def test_a_config_changes_a_method_and_the_methods_over_it(config):
    change = {"parameters": {"blocks": 2}, "training": {"batch": 4}}
    before, after = (
        Project({**config, "methods": methods}, "workflow/schemas/config.schema.yaml")
        for methods in ({}, {"edgeconnect": change})
    )
    assert before.method("edgeconnect")["parameters"]["blocks"] == 3
    assert after.method("edgeconnect")["parameters"] == {**before.method("edgeconnect")["parameters"], "blocks": 2}
    assert after.method("edgeconnect")["training"] == {**before.method("edgeconnect")["training"], "batch": 4}
    assert after.method("jpgnet")["parameters"]["generator"]["parameters"]["blocks"] == 2
    assert after.method("jpgnet")["training"] == before.method("jpgnet")["training"]
    assert after.method("misf") == before.method("misf")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"edgeconect": {}}, r"config, methods: there is no 'edgeconect'. Did you mean edgeconnect"),
        (
            {"lama": {"training": {"stepz": 3}}},
            r"config, methods.lama.training: unknown key 'stepz'. Did you mean steps",
        ),
        ({"lama": {"class": "x:y"}}, r"config, methods.lama: unknown key 'class'"),
        ({"biharmonic": {"training": {"steps": 3}}}, "biharmonic is not trained"),
    ],
)
def test_a_faulty_change_is_refused(config, methods, message):
    with pytest.raises(InputError, match=message):
        Project({**config, "methods": methods}, "workflow/schemas/config.schema.yaml")


def test_a_faulty_training_key_of_a_file_is_refused(config, tmp_path, monkeypatch):
    write(tmp_path, "mine", "label: Mine\nclass: m:c\ntraining: {stepz: 3}")
    monkeypatch.setattr("sair.pipeline.registry.METHODS", tmp_path)
    with pytest.raises(InputError, match=r"mine\.yaml, training: unknown key 'stepz'. Did you mean steps"):
        Project(config, "workflow/schemas/config.schema.yaml")


@pytest.mark.parametrize("file", sorted(Path("config").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_is_one(config, file):
    Project(merge(config, yaml.safe_load(file.read_text())), "workflow/schemas/config.schema.yaml")


def test_merge_replaces_and_keeps():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": None}) == {"a": {"b": 4, "c": 2}, "d": None}


def builder(spec):
    """Give a method the description of its semantic encoder, as training does."""
    if spec["semantics"] and not spec["weights"]:
        description = build(load_spec(spec["semantics"], "config/semantics", "mini", DEFAULTS)).description
        spec = with_parameters(spec, semantic=description)
    return maker(spec)


@pytest.mark.parametrize("name", quick(NAMES, *QUICK))
def test_every_method_conforms(name, mini):
    spec = mini(name)
    if found := lacking(spec):
        pytest.skip("; ".join(found))
    check(builder(spec))


@pytest.mark.parametrize("name", quick(NAMES, *QUICK))
def test_every_trainable_method_trains(name, mini):
    spec = mini(name)
    if found := lacking(spec):
        pytest.skip("; ".join(found))
    method = builder(spec)().network
    assert spec["weights"] or hasattr(method, "training_step") == (spec["training"] is not None)
    if spec["training"] is None:
        return
    images, masks = samples(2)
    optimizers = method.optimizers()
    before = {key: value.clone() for key, value in method.state_dict().items()}

    def step(optimizer, loss):
        optimizers[optimizer].zero_grad()
        loss.backward()
        optimizers[optimizer].step()

    scalars = method.training_step({"images": images, "masks": masks, "id": ["a", "b"]}, step)
    assert all(torch.isfinite(value).all() for value in scalars.values()) and "loss" in scalars
    moved = {key.split(".")[0] for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
    assert moved, "no weight changed"
    semantic_moved = any(key.startswith("semantic") for key in moved)
    assert semantic_moved == bool(spec["parameters"].get("train_semantic")), "CLIP is frozen unless it is trained along"


class Swapped(MeanFill):
    def inpaint(self, images, masks):
        return super().inpaint(images, 1 - masks)


class SwappedBiharmonic(Biharmonic):
    def inpaint(self, images, masks):
        return super().inpaint(images, 1 - masks)


class Smaller(MeanFill):
    def inpaint(self, images, masks):
        return super().inpaint(images, masks)[..., :-1, :]


class NotFinite(MeanFill):
    def inpaint(self, images, masks):
        return super().inpaint(images, masks) / masks.sum() * torch.nan


class Idle(MeanFill):
    def inpaint(self, images, masks):
        return images


class TooBright(MeanFill):
    def inpaint(self, images, masks):
        return super().inpaint(images, masks) * 2 + 0.5


class BatchMean(MeanFill):
    def inpaint(self, images, masks):
        return images * (1 - masks) + images.mean((0, 2, 3), keepdim=True) * masks


class Random(MeanFill):
    def inpaint(self, images, masks):
        noise = torch.rand(1, 1, 1, 1, generator=self.generator) * 1e-3
        return (super().inpaint(images, masks) * 0.9 + noise) * masks + images * (1 - masks)

    generator = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Swapped, "mask polarity|hole filled"),
        (SwappedBiharmonic, "mask polarity|hole filled"),
        (Smaller, "must have its image's size"),
        (NotFinite, "not finite"),
        (Idle, "hole filled"),
        (TooBright, "range"),
        (BatchMean, "batch independence"),
        (Random, "repeatability"),
    ],
)
def test_a_broken_method_is_caught_by_name(broken, message):
    with pytest.raises(InputError, match=rf"method broken.*({message})"):
        check(lambda: Method(broken(), {"name": "broken", "sees_truth": False}))


@pytest.mark.parametrize("name", ["sair", "liif", "lama"])
def test_a_polarity_swapped_network_is_caught(name, mini):
    spec = mini(name)
    make = builder(spec)

    def swapped():
        method = make()
        inpaint = method.network.inpaint
        method.network.inpaint = lambda images, masks: inpaint(images, 1 - masks)
        return method

    with pytest.raises(InputError, match="mask polarity"):
        check(swapped)


def test_the_paper_presets_build_at_full_size(config):
    spec = load_spec("liif", "config/methods", "paper", config["training"])
    method = build(spec)
    encoder = sum(p.numel() for p in method.encoder.parameters())
    # Counted from the paper's table: 7x7 and 4x4 convolutions, 8 blocks of two 3x3, two 3x3, two transposed 4x4.
    layers = [(4, 64, 7), (64, 128, 4), (128, 256, 4), *[(256, 256, 3)] * 18, (256, 128, 4), (128, 64, 4)]
    assert encoder == sum(i * o * k * k + o for i, o, k in layers)
    assert [layer.out_features for layer in method.air.imnet.layers if hasattr(layer, "out_features")] == [256] * 3 + [
        3
    ]


def test_clip_refuses_an_unknown_architecture():
    with pytest.raises(InputError, match="no architecture 'ViT-Z'"):
        CLIP(architecture="ViT-Z")


def test_a_method_over_another_paints_with_that_method(mini):
    own, below = mini("jpgnet_rfrnet"), mini("rfrnet")
    assert own["over"] == "rfrnet"
    assert own["parameters"]["generator"] == {"class": below["class"], "parameters": below["parameters"]}


def test_a_method_over_itself_is_refused(tmp_path):
    for name, over in {"a": "b", "b": "a"}.items():
        (tmp_path / f"{name}.yaml").write_text(f"label: {name}\nclass: x:Y\nover: {over}\n")
    with pytest.raises(InputError, match=r"a\.yaml is over itself through a -> b -> a"):
        load_spec("a", tmp_path, "mini")


def test_a_method_over_another_has_the_code_of_both(config):
    """After a change of the generator that JPGNet paints with, JPGNet runs again."""
    project = Project(config, "workflow/schemas/config.schema.yaml")
    names = ("edgeconnect", "jpgnet", "jpgnet_rfrnet", "misf")
    assert len({project.code_fingerprint("train", name) for name in names}) == 4
    assert set(_classes(project.method("jpgnet_rfrnet"))) == {"baselines.jpgnet:JPGNet", "baselines.rfrnet:RFRNet"}


def test_tables_note_trainings_that_differ_from_the_published_ones():
    def lama(change):
        return load_spec("lama", "config/methods", "paper", {"batch": 16}, {"lama": {"parameters": change}})

    expected = "Trained with other settings than published: LaMa perceptual `vgg16` (published: `hrf`)."
    assert departures([lama({})]) == expected
    assert departures([lama({"perceptual": None})]).endswith("LaMa perceptual `None` (published: `hrf`).")
    assert departures([lama({"perceptual": "hrf"})]) == ""
    assert departures([load_spec("sair", "config/methods", "paper", {"batch": 16})]) == ""
    assert departures([lama({}) | {"training": None}]) == "", "an author's checkpoint was trained by its authors"


def test_the_manual_explains_every_key_of_a_method_file():
    manual = Path("config/README.md").read_text(encoding="utf-8").partition("## Method files")[2]
    assert re.findall(r"^\| `(\w+)` \|", manual, re.MULTILINE) == list(KEYS)
