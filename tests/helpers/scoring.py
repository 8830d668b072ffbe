"""Make images, masks and checks for the tests of scoring."""

import numpy as np
import pytest

from sair.common.errors import InputError
from sair.common.images import write_png
from sair.evaluation.metrics.lpips import Lpips

SIDE = 40


def network_or_skip():
    """Return LPIPS, or skip the test if its weights are not on this machine."""
    try:
        return Lpips()
    except InputError as error:
        pytest.skip(f"weights unavailable: {error}")


def image(seed, height=SIDE, width=SIDE):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3))
    return np.kron(coarse, np.ones((4, 4, 1)))[:height, :width].astype(np.uint8)


def a_hole(count, height=SIDE, width=SIDE):
    """Return a mask with exactly ``count`` hole pixels, beginning at the middle row."""
    hole = np.zeros(height * width, dtype=bool)
    start = min(height // 4 * width, height * width - count)
    hole[start : start + count] = True
    return hole.reshape(height, width)


def write_mask(path, hole):
    write_png(path, np.where(hole, 255, 0).astype(np.uint8))


def fault(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return str(caught.value)
