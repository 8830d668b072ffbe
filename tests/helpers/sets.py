"""Make sets of features for tests of distances."""

import numpy as np


def feature_pairs(count, size):
    """Return features (count, size) of ground truths and of predictions that share most of them with their partner."""
    rng = np.random.default_rng(count)
    shared = rng.normal(size=(count, size)) * rng.exponential(size=size)
    real, fake = (np.abs(shared + 0.3 * rng.normal(size=shared.shape) + shift) for shift in (0, 0.1))
    return real, fake
