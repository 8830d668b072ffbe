"""Test OpenCV's algorithms: polarity, colours, known pixels, and the messages without the library."""

import importlib.util

import numpy as np
import pytest
import torch

from baselines.opencv import OpenCV
from sair.commands.conformance import samples
from sair.common.errors import InputError
from sair.methods.readiness import lacking
from sair.methods.spec import load_spec

HERE = importlib.util.find_spec("cv2") is not None
needs_opencv = pytest.mark.skipif(not HERE, reason="needs OpenCV: pip install 'sair-benchmark[opencv]'")
ALGORITHMS = ("telea", "navier_stokes", "fsr", "shift_map")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"algorithm": "teela"}, r"algorithm 'teela': there is no such one. Did you mean telea"),
        ({"algorithm": "telea", "radius": 0}, "radius: 0; expected a positive number of pixels"),
        ({"algorithm": "telea", "radius": True}, "radius: True; expected"),
    ],
)
def test_faulty_parameters_are_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        OpenCV(**parameters)


def test_without_the_library_the_message_names_the_command_that_installs_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "cv2" else find(name))
    with pytest.raises(InputError, match=r"cv2 is not installed. Install it: pip install 'sair-benchmark\[opencv\]'"):
        OpenCV(algorithm="telea")
    assert "pip install" in lacking(load_spec("opencv_telea", "config/methods", "mini"))[0]


@needs_opencv
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_hole_continues_its_surroundings_in_their_colours(algorithm):
    """An orange texture shows an inverted mask, swapped channels, and a colour space that is not converted back."""
    generator = torch.Generator().manual_seed(0)  # on a plane of one colour shift-map is not repeatable
    images = torch.tensor([0.8, 0.4, 0.1]).view(1, 3, 1, 1) + 0.1 * torch.rand(1, 1, 40, 40, generator=generator)
    masks = torch.zeros(1, 1, 40, 40)
    masks[..., 14:22, 14:22] = 1
    filled = OpenCV(algorithm=algorithm).inpaint(images * (1 - masks), masks)
    inside, around = (
        (picked * part).sum((0, 2, 3)) / part.sum() for picked, part in ((filled, masks), (images, 1 - masks))
    )
    assert (inside - around).abs().max() < 0.05


@needs_opencv
@pytest.mark.parametrize("algorithm", ["telea", "fsr"])
def test_an_image_that_is_all_hole_is_grey_and_shows_nothing_of_the_input(algorithm):
    images, masks = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    filled = OpenCV(algorithm=algorithm).inpaint(images, masks)
    assert filled.unique().tolist() == [np.float32(128 / 255)]


@needs_opencv
def test_telea_keeps_known_pixels_and_the_contrib_modules_change_some():
    images, masks = samples(1)
    images = images * (1 - masks)
    moved = {
        name: float(((OpenCV(algorithm=name).inpaint(images, masks) - images).abs() * (1 - masks)).max())
        for name in ("telea", "shift_map")
    }
    assert moved["telea"] < 1 / 510 and moved["shift_map"] > 1 / 255


@needs_opencv
def test_an_opencv_without_contrib_is_reported(monkeypatch):
    import cv2

    monkeypatch.delattr(cv2, "xphoto")
    with pytest.raises(InputError, match="contrib modules, which this OpenCV does not have"):
        OpenCV(algorithm="fsr")
    assert isinstance(OpenCV(algorithm="telea"), OpenCV)
