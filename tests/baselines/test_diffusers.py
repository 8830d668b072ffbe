"""Test the diffusers adapter on tiny random pipelines: prompts, noise, sizes, and what is refused."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from helpers.pipelines import MAKERS, save_pipeline

from baselines.diffusers import Diffusers
from sair.commands.conformance import check, maker, samples
from sair.common.errors import InputError
from sair.data.manifest import ManifestRow
from sair.inference.method import Method
from sair.inference.predict import predict
from sair.methods.readiness import lacking
from sair.methods.spec import load_spec

needs_diffusers = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("diffusers", "transformers"))), reason="needs diffusers and transformers"
)
SPEC = {"name": "pipe", "sees_truth": False}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the folder of a kind of pipeline, which is written once."""
    folder, done = tmp_path_factory.mktemp("pipelines"), {}

    def save(kind):
        if kind not in done:
            done[kind] = str(save_pipeline(kind, folder / kind))
        return done[kind]

    return save


def pair(size=32, height=27):
    images, masks = (part[..., :height, :] for part in samples(2, size))
    return images * (1 - masks), masks


def row(name, bucket="20-40"):
    return ManifestRow(name, bucket, name, f"images/{name}.png", "m.png", 1, 2, "", "")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dtype": "float8"}, "dtype: 'float8'; expected float32 or bfloat16 or float16"),
        ({"steps": 0}, "steps: 0; expected a whole number of at least 1"),
        ({"strength": 0}, "strength: 0; expected a number above 0 and up to 1"),
        ({"strength": 1.5}, "strength: 1.5; expected"),
        ({"guidance": "7"}, "guidance: '7'; expected a number"),
        ({"prompt": None}, "prompt: None; expected a text"),
        ({"revision": 5}, "revision: 5; expected a text"),
        ({"seed": 1.5}, "seed: 1.5; expected a whole number"),
        ({"options": {"generator": 1}}, "options.generator: the method sets it itself"),
        ({"captions": "nowhere.csv"}, r"nowhere\.csv: not a readable CSV of captions"),
    ],
)
def test_faulty_parameters_are_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        Diffusers(model="model", **parameters)


def test_a_model_that_is_not_here_is_reported_with_how_to_get_it(nowhere):
    spec = {"name": "p", "class": "baselines.diffusers:Diffusers", "weights": None, "training": None}
    found = lacking({**spec, "parameters": {"model": "some/model", "revision": "abc"}})[-1]
    assert "https://huggingface.co/some/model" in found and "hf download some/model --revision abc" in found
    assert "no folder with model_index.json" in lacking({**spec, "parameters": {"model": "./here"}})[-1]


@needs_diffusers
@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_of_pipeline_conforms(saved, kind):
    name = "FluxFillPipeline" if kind == "flux_fill" else "auto"
    check(lambda: Method(Diffusers(model=saved(kind), pipeline=name, steps=2), SPEC), size=32)


@needs_diffusers
@pytest.mark.slow
def test_seed_prompt_and_row_change_the_result_and_nothing_else_does(saved):
    images, masks = pair()

    def fill(rows=(), **parameters):
        return Diffusers(model=saved("stable_diffusion"), steps=2, **parameters).inpaint(images, masks, rows)

    rows = [row("a"), row("b")]
    first = fill(rows)
    assert torch.equal(first, fill(rows))
    assert not torch.equal(first, fill(rows, seed=1))
    assert not torch.equal(first, fill(rows, prompt="a red hat"))
    assert not torch.equal(first, fill([row("a", "40-60"), row("b")]))
    swapped = Diffusers(model=saved("stable_diffusion"), steps=2).inpaint(images.flip(0), masks.flip(0), rows[::-1])
    assert torch.equal(first, swapped.flip(0))


