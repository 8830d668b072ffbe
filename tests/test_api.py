"""Test the Python API with every kind of image, and against the command line."""

import doctest
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import sair
from sair import api
from sair.commands.conformance import maker
from sair.common.errors import InputError
from sair.common.images import read_rgb, write_png
from sair.data.samples import to_pixels
from sair.evaluation.folders import score_folders
from sair.inference import method as method_module
from sair.inference.kinds import composite
from sair.methods.checkpoint import save_method
from sair.methods.spec import load_spec

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (40, 48, 3), dtype=np.uint8)
MASK = np.zeros((40, 48), bool)
MASK[10:25, 12:30] = True


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return a LIIF on random weights, as a checkpoint."""
    spec = load_spec("liif", "config/methods", "mini", {"steps": 1, "scale": 1})
    path = tmp_path_factory.mktemp("api") / "liif.safetensors"
    save_method(path, replace(maker(spec)(), image_size=64))
    return path


def test_the_examples_in_the_docstrings():
    for module in (sair, api, method_module):
        found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
        assert found.attempted and not found.failed


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, sair; print(sair.__version__); assert not {'torch', 'pandas', 'PIL'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        sair.laod  # noqa: B018


def test_every_kind_of_image_gives_that_kind_and_one_result(checkpoint):
    method = sair.load(checkpoint, device="cpu")
    assert (method.image_size, method.spec["label"]) == (64, "LIIF")
    filled = method.inpaint(IMAGE, MASK)
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~MASK], IMAGE[~MASK]), "known pixels keep their bytes"
    assert (filled[MASK] != IMAGE[MASK]).any()
    tensors = torch.from_numpy(IMAGE).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(MASK).float()[None, None]
    raw = to_pixels(method.predict(*tensors)[0])
    assert np.array_equal(filled.raw, raw) and np.array_equal(filled, composite(IMAGE, raw, MASK))
    pil = method.inpaint(Image.fromarray(IMAGE), Image.fromarray(MASK))
    assert isinstance(pil, Image.Image) and np.array_equal(np.asarray(pil), filled)
    assert np.array_equal(np.asarray(pil.raw), raw)
    floats = IMAGE.astype(np.float64) / 255
    as_float = method.inpaint(floats, MASK.astype(np.uint8))
    assert as_float.dtype == np.float64 and np.array_equal(as_float[~MASK], floats[~MASK])
    assert np.abs(as_float - filled / 255.0).max() <= 0.5 / 255 + 1e-6, "floats are not rounded"
    batch = method.inpaint(tensors[0].expand(2, -1, -1, -1), tensors[1])
    assert batch.shape == (2, 3, 40, 48) and torch.equal(batch[0], batch[1])
    assert np.array_equal(to_pixels(batch[0]), filled)
    single = method.inpaint(torch.from_numpy(IMAGE).permute(2, 0, 1), torch.from_numpy(MASK.astype(np.uint8) * 255))
    assert single.dtype == torch.uint8 and np.array_equal(single.permute(1, 2, 0).numpy(), filled)


def test_paths_are_read_with_the_common_checks(checkpoint, tmp_path):
    write_png(tmp_path / "a.png", IMAGE)
    write_png(tmp_path / "black.png", np.where(MASK, 0, 255).astype(np.uint8))
    method = sair.load(str(checkpoint))
    filled = method.inpaint(tmp_path / "a.png", str(tmp_path / "black.png"), hole="black")
    assert np.array_equal(np.asarray(filled), method.inpaint(IMAGE, MASK))


def test_pixels_under_the_hole_do_not_matter(checkpoint):
    other = np.where(MASK[..., None], np.uint8(255) - IMAGE, IMAGE)
    for method in (sair.load(checkpoint), sair.load("mean_fill"), sair.load("biharmonic")):
        assert np.array_equal(method.inpaint(IMAGE, MASK), method.inpaint(other, MASK))


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (IMAGE[..., 0], MASK, r"shape \(40, 48\): expected \(H, W, 3\)"),
        (IMAGE.astype(float), MASK, "values from 0 to 255: expected floats"),
        (IMAGE.astype(np.int64), MASK, "expected uint8, or floats"),
        (np.full((40, 48, 3), np.nan), MASK, "expected floats in"),
        (Image.fromarray(IMAGE).convert("RGBA"), MASK, "mode RGBA"),
        ([1, 2], MASK, "type list"),
        (IMAGE, MASK[:20], "resize masks"),
        (IMAGE, np.zeros_like(MASK), "has no hole"),
        (IMAGE, MASK * 0.5, "values such as"),
        (IMAGE, IMAGE, "values such as"),
        (IMAGE, np.repeat(MASK[..., None], 3, 2), "one channel"),
        ("nowhere.png", MASK, r"nowhere\.png: no such file"),
    ],
)
def test_ambiguous_images_and_masks_are_refused(image, mask, message):
    with pytest.raises(InputError, match=message):
        sair.load("mean_fill").inpaint(image, mask)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("sair", "is trained, and no checkpoint is named"),
        ("siar", "Did you mean sair"),
        ("no/such.safetensors", "no such"),
    ],
)
def test_no_method_runs_on_random_weights(source, message):
    with pytest.raises(sair.InputError, match=message):
        sair.load(source)


@pytest.mark.slow
def test_scores_of_one_image_are_those_of_its_folder(tmp_path):
    filled = sair.load("biharmonic").inpaint(IMAGE, MASK)
    for folder, pixels in {"t": IMAGE, "p": filled, "m": MASK.astype(np.uint8) * 255}.items():
        write_png(tmp_path / folder / "a.png", np.asarray(pixels))
    one = sair.score(IMAGE, filled, MASK)
    frame = sair.score(tmp_path / "t", tmp_path / "p", tmp_path / "m")
    pd.testing.assert_frame_equal(frame, score_folders(tmp_path / "t", tmp_path / "p", tmp_path / "m", show=False))
    assert {name: frame[name][0] for name in one} == pytest.approx(one, abs=1e-7)
    as_tensor = torch.from_numpy(np.array(filled)).permute(2, 0, 1).float() / 255
    assert sair.score(tmp_path / "t/a.png", as_tensor, MASK) == one
    with pytest.raises(InputError, match="give both one size"):
        sair.score(IMAGE, read_rgb(tmp_path / "p/a.png")[:30])
    with pytest.raises(InputError, match="at least 11 on each side"):
        sair.score(IMAGE[:8, :8], IMAGE[:8, :8])
    assert np.isnan(sair.score(IMAGE[:20, :20], IMAGE[:20, :20])["lpips"])


def test_compare_takes_frames_and_files_alike(tmp_path):
    before = pd.DataFrame({"id": [f"{k:03}" for k in range(30)], "psnr": 30 + RNG.normal(size=30), "l1": 0.02})
    after = before.assign(psnr=before.psnr - 0.4 + 0.05 * RNG.normal(size=30))
    for name, frame in {"before": before, "after": after}.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    least = {"psnr": 0.2, "l1": 0.001}
    found = sair.compare(after, before, least)
    pd.testing.assert_frame_equal(found, sair.compare(tmp_path / "after.csv", tmp_path / "before.csv", least))
    assert found.set_index("metric").outcome.to_dict() == {"psnr": "worse", "l1": "no difference"}
    assert found.difference[0] == pytest.approx((after.psnr - before.psnr).mean())
    with pytest.raises(InputError, match="different images"):
        sair.compare(after.iloc[1:], before, least)
