"""Test the ONNX adapter: polarity, ranges, layout and sizes of published exports, on small graphs."""

import importlib.util
import re

import pytest
import torch
from helpers.graphs import save_graph

from baselines.onnx import Onnx
from sair.commands.conformance import check, maker, samples
from sair.common.errors import InputError
from sair.inference.method import Method
from sair.methods.readiness import lacking
from sair.methods.spec import load_spec

SPEC = {"name": "graph", "sees_truth": False}
LAMA = {"output_range": [0, 255]}
MIGAN = {"hole": 0, "known": 255, "image_range": [0, 255], "output_range": [0, 255]}
FORMS = {"unit": LAMA, "joined": {"joined": True}, "bytes": MIGAN}
needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))), reason="needs onnx and onnxruntime"
)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"layout": "nchv"}, "layout: 'nchv'; expected nchw or nhwc"),
        ({"joined": 1}, "joined: 1; expected true or false"),
        ({"image_range": [1]}, r"image_range: \[1\]; expected the values of black and white"),
        ({"output_range": [0, 0]}, r"output_range: \[0, 0\]; expected"),
        ({"hole": 1, "known": 1}, "hole: 1, known: 1; expected two different numbers"),
        ({"size": 0}, "size: 0; expected a whole number of at least 1"),
        ({"size": 64, "fit": "tile", "overlap": 64}, "overlap: 64 of tiles of 64 pixels"),
        ({"fit": "crop"}, "fit: 'crop'; expected resize or tile"),
        ({"fill": "green"}, "fill: 'green'; expected black or grey or white"),
    ],
)
def test_faulty_parameters_are_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        Onnx(model="graph.onnx", **parameters)


def test_a_missing_graph_is_reported_before_anything_runs(tmp_path):
    spec = {"name": "g", "class": "baselines.onnx:Onnx", "weights": None, "training": None}
    found = lacking({**spec, "parameters": {"model": str(tmp_path / "g.onnx")}})
    assert "g.onnx: no such file" in found[-1]


@pytest.mark.parametrize("adapter", ["onnx:Onnx", "diffusers:Diffusers"])
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "missing a required.*'model'.*Correct its `parameters`"),
        ({"model": "m", "modle": 1}, "unexpected keyword argument 'modle'"),
        ({"model": 5}, "model: 5; expected a text"),
        ({"model": None}, "model: None; expected a text"),
        ({"model": ""}, "model: ''; expected a text"),
    ],
)
def test_a_faulty_model_is_reported_before_anything_runs(adapter, parameters, message):
    spec = {"name": "g", "class": f"baselines.{adapter}", "weights": None, "training": None}
    [found] = lacking({**spec, "parameters": parameters})
    assert re.search(message, found)


@needs_onnx
@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_conforms(tmp_path, form):
    path = save_graph(tmp_path / "g.onnx", form=form)
    check(lambda: Method(Onnx(model=str(path), **FORMS[form]), SPEC), size=32)


@needs_onnx
@pytest.mark.parametrize("form", FORMS)
def test_the_hole_gets_the_mean_of_known_pixels_at_any_size(tmp_path, form):
    images, masks = (part[..., :27, :] for part in samples(2, 32))
    expected = (images * (1 - masks)).sum((2, 3)) / (1 - masks).sum((2, 3))
    for more in ({}, {"size": 32}, {"size": 20, "fit": "tile", "overlap": 4}, {"multiple": 8}, {"layout": "nhwc"}):
        nhwc = "layout" in more
        path = save_graph(tmp_path / f"{len(more)}{nhwc}.onnx", form=form, size=more.get("size"), nhwc=nhwc)
        filled = Onnx(model=str(path), **FORMS[form], **more).inpaint(images * (1 - masks), masks)
        known = ((filled - images).abs() * (1 - masks)).amax()
        inside = (filled * masks).sum((2, 3)) / masks.sum((2, 3))
        whole = not more or nhwc  # padded, resized or in tiles, the graph sees other pixels
        assert (inside - expected).abs().max() < (1 / 255 if whole else 0.15), (form, more)
        assert known < 1 / 255 or "size" in more, (form, more)


@needs_onnx
def test_bgr_swaps_the_colours_there_and_back(tmp_path):
    path = save_graph(tmp_path / "g.onnx")
    images, masks = samples(1, 32)
    found = [Onnx(model=str(path), **LAMA, channels=order).inpaint(images, masks) for order in ("rgb", "bgr")]
    assert torch.allclose(*found, atol=1e-6)  # the mean of each channel does not depend on their order


@needs_onnx
def test_the_conformance_suite_finds_the_other_polarity(tmp_path):
    path = save_graph(tmp_path / "g.onnx", form="bytes")
    swapped = {**MIGAN, "hole": 255, "known": 0}
    with pytest.raises(InputError, match=r"mask polarity|hole filled"):
        check(lambda: Method(Onnx(model=str(path), **swapped), SPEC), size=32)
    path = save_graph(tmp_path / "m.onnx", mask_only=True)
    with pytest.raises(InputError, match="mask polarity"):
        check(lambda: Method(Onnx(model=str(path), **LAMA), SPEC), size=32)


@needs_onnx
@pytest.mark.parametrize(
    ("graph", "parameters", "message"),
    [
        ({"form": "joined"}, {}, r"inputs input \[1, 4, 'h', 'w'\].*needs `joined: true`"),
        ({"form": "unit"}, {"joined": True}, r"has the inputs image .*; expected 1 \(`joined: true`\)"),
        ({"size": 16}, {}, "fixes the size of images, but `size` is null. Write `size: 16`"),
        ({"size": 16}, {"size": 32}, "Write `size: 16`"),
        ({"form": "bytes"}, {}, r"the image is of 8 bits. Write `image_range: \[0, 255\]`"),
        ({"nhwc": True}, {}, "but the image has 3 channels. Check `layout`"),
        ({}, {"inputs": {"image": "picture", "mask": "mask"}}, r"inputs image .*Name them"),
        ({}, {"inputs": {"image": "mask", "mask": "image"}}, "the image has 3 channels"),
    ],
)
def test_a_graph_that_the_file_describes_wrongly_is_refused(tmp_path, graph, parameters, message):
    path = save_graph(tmp_path / "g.onnx", **graph)
    with pytest.raises(InputError, match=message):
        Onnx(model=str(path), **parameters)


@needs_onnx
def test_a_file_that_is_no_graph_is_refused_in_one_line(tmp_path):
    path = tmp_path / "g.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"g\.onnx: not an ONNX graph") as error:
        Onnx(model=str(path))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"h\.onnx: no such file"):
        Onnx(model=str(tmp_path / "h.onnx"))


@needs_onnx
def test_one_more_model_takes_one_file(folder):
    """The recipe of docs/evaluate.md: an .onnx file and a YAML file are a method that conforms."""
    save_graph(folder / "new.onnx", form="joined", size=32)
    (folder / "config/methods/new.yaml").write_text(
        "label: New\nclass: baselines.onnx:Onnx\ntraining: null\n"
        "parameters: {model: new.onnx, joined: true, size: 32}\n"
    )
    spec = load_spec("new", "config/methods", "mini")
    assert lacking(spec) == []
    check(maker(spec), size=32)
