"""Test mean IoU against plain arithmetic."""

import numpy as np
import pandas as pd
import pytest

from sair.evaluation.metrics.miou import SEGMENTATION_COLUMNS, mean_iou, mean_iou_difference, overlap


def test_mean_iou_sums_before_it_divides():
    """Compare with plain arithmetic: two images and three classes, one of which occurs nowhere."""
    truths = [np.array([[0, 0], [1, 1]]), np.array([[0, 0], [0, 1]])]
    found = [np.array([[0, 1], [1, 1]]), np.array([[0, 0], [0, 0]])]
    lines = []
    for name, truth, guess in zip("ab", truths, found, strict=True):
        both, either = overlap(truth, guess, 3)
        lines += [["masked", "0-20", name, name, "whole", k, both[k], either[k]] for k in range(3)]
    result = mean_iou(pd.DataFrame(lines, columns=SEGMENTATION_COLUMNS))
    assert result.mean == pytest.approx(((1 + 3) / (2 + 4) + (2 + 0) / (3 + 1)) / 2) and result.n == 2
    assert overlap(np.array([0, 255]), np.array([0, 0]), 1)[1].tolist() == [1]  # unlabelled pixels do not count


def test_the_difference_of_two_miou_is_that_of_their_means():
    def frame(right):
        rows = [["x", "0-20", f"p{n}", f"p{n}", "whole", k, right + n % 3, 20] for n in range(12) for k in range(3)]
        return pd.DataFrame(rows, columns=SEGMENTATION_COLUMNS)

    better, worse = frame(10), frame(6)
    found = mean_iou_difference(better, worse)
    assert found.mean == pytest.approx(mean_iou(better).mean - mean_iou(worse).mean) == pytest.approx(0.2)
    assert found.low > 0 and found.p < 0.01 and found.n == 12
    same = mean_iou_difference(better, better)
    assert same.mean == 0 and same.p == 1
