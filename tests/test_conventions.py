"""Conventions."""

import numpy as np
from parity import uniform

from sair.data.faces import draw_face
from sair.data.strokes import draw_strokes


def case_pictures(case):
    """Truth, prediction and hole of a recorded case, from its seed alone."""
    kind, seed, height, width = (case[key] for key in ("kind", "seed", "height", "width"))
    stream = np.random.PCG64(seed)
    if kind == "noise":  # every pixel is damaged, inside the hole and outside
        truth = uniform(stream, (height, width, 3)) * 256
        prediction = np.clip(truth + 80 * uniform(stream, truth.shape) - 40, 0, 255)
        hole = uniform(stream, (height, width)) < 0.4
        return truth.astype(np.uint8), prediction.astype(np.uint8), hole
    truth = draw_face(seed, height).image
    other = truth if kind == "same" else draw_face(seed + 1, height).image
    hole = draw_strokes(seed, height, width, 20, 40)
    return truth, np.where(hole[..., None], other, truth), hole
