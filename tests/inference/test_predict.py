"""Test how predictions become bytes, and how one image of any size is filled."""

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.controls import Biharmonic, GroundTruth, MeanFill
from sair.commands.cli import main
from sair.common.errors import InputError
from sair.common.images import read_rgb, write_png
from sair.data.manifest import read_manifest
from sair.data.samples import to_pixels
from sair.evaluation.score import score_predictions
from sair.inference.kinds import composite
from sair.inference.method import Method
from sair.inference.predict import predict
from sair.methods import checkpoint
from sair.methods.build import build
from sair.methods.spec import load_spec

MEAN = {"name": "mean_fill", "class": "baselines.controls:MeanFill", "parameters": {}, "sees_truth": False}
TRUTH = {"name": "ground_truth", "class": "baselines.controls:GroundTruth", "parameters": {}, "sees_truth": True}
LIIF = {
    "name": "liif",
    "class": "sair.models.inpainter:ImplicitInpainter",
    "sees_truth": False,
    "parameters": {
        "encoder": {"name": "app", "channels": 4, "blocks": 1},
        "air": {"name": "liif", "hidden": [8], "unfold": True},
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, frozen_split):
    return frozen_split(tmp_path_factory.mktemp("data"), test=3, train=2, masks=2).parent


def test_pixels_are_rounded_not_truncated():
    values = torch.arange(256) / 255
    assert (to_pixels((values + 0.4 / 255).expand(3, 1, -1))[0, :, 0] == np.arange(256)).all()
    assert (to_pixels((values - 0.4 / 255).expand(3, 1, -1))[0, :, 0] == np.arange(256)).all()
    assert (to_pixels(torch.tensor([-1.0, 2.0]).expand(3, 1, -1))[0, :, 0] == [0, 255]).all()


def test_compositing_keeps_known_bytes():
    truth, prediction = (np.full((4, 4, 3), v, np.uint8) for v in (10, 200))
    hole = np.eye(4, dtype=bool)
    result = composite(truth, prediction, hole)
    assert (result[hole] == 200).all() and (result[~hole] == 10).all()


def test_only_the_ground_truth_control_gets_hole_pixels():
    class Spy:
        def inpaint(self, images, masks):
            self.seen = images.clone()
            return images

    images, masks = torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    masks[..., 2:5, 2:5] = 1
    spy = Spy()
    Method(spy, MEAN).predict(images, masks)
    assert (spy.seen * masks).abs().max() == 0 and torch.equal(spy.seen * (1 - masks), images * (1 - masks))
    Method(spy, TRUTH).predict(images, masks)
    assert torch.equal(spy.seen, images)


def test_controls():
    images, masks = torch.rand(2, 3, 16, 16), torch.zeros(2, 1, 16, 16)
    masks[..., 4:9, 5:12] = 1
    filled = MeanFill().inpaint(images * (1 - masks), masks)
    hole = masks[0, 0].bool()
    expected = images[0][:, ~hole].mean(1)
    torch.testing.assert_close(filled[0][:, hole], expected[:, None].expand(3, hole.sum()))
    assert MeanFill().inpaint(images * 0, torch.ones_like(masks)).unique().tolist() == [0.5]
    assert torch.equal(GroundTruth().inpaint(images, masks), images)
    ramp = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    restored = Biharmonic().inpaint(ramp * (1 - masks[:1]), masks[:1])
    torch.testing.assert_close(restored, ramp, atol=1e-5, rtol=0)  # a plane is biharmonic


def test_predictions_are_scored_from_disk(data, tmp_path):
    for name, spec in (("mean", MEAN), ("truth", TRUTH)):
        predict(spec, data / "manifest.csv", tmp_path / name)
        score_predictions(data / "manifest.csv", tmp_path / name, tmp_path / f"{name}.csv", show=False)
    rows = read_manifest(data / "manifest.csv")
    assert len(list((tmp_path / "mean/composited").rglob("*.png"))) == len(rows) == 9
    scores = (tmp_path / "truth.csv").read_text().splitlines()
    assert all(",inf,1,0," in line for line in scores[1:])
    assert "inf" not in (tmp_path / "mean.csv").read_text()


def test_the_batch_size_does_not_matter(data, tmp_path):
    for batch in (1, 4):
        predict(MEAN, data / "manifest.csv", tmp_path / str(batch), batch=batch)
    for row in read_manifest(data / "manifest.csv"):
        one, four = ((tmp_path / f"{b}/raw" / row.prediction).read_bytes() for b in (1, 4))
        assert one == four


def test_an_altered_truth_is_named(data, tmp_path):
    row = read_manifest(data / "manifest.csv")[0]
    original = read_rgb(data / row.image)
    try:
        write_png(data / row.image, 255 - original)
        with pytest.raises(InputError, match=f"{row.id}.png: its pixels have changed"):
            predict(MEAN, data / "manifest.csv", tmp_path)
    finally:
        write_png(data / row.image, original)


@pytest.fixture(scope="module")
def liif(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("liif") / "checkpoint.safetensors"
    method = build(LIIF)
    checkpoint.save(path, method.state_dict(), {"spec": LIIF, "seed": 0, "steps": 0, "image_size": 32})
    return path


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (75, 101, 3), dtype=np.uint8)
    hole = np.zeros((75, 101), bool)
    hole[20:50, 30:70] = True
    write_png(tmp_path / "photo.png", pixels)
    write_png(tmp_path / "mask.png", hole.astype(np.uint8) * 255)
    return pixels, hole


def test_inpaint_command_on_any_size(tmp_path, liif, photo):
    pixels, hole = photo
    arguments = [str(tmp_path / "photo.png"), str(tmp_path / "mask.png"), "-o", str(tmp_path / "out.png")]
    assert main(["inpaint", *arguments, "--checkpoint", str(liif)]) == 0
    result = read_rgb(tmp_path / "out.png")
    assert result.shape == pixels.shape and (result[~hole] == pixels[~hole]).all()
    assert (result[hole] != pixels[hole]).any()


def test_a_control_needs_no_checkpoint(tmp_path, photo):
    pixels, hole = photo
    arguments = [str(tmp_path / "photo.png"), str(tmp_path / "mask.png"), "-o", str(tmp_path / "out.png")]
    assert main(["inpaint", *arguments, "--method", "mean_fill"]) == 0
    expected = pixels[~hole].mean(0)
    assert np.abs(read_rgb(tmp_path / "out.png")[hole].mean(0) - expected).max() <= 0.5


def test_a_plane_survives_being_shown_reduced():
    ramp = np.linspace(40, 200, 120).round().astype(np.uint8)
    pixels = np.broadcast_to(ramp[None, :, None], (90, 120, 3)).copy()
    hole = np.zeros((90, 120), bool)
    hole[30:60, 40:80] = True
    filled = Method(Biharmonic(), MEAN).inpaint(pixels, hole, size=45)
    assert np.abs(filled[hole].astype(int) - pixels[hole]).max() <= 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": "small"}, "10x10 pixels, but .* has 101x75. Resize the mask"),
        ({"mask": "grey"}, "of its pixels are grey"),
        ({"mask": "empty"}, "no pixel is a hole"),
        ({"mask": "missing"}, "no such file"),
        ({"output": "out.jpg"}, "written as PNG"),
        ({"method": "siar"}, "unknown method 'siar'.*Did you mean sair"),
        ({"method": "sair", "results": "nowhere"}, "no such checkpoint. Train it first: snakemake"),
    ],
)
def test_inpaint_refuses_by_name(tmp_path, liif, photo, capsys, change, message):
    write_png(tmp_path / "small.png", np.zeros((10, 10), np.uint8))
    write_png(tmp_path / "grey.png", np.full((75, 101), 77, np.uint8))
    write_png(tmp_path / "empty.png", np.zeros((75, 101), np.uint8))
    mask, output = change.pop("mask", "mask"), change.pop("output", "out.png")
    arguments = ["inpaint", str(tmp_path / "photo.png"), str(tmp_path / f"{mask}.png"), "-o", str(tmp_path / output)]
    if change:
        arguments += [item for key, value in change.items() for item in (f"--{key}", value)]
    else:
        arguments += ["--checkpoint", str(liif)]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    import re

    assert error.startswith("error: ") and re.search(message, error), error
    assert not (tmp_path / output).exists()


