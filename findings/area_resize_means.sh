#!/usr/bin/env bash
# Reducing a mask by an "area" or "box" filter, to a size that does not divide the old one: is the mean kept?
# Seen with torch 2.13.0, Pillow 13.0.0, opencv-python-headless 5.0.0.93, numpy 2.4.6, on 5 pixels of which the second
# is hole (ratio 0.2), reduced to 3: OpenCV INTER_AREA gives 0.4 0.2 0, whose mean is 0.2. torch "area" gives 0.5 0.33 0
# (mean 0.28): its windows overlap, so a pixel may count twice. Pillow BOX gives 0.5 0 0 (mean 0.17): a pixel belongs
# to one target only. A hole ratio that is measured after such a reduction is that of another mask.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 opencv-python-headless==5.0.0.93 torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
import torch
from PIL import Image

row = np.array([[0, 1, 0, 0, 0]], np.float32)
reduced = {
    "OpenCV INTER_AREA": cv2.resize(row, (3, 1), interpolation=cv2.INTER_AREA)[0],
    "torch area": torch.nn.functional.interpolate(torch.from_numpy(row)[None, None], (1, 3), mode="area")[0, 0, 0].numpy(),
    "Pillow BOX": np.asarray(Image.fromarray(row).resize((3, 1), Image.Resampling.BOX))[0],
}
expected = {
    "OpenCV INTER_AREA": [0.4, 0.2, 0.0],
    "torch area": [0.5, 1 / 3, 0.0],
    "Pillow BOX": [0.5, 0.0, 0.0],
}
for name, values in reduced.items():
    print(f"{name:18} {np.round(values, 3)} mean {values.mean():.3f} (before: {row.mean():.3f})")
    assert np.allclose(values, expected[name], atol=1e-6), (name, values)

# A hole one column wide, at each of 300 columns, reduced to 256: by how much does the hole ratio change?
lines = np.eye(300, dtype=np.float32)
ratio = {
    "OpenCV INTER_AREA": cv2.resize(lines, (256, 300), interpolation=cv2.INTER_AREA),
    "torch area": torch.nn.functional.interpolate(torch.from_numpy(lines)[None, None], (300, 256), mode="area")[0, 0].numpy(),
    "Pillow BOX": np.asarray(Image.fromarray(lines).resize((256, 300), Image.Resampling.BOX)),
}
spread = {name: (float(rows.mean(1).min() * 300), float(rows.mean(1).max() * 300)) for name, rows in ratio.items()}
for name, (least, most) in spread.items():
    print(f"{name:18} hole ratio after / before: {least:.2f} to {most:.2f}")
assert np.allclose(spread["OpenCV INTER_AREA"], 1, atol=1e-3), spread
assert spread["torch area"][1] > 1.1 and spread["Pillow BOX"][0] < 0.7, spread
print("as seen before")
PYTHON