@needs_diffusers
@pytest.mark.slow
def test_captions_come_from_the_dataset_or_from_a_file(saved, tmp_path):
    images, masks = pair()
    path = tmp_path / "captions.csv"
    path.write_text("id,caption\na,a cat\nb,a dog\n")
    model = {"model": saved("stable_diffusion"), "steps": 2}
    rows = [row("a"), row("b")]
    own = Diffusers(**model, prompt="photo of {caption}", captions=str(path))
    of_set = Diffusers(**model, prompt="photo of {caption}")
    fixed = [Diffusers(**model, prompt=f"photo of {what}").inpaint(images, masks, rows) for what in ("a cat", "a dog")]
    expected = torch.stack([fixed[0][0], fixed[1][1]])
    assert of_set.uses_captions and not own.uses_captions
    assert torch.equal(own.inpaint(images, masks, rows), expected)
    assert torch.equal(of_set.inpaint(images, masks, rows, ["a cat", "a dog"]), expected)
    with pytest.raises(InputError, match=r"captions\.csv: no caption of the image z"):
        own.inpaint(images, masks, [row("a"), row("z")])
    with pytest.raises(InputError, match=r"these images have no captions. Write a fixed prompt"):
        of_set.inpaint(images, masks, rows)


@needs_diffusers
@pytest.mark.slow
def test_sizes_are_mirrored_to_what_the_pipeline_needs_and_resized_if_asked(saved, monkeypatch):
    images, masks = pair(height=21)
    for parameters, expected in (({}, (24, 32)), ({"size": 48}, (48, 80)), ({"multiple": 16}, (32, 32))):
        method, seen = Diffusers(model=saved("flux"), steps=1, **parameters), []
        call = method._call
        monkeypatch.setattr(
            method, "_call", lambda i, m, *more, call=call, s=seen: s.append(i.shape[-2:]) or call(i, m, *more)
        )
        assert method.inpaint(images, masks).shape == images.shape
        assert set(seen) == {expected}


@needs_diffusers
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        (
            "stable_diffusion",
            {"pipeline": "StableDifusionInpaintPipeline"},
            "has no StableDifusion.*Did you mean Stable",
        ),
        ("stable_diffusion", {"pipeline": "StableDiffusionPipeline"}, "takes no mask. Name a class that inpaints"),
        ("stable_diffusion", {"pipeline": "FluxInpaintPipeline"}, "cannot be loaded as FluxInpaintPipeline"),
        ("stable_diffusion", {"options": {"true_cfg_scale": 4}}, "has no argument 'true_cfg_scale'"),
        ("flux", {"negative_prompt": "x", "options": {"guidence_scale": 1}}, "Did you mean guidance_scale"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_in_one_line(saved, kind, parameters, message):
    with pytest.raises(InputError, match=message) as error:
        Diffusers(model=saved(kind), **parameters)
    assert "\n" not in str(error.value)


@needs_diffusers
@pytest.mark.slow
def test_pickles_and_code_of_the_model_are_refused(saved, tmp_path):
    import shutil

    folder = Path(shutil.copytree(saved("stable_diffusion"), tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "unet": ["my_unet", "MyUNet"]}))
    (folder / "my_unet.py").write_text("raise SystemExit('code of the model was run')")
    with pytest.raises(InputError, match="refused: its part unet is a class of its own code"):
        Diffusers(model=str(folder))
    (folder / "model_index.json").write_text(json.dumps(index))
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(InputError, match=r"cannot be loaded as auto .*Expected all parts in safetensors"):
        Diffusers(model=str(folder))


@needs_diffusers
@pytest.mark.slow
def test_one_more_pipeline_takes_one_file_and_runs_on_a_manifest(saved, folder, frozen_split):
    (folder / "config/methods/new.yaml").write_text(
        "label: New\nclass: baselines.diffusers:Diffusers\ntraining: null\n"
        f'parameters: {{model: {saved("stable_diffusion")}, prompt: "{{caption}}", steps: 1}}\n'
    )
    spec = load_spec("new", "config/methods", "mini")
    assert lacking(spec) == []
    check(maker({**spec, "parameters": {**spec["parameters"], "prompt": "a face"}}), size=32)
    predict(spec, frozen_split(folder / "data"), folder / "out")
    assert len(list((folder / "out/composited").rglob("*.png"))) == 6
