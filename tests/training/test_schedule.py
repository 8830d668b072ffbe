"""Test numbers of steps and learning rates, in the forms of configs and of the paper."""

import numpy as np
import pytest

from sair.training import schedule

TRAINING = {"steps": 8, "scale": 1, "batch": 2, "accumulate": 1, "schedule": "cosine", "halve_every": 0.5, "warmup": 2}


def test_schedules():
    steps = [schedule.lr_scale(TRAINING | {"schedule": "halving", "warmup": 1}, s, 200) for s in (0, 99, 100, 199)]
    assert steps == [1, 1, 0.5, 0.5]  # the paper: halved after 100 of 200 epochs
    cosine = [schedule.lr_scale(TRAINING | {"warmup": 1}, s, 100) for s in range(100)]
    assert cosine[0] == 1 and cosine[50] == pytest.approx(0.5) and np.all(np.diff(cosine) < 0)
    assert schedule.lr_scale(TRAINING | {"schedule": "constant", "warmup": 10}, 4, 100) == 0.5
    assert schedule.total_steps(TRAINING | {"steps": None, "epochs": 200, "batch": 16}, 25_000) == 312_500
    assert schedule.total_steps(TRAINING | {"scale": 0.5}, 10) == 4
    assert schedule.total_steps(TRAINING | {"scale": 0.5, "times": 1.75}, 10) == 7
