"""Test means of score files: over seeds, of perfect images, and only over the same images."""

import math

import pandas as pd
import pytest
from helpers.measured import IMAGES, overlaps, scores

from sair.common.errors import InputError
from sair.reporting.measured import mean_of_overlaps, quality, read_overlaps, read_scores, segmentation


def test_seeds_that_scored_other_images_are_refused(tmp_path):
    paths = [scores(tmp_path / f"sair{seed}.csv", seed=seed) for seed in (0, 1)]
    frame = pd.read_csv(paths[1])
    frame.iloc[::-1].to_csv(paths[1], index=False)
    with pytest.raises(InputError, match=r"sair1\.csv: scores other images"):
        read_scores(paths)


def test_overlaps_of_seeds_are_averaged_by_image(tmp_path):
    first, second = (overlaps(tmp_path / f"{k}.csv", ["completed"], [right]) for k, right in enumerate((4, 10)))
    both = mean_of_overlaps(read_overlaps([first, second], "completed"))
    assert len(both) == len(read_overlaps(first, "completed")[0])
    assert segmentation(both)["all", "miou"].mean == pytest.approx((4 + 10) / 2 / 20 + 1 / 20)
    pd.read_csv(first, dtype=str).query("id != 'p3'").to_csv(first, index=False)
    with pytest.raises(InputError, match="segments other images than"):
        read_overlaps([first, second], "completed")


def test_a_method_whose_images_are_all_perfect_stays_infinite(tmp_path):
    path = scores(tmp_path / "a.csv", perfect=range(IMAGES))
    assert {found.mean for (_, metric), found in quality(read_scores(path)).items() if metric == "psnr"} == {math.inf}


def test_seeds_are_averaged_below_the_cap(tmp_path):
    paths = [scores(tmp_path / "0.csv", perfect=(0, 1)), scores(tmp_path / "1.csv", perfect=(1,))]
    both = read_scores(paths).set_index(["bucket", "id"])
    second = pd.read_csv(paths[1]).set_index(["bucket", "id"]).psnr
    assert both.psnr["0-20", "p0"] == pytest.approx((100 + second["0-20", "p0"]) / 2)
    assert both.psnr["0-20", "p1"] == math.inf and both.perfect["0-20", "p1"] == 2
    assert math.isfinite(quality(read_scores(paths))["0-20", "psnr"].mean)
