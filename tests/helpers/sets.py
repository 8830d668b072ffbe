"""Make sets of features, and a small CLIP, for tests of metrics that compare them."""

import numpy as np
import open_clip


def feature_pairs(count, size):
    """Return features (count, size) of ground truths and of predictions that share most of them with their partner."""
    rng = np.random.default_rng(count)
    shared = rng.normal(size=(count, size)) * rng.exponential(size=size)
    real, fake = (np.abs(shared + 0.3 * rng.normal(size=shared.shape) + shift) for shift in (0, 0.1))
    return real, fake


def small_clip(size):
    """Return a CLIP with random weights for images of this side."""
    vision = {"image_size": size, "layers": 1, "width": 64, "patch_size": size // 4, "head_width": 32}
    return open_clip.CLIP(16, vision, {"width": 32, "heads": 2, "layers": 1, "vocab_size": 49408}).eval()
