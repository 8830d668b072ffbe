"""Test that figures show the images that were scored."""

import numpy as np

from sair.inference.predict import predict
from sair.reporting.figures import draw_grid, qualitative


def test_a_grid_shows_what_was_scored(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    grid = draw_grid(["a", "b"], ["0-20 %"], [[(image, "x"), (255 - image, "y")]])
    corner = grid[26 : 26 + 192, 70 : 70 + 192]
    assert (corner[1::3, 1::3] == image).all()  # enlarged by whole factors, nothing blurred


def test_the_grid_of_a_manifest(frozen_split, tmp_path):
    manifest = frozen_split(tmp_path / "faces", test=10)
    spec = {"name": "mean", "class": "baselines.controls:MeanFill", "parameters": {}, "sees_truth": False}
    predict(spec, manifest, tmp_path / "predictions")
    outputs = [tmp_path / "q1.png", tmp_path / "q2.png"]
    qualitative(manifest, {"Mean": tmp_path / "predictions"}, outputs)
    assert all(path.exists() for path in outputs) and outputs[0].read_bytes() != outputs[1].read_bytes()
