"""Programs and folders as methods: what they are given, and every way in which they can fail."""

import sys
import time

import numpy as np
import pytest
import torch

import baselines
from baselines.command import Command
from baselines.precomputed import Precomputed
from sair.conformance import check, samples
from sair.data.freeze import write_manifest, write_pictures
from sair.data.manifest import read_manifest
from sair.files import InputError
from sair.images import read_rgb, write_png
from sair.prediction import predict

SPEC = {"name": "mine", "sees_truth": False}

# A program of its own: fills the hole with the mean of the known pixels. It knows nothing of this project.
PROGRAM = """
import pathlib, sys
import numpy as np
from PIL import Image
images, masks, output = (pathlib.Path(p) for p in sys.argv[1:4])
hole = int(sys.argv[4]) if len(sys.argv) > 4 else 255
names = sorted(p for p in images.iterdir() if "_mask" not in p.stem)
for path in names:
    pixels = np.array(Image.open(path))
    mask = np.array(Image.open(masks / path.name if (masks / path.name).exists() and masks != images
                               else masks / (path.stem + "_mask.png"))) == hole
    known = pixels[~mask].mean(0) if (~mask).any() else np.zeros(3)
    filled = np.where(mask[..., None], known.round().astype(np.uint8), pixels)
    {change}
    Image.fromarray(filled).save(output / {name})
{after}
"""


def program(folder, change="pass", name="path.name", after=""):
    path = folder / "program.py"
    path.write_text(PROGRAM.format(change=change, name=name, after=after))
    return [sys.executable, str(path), "{images}", "{masks}", "{output}"]


def test_a_program_conforms(tmp_path):
    check(lambda: Command(command=program(tmp_path)), SPEC)


@pytest.mark.parametrize(
    "options",
    [
        {"hole": "black", "fill": "white", "extra": ["0"]},
        {"together": True, "mask_name": "{id}_mask.png", "fill": "grey"},
        {"size": 48},
    ],
)
def test_its_own_terms_are_kept(tmp_path, options):
    command = program(tmp_path) + options.pop("extra", [])
    method = Command(command=command, **options)
    images, masks = samples(2)
    filled = method.inpaint(images * (1 - masks), masks)
    for image, mask, found in zip(images, masks, filled, strict=True):
        hole = mask[0].bool()
        if options.get("size"):
            # Shown smaller: known pixels near the hole count as hole there, so the mean is another.
            assert (found[:, hole].mean(1) - image[:, ~hole].mean(1)).abs().max() < 0.1
        else:
            assert (found[:, hole] - image[:, ~hole].mean(1, keepdim=True)).abs().max() < 2 / 255


@pytest.mark.parametrize(
    ("change", "name", "after", "options", "message"),
    [
        ("pass", "path.name", "sys.exit('out of memory')", {}, r"ended with status 1:\nout of memory"),
        ("if path == names[1]: continue", "path.name", "", {}, r"the program left no 00001\.png"),
        ("pass", "path.name", "(output / 'log.txt').write_text('')", {}, r"left log\.txt, which nobody asked for"),
        ("filled = filled[:-1]", "path.name", "", {}, "must have its picture's size"),
        ("filled = filled[:-1]", "path.name", "", {"size": 32}, r"not of 32 \(`size`\)"),
        ("filled = filled[path == names[1]:]", "path.name", "", {}, "pictures of different sizes"),
        ("pass", "(path.stem + '.jpg')", "", {}, r"left no 00000\.png"),
        ("pass", "path.name", "(output / names[0].name).write_bytes(b'')", {}, "not a readable image"),
        ("pass", "path.name", "import time; time.sleep(60)", {"timeout": 1.5}, r"stopped after 1\.5 seconds"),
        ("pass", "path.name", "", {"hole": "black"}, "mask polarity|hole filled"),
        ("filled = pixels", "path.name", "", {}, "hole filled"),
    ],
)
def test_a_broken_program_is_caught_by_name(tmp_path, change, name, after, options, message):
    start = time.monotonic()
    command = program(tmp_path, change, name, after)
    with pytest.raises(InputError, match=message):
        check(lambda: Command(command=command, **options), SPEC)
    assert time.monotonic() - start < 30