def test_rendering_at_another_size_agrees_with_the_grid(mini):
    """At its own size a rendering equals that of the grid; at three times the size its centre pixels do."""
    torch.manual_seed(0)
    spec = mini("liif")
    method = build(spec).eval()
    method.air.cell = False
    images, masks = torch.rand(1, 3, 16, 20), (torch.rand(1, 1, 16, 20) < 0.3).float()
    method.air = type(method.air)(method.encoder.channels, 3, (16,), unfold=True)
    own = method.inpaint(images * (1 - masks), masks)
    torch.testing.assert_close(method.inpaint(images * (1 - masks), masks, size=(16, 20)), own, atol=1e-5, rtol=0)
    three = method.inpaint(images * (1 - masks), masks, size=(48, 60))
    torch.testing.assert_close(three[..., 1::3, 1::3], own, atol=1e-5, rtol=0)
    holes_only = method.inpaint(images * (1 - masks), masks, known=False)
    torch.testing.assert_close(holes_only * masks, own * masks, atol=1e-5, rtol=0)
    assert torch.equal(holes_only * (1 - masks), images * (1 - masks))


def test_memory_is_bounded_by_chunks(mini):
    torch.manual_seed(0)
    method = build(mini("liif")).eval()
    images, masks = torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    torch.testing.assert_close(
        method.inpaint(images, masks, chunk=7), method.inpaint(images, masks), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scale", "nan"], "a scale of nan: expected a positive number"),
        (["--scale", "inf"], "a scale of inf"),
        (["--scale", "-1"], "a scale of -1"),
        (["--scale", "400"], "`--scale 400` of 101x75 pixels is more than 134 megapixels"),
        (["--scale", "1e300"], "is more than 134 megapixels"),
        (["--size", "0"], "a size of 0: expected a positive number of pixels"),
        (["--size", "-4"], "a size of -4"),
        (["-o", "photo.png/out.png"], "is a file"),
        (["-o", "folder.png"], "a folder has this name"),
        (["-o", "x" * 252 + ".png"], "at most 255 bytes"),
    ],
)
def test_impossible_numbers_and_outputs_are_refused(tmp_path, liif, photo, capsys, monkeypatch, options, message):
    (tmp_path / "folder.png").mkdir()
    arguments = [str(tmp_path / "photo.png"), str(tmp_path / "mask.png"), "--checkpoint", str(liif)]
    monkeypatch.setattr(Method, "predict_any_size", None)  # nothing is computed
    if options[0] == "-o":
        options = ["-o", str(tmp_path / options[1])]
    else:
        arguments += ["-o", str(tmp_path / "out.png")]
    assert main(["inpaint", *arguments, *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("method", ["biharmonic", "mean_fill"])
@pytest.mark.parametrize("kind", ["all hole", "one known pixel", "one column known"])
def test_controls_fill_every_mask(tmp_path, photo, method, kind):
    pixels, hole = photo
    hole[:] = True
    hole[{"all hole": slice(0), "one known pixel": (40, 50), "one column known": (slice(None), 7)}[kind]] = False
    write_png(tmp_path / "mask.png", hole.astype(np.uint8) * 255)
    paths = [str(tmp_path / name) for name in ("photo.png", "mask.png", "out.png")]
    assert main(["inpaint", *paths[:2], "-o", paths[2], "--method", method]) == 0
    filled = read_rgb(paths[2])
    assert (filled[~hole] == pixels[~hole]).all()
    if kind != "one column known":
        expected = pixels[~hole].mean(0) if kind == "one known pixel" else 127.5
        assert np.abs(filled[hole] - expected).max() <= 1


@pytest.mark.parametrize("kind", ["deep", "transparent"])
def test_inpaint_reads_files_with_the_common_checks(tmp_path, photo, kind, capsys):
    pixels, hole = photo
    arguments = [str(tmp_path / name) for name in ("photo.png", "mask.png")]
    arguments += ["-o", str(tmp_path / "out.png"), "--method", "mean_fill"]
    if kind == "deep":
        grey = np.linspace(0, 65535, 75 * 101).astype(np.uint16).reshape(75, 101)
        Image.fromarray(grey).save(tmp_path / "photo.png")
        assert main(["inpaint", *arguments]) == 0
        found = read_rgb(tmp_path / "out.png")[..., 0]
        assert np.abs(found[~hole] - grey[~hole] / 257).max() <= 0.5
    else:
        alpha = np.where(hole, 0, 255).astype(np.uint8)  # erased from a white layer
        Image.fromarray(np.dstack([np.full_like(alpha, 255)] * 3 + [alpha])).save(tmp_path / "mask.png")
        assert main(["inpaint", *arguments]) == 1
        assert "--hole transparent" in capsys.readouterr().err
        assert main(["inpaint", *arguments, "--hole", "transparent"]) == 0
        found = read_rgb(tmp_path / "out.png")
        assert (found[~hole] == pixels[~hole]).all() and (found[hole] != pixels[hole]).any()


def test_methods_command_lists_the_registry(capsys):
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("sair", "liif", "lama", "biharmonic"))
    assert load_spec("sair", "config/methods", "mini", {})["label"] in listed


def test_any_scale_with_a_hole_and_without(tmp_path, liif, photo, capsys):
    pixels, _ = photo
    image, mask, output = (str(tmp_path / name) for name in ("photo.png", "mask.png", "large.png"))
    common = ["-o", output, "--checkpoint", str(liif)]
    assert main(["inpaint", image, mask, *common, "--scale", "2.5"]) == 0
    assert read_rgb(output).shape == (round(2.5 * pixels.shape[0]), round(2.5 * pixels.shape[1]), 3)
    with_hole = read_rgb(output)
    assert main(["inpaint", image, *common, "--scale", "2.5"]) == 0
    assert read_rgb(output).shape == with_hole.shape and (read_rgb(output) != with_hole).any()
    for arguments, message in (
        ([image, *common], "nothing to do"),
        ([image, mask, *common, "--scale", "0"], "positive number"),
        ([image, mask, "-o", output, "--method", "mean_fill", "--scale", "2"], "needs an implicit method"),
    ):
        assert main(["inpaint", *arguments]) == 1
        assert message in capsys.readouterr().err
