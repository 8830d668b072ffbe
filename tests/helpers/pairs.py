"""Make image pairs for tests of metrics."""

import numpy as np


def pair(kind, height=64, width=64):
    """Return deterministic uint8 images from integer arithmetic only: a ground truth and a damaged copy."""
    y, x = np.mgrid[:height, :width]
    truth = np.stack([(3 * x + y) % 256, (x * y) % 256, (x * x + 2 * y * y) // 7 % 256], axis=-1).astype(np.uint8)
    damaged = truth.astype(np.int64)
    if kind == "noise":
        damaged = damaged + np.random.default_rng(7).integers(-40, 41, damaged.shape)
    elif kind == "hole":
        damaged[height // 4 : height // 2, width // 4 : width // 2] = 127
    elif kind == "shift":
        damaged = np.roll(damaged, 3, axis=1)
    elif kind == "inverted":
        damaged = 255 - damaged
    return truth, np.clip(damaged, 0, 255).astype(np.uint8)


KINDS = ("noise", "hole", "shift", "inverted")


def a_hole(height, width):
    hole = np.zeros((height, width), dtype=bool)
    hole[height // 4 : height // 2, width // 4 : width // 2] = True
    return hole
