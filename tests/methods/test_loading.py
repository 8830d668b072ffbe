"""Test which weights a method gets, and the errors for files without weights."""

import json
from pathlib import Path

import pytest
import torch
from helpers.checkpoints import LIIF, write_checkpoint
from safetensors.torch import save_file
from torch import nn

from sair.commands.cli import main
from sair.commands.conformance import maker
from sair.common.errors import InputError
from sair.common.images import read_rgb
from sair.data.manifest import read_manifest
from sair.inference.predict import predict
from sair.inference.segmentation import load_clip, load_semantic_method, segment
from sair.methods import checkpoint
from sair.methods.build import Built, build
from sair.methods.loading import load
from sair.methods.spec import load_spec
from sair.training import loop

EDGECONNECT = {"channels": 4, "blocks": 1, "discriminator_channels": 4, "discriminator_downsamplings": 1}


def edgeconnect(path, **parameters):
    spec = {"name": "e", "class": "baselines.edgeconnect:EdgeConnect", "parameters": {**EDGECONNECT, **parameters}}
    return write_checkpoint(path, spec)


def test_weights_that_are_not_finite_are_refused(folder):
    tensors, metadata = checkpoint.load(write_checkpoint(folder / "a.safetensors"))
    name = next(name for name, value in tensors.items() if value.numel() > 1)
    for value in (torch.nan, torch.inf):
        tensors[name].view(-1)[1] = value
        checkpoint.save(folder / "a.safetensors", tensors, metadata)
        with pytest.raises(InputError, match=f"{name} has values that are not finite"):
            load(folder / "a.safetensors")