def test_what_is_not_there_is_said_with_the_remedy(tmp_path):
    images, masks = samples(1)
    checkout = {"folder": str(tmp_path / "lama"), "repository": "https://example.org/lama", "commit": "abc"}
    method = Command(command=["{checkout}/run"], checkout=checkout)
    with pytest.raises(InputError, match=r"git clone https://example.org/lama .*checkout abc"):
        method.inpaint(images, masks)
    with pytest.raises(InputError, match="cannot be started"):
        Command(command=["no-such-program"]).inpaint(images, masks)
    for options, message in (
        ({"hole": "red"}, "white or black"),
        ({"fill": "noise"}, "black, grey"),
        ({"together": True}, "different names"),
    ):
        with pytest.raises(InputError, match=message):
            Command(command=["x"], **options)


@pytest.fixture
def frozen(tmp_path, config):
    data = tmp_path / "faces"
    write_pictures({"source": "faces", "train": 1, "validation": 0, "test": 2}, 32, data / "pictures.csv")
    strokes = {"source": "strokes", "train": 1}
    manifest = data / "manifest.csv"
    write_manifest(data / "pictures.csv", strokes, config["buckets"], manifest, data / "training_masks.csv")
    return manifest


def specification(cls, **parameters):
    return {"name": "mine", "class": cls, "parameters": parameters, "sees_truth": False}


def test_precomputed_pictures_are_taken_as_they_are(frozen, tmp_path):
    mean = {"name": "mean", "class": "baselines.controls:MeanFill", "parameters": {}, "sees_truth": False}
    predict(mean, frozen, tmp_path / "first")
    folder = tmp_path / "first/raw"
    predict(specification("baselines.precomputed:Precomputed", folder=str(folder)), frozen, tmp_path / "second")
    for row in read_manifest(frozen):
        for kind in ("raw", "composited"):
            first, second = (read_rgb(tmp_path / which / kind / row.prediction) for which in ("first", "second"))
            assert np.array_equal(first, second)
    spec = specification("baselines.precomputed:Precomputed", folder=str(folder))
    some = next(folder.rglob("*.png"))
    write_png(folder / "0-20/stranger.png", np.zeros((32, 32, 3), np.uint8))
    kept = some.read_bytes()
    some.unlink()
    with pytest.raises(InputError, match=rf"(?s){some.name}: missing.*stranger\.png: not in manifest"):
        predict(spec, frozen, tmp_path / "third")
    (folder / "0-20/stranger.png").unlink()
    write_png(some, np.zeros((31, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"32x31 pixels, expected 32x32"):
        predict(spec, frozen, tmp_path / "third")
    some.write_bytes(kept)
    with pytest.raises(InputError, match="no such folder"):
        Precomputed(folder=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="rows of a manifest"):
        Precomputed(folder=str(folder)).inpaint(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))


def test_a_program_runs_over_a_manifest_in_few_calls(frozen, tmp_path):
    spec = specification("baselines.command:Command", command=program(tmp_path), batch=4)
    predict(spec, frozen, tmp_path / "predictions")
    rows = read_manifest(frozen)
    assert len(rows) == 6 and len(list((tmp_path / "predictions/composited").rglob("*.png"))) == 6


def test_a_new_method_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    """The skeleton passes the conformance suite, its own test and the linter."""
    import subprocess

    from sair.cli import main
    from sair.methods import build, load_method

    (tmp_path / "config/methods").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["new-method", "my_method"]) == 0
    assert "config/methods/my_method.yaml" in capsys.readouterr().out
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path / "baselines")])
    spec = load_method("my_method", "config/methods", "mini", {"scale": 1, "batch": 8})
    assert spec["training"]["steps"] == 1000

    def make():
        torch.manual_seed(0)
        return build(spec)

    check(make, spec)
    namespace = {}
    exec(compile((tmp_path / "tests/test_my_method.py").read_text(), "test_my_method", "exec"), namespace)
    namespace["test_it_learns"]()
    ours = 'lint.isort.known-first-party=["sair", "baselines"]'
    line = [sys.executable, "-m", "ruff", "check", "--config", "line-length=120", "--config", ours, "."]
    ruff = subprocess.run(line, capture_output=True)
    assert ruff.returncode == 0, ruff.stdout
    assert main(["new-method", "my_method"]) == 1
    assert main(["new-method", "My-Method"]) == 1
    error = capsys.readouterr().err
    assert "exists" in error and "lower-case" in error


@pytest.mark.parametrize("name", ["lama_original", "misf_original"])
def test_the_authors_programs_say_how_to_get_them(name):
    from sair.methods import build, load_method

    images, masks = samples(1)
    method = build(load_method(name, "config/external", "mini", {}))
    with pytest.raises(
        InputError, match=r"code is not there. Get it: git clone https://github.com/.* checkout [0-9a-f]{40}"
    ):
        method.inpaint(images, masks)
