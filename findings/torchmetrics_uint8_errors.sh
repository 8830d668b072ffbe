#!/usr/bin/env bash
# The error between two uint8 images, as image readers return them, by three functions of one library.
# Seen with torchmetrics 1.9.0, torch 2.13.0: mean_absolute_error and mean_squared_error subtract and square in uint8,
# which wraps around at 256. A prediction one level too dark everywhere has an MAE of 255 instead of 1; one 16 levels too
# bright everywhere has an MSE of 0 instead of 256, a perfect score. peak_signal_noise_ratio converts to float first and
# is right. Nothing is raised. (mean_absolute_error contains a conversion, but it tests the method is_floating_point
# without calling it, so it never converts.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torchmetrics.functional import mean_absolute_error, mean_squared_error
from torchmetrics.functional.image import peak_signal_noise_ratio

truth = torch.arange(1, 225, dtype=torch.uint8).repeat(16).view(1, 1, 56, 64)
seen = {}
for name, prediction in {"1 level darker": truth - 1, "16 levels brighter": truth + 16}.items():
    for kind, images in {"uint8": (prediction, truth), "float32": (prediction.float(), truth.float())}.items():
        mae, mse = float(mean_absolute_error(*images)), float(mean_squared_error(*images))
        psnr = float(peak_signal_noise_ratio(*images, data_range=255.0))
        seen[name, kind] = (mae, mse, round(psnr, 2))
        print(f"{name}, {kind}: MAE {mae:g}, MSE {mse:g}, PSNR {psnr:.2f} dB")
assert seen == {
    ("1 level darker", "uint8"): (255, 1, 48.13),
    ("1 level darker", "float32"): (1, 1, 48.13),
    ("16 levels brighter", "uint8"): (16, 0, 24.05),
    ("16 levels brighter", "float32"): (16, 256, 24.05),
}, seen
print("as seen before")
PYTHON