def foreign_files(folder):
    torch.save({"a": torch.zeros(2)}, folder / "author.pth")
    torch.save({"a": torch.zeros(2)}, folder / "old.ckpt", _use_new_zipfile_serialization=False)
    save_file({"a": torch.zeros(2)}, folder / "other.safetensors")
    (folder / "page.safetensors").write_text("<!DOCTYPE html><title>Quota exceeded</title>")
    (folder / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n")
    (folder / "empty.safetensors").touch()
    (folder / "noise.safetensors").write_bytes(bytes(range(1, 200)))
    (folder / "a_folder").mkdir()
    whole = (folder / "other.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-4])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("author.pth", "a PyTorch file: `sair convert METHOD FILE"),
        ("old.ckpt", "a PyTorch file: `sair convert METHOD FILE"),
        ("other.safetensors", "of another program: `sair convert METHOD FILE"),
        ("page.safetensors", "a web page. Fetch"),
        ("pointer.safetensors", "a Git LFS pointer"),
        ("empty.safetensors", "an empty file. Fetch"),
        ("noise.safetensors", "a file of an unknown kind. Fetch"),
        ("cut.safetensors", "damaged checkpoint .*fetch it again"),
        ("a_folder", "a folder, not a checkpoint"),
        ("nothing.safetensors", "no such checkpoint.*sair convert"),
    ],
)
def test_the_kind_of_a_foreign_file_is_reported(folder, capsys, name, message):
    foreign_files(folder)
    with pytest.raises(InputError, match=message) as error:
        load(folder / name)
    assert "elete it" not in str(error.value) and "\n" not in str(error.value)
    assert main(["inpaint", "a.png", "m.png", "-o", "o.png", "--checkpoint", str(folder / name)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {folder / name}: ")


def write_method(folder, name, text):
    (folder / f"config/methods/{name}.yaml").write_text(text)


@pytest.fixture
def registry(folder):
    """Write a method file of EdgeConnect with two sizes, and a checkpoint of a third size."""
    presets = {"mini": {"parameters": {"channels": 6, "sigma": 1}}, "paper": {"parameters": {"channels": 8}}}
    base = {"label": "E", "class": "baselines.edgeconnect:EdgeConnect", "presets": presets, "training": {"batch": 4}}
    write_method(folder, "edge", json.dumps(base))
    edgeconnect(folder / "e.safetensors", sigma=2.0)
    return folder


def test_published_settings_do_not_apply_to_given_weights(registry):
    write_method(registry, "y", "extends: edge\nlabel: Y\npublished: {sigma: 5}\n")
    write_method(registry, "x", "extends: y\nlabel: X\nweights: ~/e.safetensors\n")
    spec = load_spec("x", "config/methods", "mini")
    assert spec["published"] == {} and load_spec("y", "config/methods", "mini")["published"] == {"sigma": 5}
    assert spec["weights"] == str(Path.home() / "e.safetensors")


@pytest.mark.parametrize("preset", ["mini", "paper"])
def test_a_method_with_weights_has_the_checkpoints_parameters_and_its_own_over_them(registry, preset):
    write_method(registry, "plain", "extends: edge\nlabel: P\nweights: e.safetensors\n")
    write_method(registry, "drawn", "extends: plain\nlabel: D\nparameters: {drawn_edges: hole, sigma: 3}\n")
    plain, drawn = (load(load_spec(name, "config/methods", preset)) for name in ("plain", "drawn"))
    assert (plain.network.sigma, plain.network.drawn_edges) == (2.0, "everywhere") and plain.image_size == 32
    assert (drawn.network.sigma, drawn.network.drawn_edges) == (3, "hole")
    assert drawn.spec["parameters"] == {**EDGECONNECT, "sigma": 3, "drawn_edges": "hole"} and drawn.spec["label"] == "D"
    states = [checkpoint.weights_of(loaded.network) for loaded in (plain, drawn)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not plain.network.training


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parameters: {channels: 8}", r"parameters \(channels\) do not fit the weights"),
        ("parameters: {sigmas: 3}", r"parameters \(sigmas\) do not fit.*no parameter 'sigmas'. Did you mean sigma"),
        ("parameters: {pretrained: {edge: a.pth, inpaint: b.pth}}", "names `weights` and `pretrained`"),
        ("training: {steps: 5}", "names `weights` and `training`"),
        ("class: baselines.lama:LaMa", "weights of a baselines.edgeconnect:EdgeConnect, but method x is a"),
        ("weights: nothing.safetensors", "no such checkpoint"),
        ("weights: 5", "weights: expected text or null, found 5"),
        ("weights: [e.safetensors]", "weights: expected text or null"),
    ],
)
def test_keys_that_conflict_with_weights_are_refused(registry, text, message):
    weights = "" if text.startswith("weights") else "weights: e.safetensors\n"
    write_method(registry, "x", f"extends: edge\nlabel: X\n{weights}{text}\n")
    with pytest.raises(InputError, match=message):
        load("x", preset="mini")


def test_presets_beside_weights_go_over_them_too(registry):
    write_method(
        registry,
        "x",
        "extends: edge\nlabel: X\nweights: e.safetensors\npresets: {mini: {parameters: {sigma: 7}}, paper: {}}\n",
    )
    assert [load("x", preset=preset).network.sigma for preset in ("mini", "paper")] == [7, 2.0]


def test_a_variant_may_be_trained_again(registry):
    write_method(registry, "x", "extends: edge\nlabel: X\nweights: e.safetensors\n")
    write_method(registry, "y", "extends: x\nlabel: Y\nweights: null\n")
    spec = load_spec("y", "config/methods", "mini", {"steps": 3})
    assert spec["training"] == {"steps": 3, "batch": 4} and spec["parameters"]["channels"] == 6


def test_a_trained_method_is_never_run_on_random_weights(registry):
    with pytest.raises(InputError, match="method edge is trained, and no checkpoint is named"):
        load("edge", preset="mini")
    write_method(registry, "x", "extends: edge\nlabel: X\ntraining: null\n")
    with pytest.raises(InputError, match="method x would run on random weights"):
        load("x", preset="mini")
    spec = load_spec("x", "config/methods", "mini")
    with pytest.raises(InputError, match="random weights"):
        loop.Run(spec, 0, Path("running.safetensors"), [])


class Fixed(nn.Module):
    """A network whose weights do not depend on random numbers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def inpaint(self, images, masks):
        return images * self.weight.view(1, 3, 1, 1)


def test_what_is_not_random_needs_no_checkpoint():
    spec = {"name": "fixed", "class": "test_loading:Fixed", "parameters": {}, "training": None}
    assert load(spec).image_size is None
    assert load("mean_fill", preset="mini").spec["label"] == "Mean fill"


@pytest.fixture(scope="module")
def data(tmp_path_factory, frozen_split):
    return frozen_split(tmp_path_factory.mktemp("data"), train=4, masks=2, buckets=[(20, 40)]).parent


def pixels(data, folder):
    return [read_rgb(folder / "raw" / row.prediction).tobytes() for row in read_manifest(data / "manifest.csv")]


def test_prediction_and_inpaint_use_the_weights_and_the_parameters(data, registry, monkeypatch):
    write_method(registry, "plain", "extends: edge\nlabel: P\nweights: e.safetensors\n")
    write_method(registry, "drawn", "extends: plain\nlabel: D\nparameters: {drawn_edges: hole, sigma: 3}\n")
    specs = {name: load_spec(name, "config/methods", "mini") for name in ("plain", "drawn")}
    for name, spec in specs.items():
        predict(spec, data / "manifest.csv", registry / name, weights=spec["weights"])
        recipe = {key: value for key, value in spec.items() if key != "weights"}  # as the workflow gives it
        predict(recipe, data / "manifest.csv", registry / f"{name}_rule", weights=spec["weights"])
        assert pixels(data, registry / name) == pixels(data, registry / f"{name}_rule")
    assert pixels(data, registry / "plain") != pixels(data, registry / "drawn")
    row = read_manifest(data / "manifest.csv")[0]
    image, mask = str(data / row.image), str(data / row.mask)
    monkeypatch.setattr("sair.commands.actions._project", lambda *given: Registry())
    for name in specs:
        assert main(["inpaint", image, mask, "-o", f"{name}.png", "--method", name]) == 0
        expected = read_rgb(registry / name / "composited" / row.prediction)
        assert (read_rgb(f"{name}.png") == expected).all()
    assert main(["inpaint", image, mask, "-o", "e.png", "--method", "edge"]) == 1
    assert not Path("e.png").exists()


class Registry:
    """The parts of a project that `sair inpaint` uses."""

    def method(self, name):
        return load_spec(name, "config/methods", "mini")

    def is_trained(self, name):
        return self.method(name)["training"] is not None

    def checkpoint(self, name, dataset, seed):
        return f"results/{dataset}/{name}/seed{seed}/checkpoint.safetensors"


TRAINING = {
    "steps": 1, "scale": 1, "batch": 2, "accumulate": 1, "processes": 1, "precision": "fp32", "schedule": "constant",
    "halve_every": 0.5, "warmup": 0, "clip_gradient": 0, "validate_every": 50, "save_every": 50, "workers": 0,
}  # fmt: skip


def test_a_method_over_one_with_weights_takes_its_size_from_them(data, registry):
    write_method(registry, "plain", "extends: edge\nlabel: P\nweights: e.safetensors\nparameters: {sigma: 5}\n")
    write_method(
        registry,
        "above",
        "label: A\nclass: baselines.jpgnet:JPGNet\nover: plain\nparameters: {channels: 4, downsamplings: 2}\n",
    )
    spec = load_spec("above", "config/methods", "mini", TRAINING)
    loop.fit(
        spec, data / "images.csv", data / "masks.csv", 0, registry / "a.safetensors", registry / "a.csv",
        over="e.safetensors", device="cpu",
    )  # fmt: skip
    above, below = load(registry / "a.safetensors"), load(registry / "e.safetensors")
    assert above.spec["parameters"]["generator"]["parameters"] == {**EDGECONNECT, "sigma": 5}
    states = above.network.generator.state_dict(), below.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in below.network.weights_to_save())
    edge_of_another = write_checkpoint(registry / "l.safetensors")
    with pytest.raises(InputError, match=r"weights of a sair\.models\.inpainter"):
        loop.Run(spec, 0, Path("r.safetensors"), [], over=edge_of_another)


def test_the_conformance_suite_uses_the_weights(registry):
    write_method(registry, "plain", "extends: edge\nlabel: P\nweights: e.safetensors\n")
    method = maker(load_spec("plain", "config/methods", "mini"))()
    expected = checkpoint.weights_of(load("e.safetensors").network)
    assert all(torch.equal(value, expected[name]) for name, value in checkpoint.weights_of(method).items())


def test_semantics_must_be_an_encoder(data, folder):
    path = write_checkpoint(folder / "liif.safetensors")
    with pytest.raises(InputError, match="not a semantic encoder"):
        loop.Run({**LIIF, "training": TRAINING}, 0, Path("r.safetensors"), [], encoder=path)


SMALL_CLIP = {
    "embed_dim": 8,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


def test_a_second_encoder_of_a_kind_trains_and_is_found_by_its_class(folder, data):
    clip = {"label": "CLIP", "class": "sair.models.clip:CLIP", "parameters": {"architecture": SMALL_CLIP}}
    (folder / "config/semantics/clip.yaml").write_text(json.dumps(clip))
    wide = "extends: clip\nlabel: Wide\nparameters: {architecture: {vision_cfg: {width: 24}}}\n"
    (folder / "config/semantics/clip_wide.yaml").write_text(wide)
    parameters = {**LIIF["parameters"], "sir": {"hidden": [8]}}
    method = {"label": "M", "class": LIIF["class"], "semantics": "clip_wide", "parameters": parameters}
    write_method(folder, "mine", json.dumps(method))
    files = data / "images.csv", data / "masks.csv", 0
    for name in ("clip", "clip_wide"):
        encoder = load_spec(name, "config/semantics", "mini", TRAINING)
        encoder["parameters"]["classes"] = ["skin", "hair"]
        loop.fit(encoder, *files, folder / f"{name}.safetensors", folder / f"{name}.csv", device="cpu")
    spec = load_spec("mine", "config/methods", "mini", TRAINING)
    mine, wide = folder / "mine.safetensors", folder / "clip_wide.safetensors"
    loop.fit(spec, *files, mine, folder / "mine.csv", encoder=wide, device="cpu")
    restored = load(mine)
    assert restored.network.semantic.visual.conv1.out_channels == 24
    assert restored.spec["parameters"]["semantic"]["architecture"]["vision_cfg"]["width"] == 24
    assert load_semantic_method(mine, load_clip(wide), wide).semantic is not None
    with pytest.raises(InputError, match="its semantics are not those of"):
        segment(folder / "clip.safetensors", data / "images.csv", data / "manifest.csv", folder / "s.csv", method=mine)
    with pytest.raises(InputError, match="not a semantic encoder"):
        segment(mine, data / "images.csv", data / "manifest.csv", folder / "s.csv")


def test_an_encoder_may_name_its_weights(folder, data):
    spec = {"name": "clip", "class": "sair.models.clip:CLIP", "parameters": {"architecture": SMALL_CLIP}}
    given = write_checkpoint(folder / "given.safetensors", spec)
    text = "label: CLIP\nclass: sair.models.clip:CLIP\nweights: given.safetensors\nparameters: {lr: 0.5}\n"
    (folder / "config/semantics/clip.yaml").write_text(text)
    encoder = load_spec("clip", "config/semantics", "mini", TRAINING)
    encoder["parameters"]["classes"] = ["skin"]
    written = folder / "clip.safetensors"
    loop.fit(encoder, data / "images.csv", data / "masks.csv", 0, written, folder / "c.csv", device="cpu")
    assert load_clip(written).classes == ("skin",)
    expected = checkpoint.load(given)[0]
    assert all(torch.equal(value, expected[name]) for name, value in checkpoint.load(written)[0].items())


def test_an_encoder_is_not_run_as_a_method(folder, capsys):
    spec = {"name": "clip", "class": "sair.models.clip:CLIP", "parameters": {"architecture": SMALL_CLIP}}
    path = write_checkpoint(folder / "clip.safetensors", spec)
    assert main(["inpaint", "a.png", "m.png", "-o", "o.png", "--checkpoint", str(path)]) == 1
    assert "sair.models.clip:CLIP does not fill holes" in capsys.readouterr().err


def test_an_encoder_of_equal_size_and_other_weights_is_another_one(folder):
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        spec = {"name": "clip", "class": "sair.models.clip:CLIP", "parameters": {"architecture": SMALL_CLIP}}
        paths.append(folder / f"{seed}.safetensors")
        checkpoint.save_method(paths[-1], Built(build(spec), spec))
    clip = load_clip(paths[0])
    spec = {**LIIF, "parameters": {**LIIF["parameters"], "semantic": clip.description}}
    method = build(spec)
    method.load_semantic(clip.dense)
    checkpoint.save_method(folder / "mine.safetensors", Built(method, spec))
    load_semantic_method(folder / "mine.safetensors", clip, paths[0])
    with pytest.raises(InputError, match="its semantics are not those of"):
        load_semantic_method(folder / "mine.safetensors", load_clip(paths[1]), paths[1])
    # An encoder that was trained with the method has other weights than the CLIP that it began as.
    spec["parameters"]["train_semantic"] = True
    checkpoint.save_method(folder / "trained.safetensors", Built(method, spec))
    load_semantic_method(folder / "trained.safetensors", load_clip(paths[1]), paths[1])
