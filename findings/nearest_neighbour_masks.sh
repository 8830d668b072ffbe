#!/usr/bin/env bash
# Halving a mask by "nearest neighbour": which of each two pixels is kept?
# Seen with Pillow 13.0.0, opencv-python-headless 5.0.0.93, torch 2.13.0, numpy 2.4.6:
# OpenCV INTER_NEAREST and torch "nearest" keep pixels 0, 2, 4, ...; Pillow NEAREST, OpenCV INTER_NEAREST_EXACT and torch
# "nearest-exact" keep 1, 3, 5, .... So a mask of every second column (a published mask family) becomes all hole with
# one half of them and no hole at all with the other half, and a line one pixel wide may survive or vanish.
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

mask = np.zeros((512, 512), np.uint8)
mask[:, ::2] = 255  # the hole: columns 0, 2, 4, ...
tensor = torch.from_numpy(mask)[None, None]
halves = {
    "Pillow NEAREST": np.asarray(Image.fromarray(mask).resize((256, 256), Image.Resampling.NEAREST)),
    "OpenCV INTER_NEAREST": cv2.resize(mask, (256, 256), interpolation=cv2.INTER_NEAREST),
    "OpenCV INTER_NEAREST_EXACT": cv2.resize(mask, (256, 256), interpolation=cv2.INTER_NEAREST_EXACT),
    "torch nearest": torch.nn.functional.interpolate(tensor, (256, 256), mode="nearest")[0, 0].numpy(),
    "torch nearest-exact": torch.nn.functional.interpolate(tensor, (256, 256), mode="nearest-exact")[0, 0].numpy(),
}
ratios = {name: float((half > 0).mean()) for name, half in halves.items()}
for name, ratio in ratios.items():
    print(f"{name:28} hole ratio {ratio:.0%} (before: {(mask > 0).mean():.0%})")
assert ratios == {
    "Pillow NEAREST": 0.0,
    "OpenCV INTER_NEAREST": 1.0,
    "OpenCV INTER_NEAREST_EXACT": 0.0,
    "torch nearest": 1.0,
    "torch nearest-exact": 0.0,
}, ratios
print("as seen before")
PYTHON
