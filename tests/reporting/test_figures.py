"""Test that figures show the images that were scored."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sair.inference.predict import predict
from sair.reporting.figures import draw_grid, qualitative, training_curves


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


def test_training_curves_show_the_mean_and_every_seed(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plt, "close", drawn.append)
    for seed in (0, 1):
        log = {"step": [50, 100], "psnr": [20.0 + seed, 22.0 + seed], "loss": [0.4 - 0.2 * seed] * 2}
        pd.DataFrame(log).to_csv(tmp_path / f"{seed}.csv", index=False)
    one, two = [tmp_path / "0.csv"], [tmp_path / "0.csv", tmp_path / "1.csv"]
    training_curves({"A": two, "B": one}, tmp_path / "curves.png")
    monkeypatch.undo()
    loss, psnr = drawn[0].axes
    found = [line.get_ydata().round(6).tolist() for line in loss.lines]
    assert found == [[0.3, 0.3], [0.4, 0.4], [0.2, 0.2], [0.4, 0.4], [0.4, 0.4]]
    assert [line.get_ydata().tolist() for line in psnr.lines] == [[20.5, 22.5], [20, 22], [21, 23], [20, 22]]
    assert psnr.get_legend_handles_labels()[1] == ["A", "B"] and (tmp_path / "curves.png").stat().st_size > 0
    plt.close(drawn[0])
