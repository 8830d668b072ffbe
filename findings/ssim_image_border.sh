#!/usr/bin/env bash
# One SSIM (Gaussian window of 11 pixels, sigma 1.5, population variances, the same constants), averaged over which pixels?
# Seen with torchmetrics 1.9.0, torch 2.13.0, scikit-image 0.26.0, numpy 2.4.6: scikit-image leaves out the five outer
# rows and columns, whose windows reach past the image; torchmetrics mirrors the image there and counts them. Without them
# both agree to 1e-12. With noise everywhere they differ by 0.001 at 256 pixels and by 0.034 at 32, where half of the
# pixels are outer ones. If only the outer pixels are wrong, as where a mask runs along the border, they differ by 0.06 and
# 0.29. torchmetrics' own MS-SSIM leaves outer pixels out at all scales but the coarsest: 0.999, where its SSIM is 0.925.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0 torchmetrics==1.9.0 scikit-image==0.26.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as multiscale
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

OPTIONS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
EXPECTED = {  # of scikit-image, of torchmetrics
    ("everywhere", 256): (0.2044, 0.2054),
    ("everywhere", 32): (0.1879, 0.2218),
    ("in the outer 5 pixels", 256): (0.9818, 0.9253),
    ("in the outer 5 pixels", 32): (0.8125, 0.5255),
}
SCALES = {"everywhere": 0.8463, "in the outer 5 pixels": 0.9990}
for side in (256, 32):
    y, x = np.mgrid[0:side, 0:side]
    truth = (128 + 80 * np.sin(x / 9) + 40 * np.cos(y / 5 + x / 20)).round()
    noise = np.random.default_rng(0).normal(0, 40, truth.shape)
    outer = np.minimum(np.minimum(x, side - 1 - x), np.minimum(y, side - 1 - y)) < 5
    for name, prediction in {"everywhere": truth + noise, "in the outer 5 pixels": truth + noise * outer}.items():
        prediction = prediction.round().clip(0, 255)
        images = [torch.from_numpy(image)[None, None] for image in (prediction, truth)]
        scikit = float(structural_similarity(truth, prediction, **OPTIONS))
        value, every = ssim(*images, data_range=255.0, sigma=1.5, kernel_size=11, return_full_image=True)
        inner = float(every[..., 5:-5, 5:-5].mean())
        print(f"noise {name}, {side} pixels: scikit-image {scikit:.4f}, torchmetrics {float(value):.4f}, without outer pixels {inner:.4f}")
        assert np.allclose([scikit, float(value)], EXPECTED[name, side], atol=1e-3), (scikit, float(value))
        assert abs(inner - scikit) < 1e-12
        if side == 256:
            scales = float(multiscale(*images, data_range=255.0, sigma=1.5, kernel_size=11))
            print(f"    MS-SSIM of torchmetrics: {scales:.4f}")
            assert abs(scales - SCALES[name]) < 1e-3, scales
print("as seen before")
PYTHON
