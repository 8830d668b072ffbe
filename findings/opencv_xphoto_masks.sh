#!/usr/bin/env bash
# Two inpainting functions of one library: which mask value is the hole, and are known pixels kept?
# Seen with opencv-contrib-python-headless 5.0.0.93, numpy 2.4.6. cv2.inpaint: non-zero is the hole, known pixels stay
# as they are. cv2.xphoto.inpaint: ZERO is the hole; with the mask of cv2.inpaint it raises nothing, keeps most of what
# should be filled and changes every pixel that is known. With the right polarity it still changes known pixels: a few by
# SHIFTMAP, most of them on this image by FSR.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 opencv-contrib-python-headless==5.0.0.93
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np

y, x = np.mgrid[0:32, 0:32]
image = np.stack([8 * x, 8 * y, 255 - 4 * (x + y)], -1).clip(0, 255).astype(np.uint8)
hole = np.zeros((32, 32), bool)
hole[10:20, 10:20] = True
marked = np.where(hole, 255, 0).astype(np.uint8)


def changed(filled, before):
    different = (filled != before).any(-1)
    return int(different[~hole].sum()), int(different[hole].sum())


known, inside = changed(cv2.inpaint(image, marked, 3, cv2.INPAINT_TELEA), image)
print(f"inpaint, hole = 255: changes {known} of 924 known pixels, {inside} of 100 in the hole")
assert (known, inside) == (0, 100)
for name, method in {"SHIFTMAP": cv2.xphoto.INPAINT_SHIFTMAP, "FSR_FAST": cv2.xphoto.INPAINT_FSR_FAST}.items():
    source = cv2.cvtColor(image, cv2.COLOR_BGR2Lab) if name == "SHIFTMAP" else image
    found = {}
    for polarity, mask in {"hole = 255": marked, "hole = 0": 255 - marked}.items():
        filled = np.zeros_like(source)
        cv2.xphoto.inpaint(source, mask, filled, method)
        found[polarity] = changed(filled, source)
        print(f"xphoto {name}, {polarity}: changes {found[polarity][0]} known pixels, {found[polarity][1]} in the hole")
    assert found["hole = 255"][0] == 924 and found["hole = 255"][1] < 100
    assert found["hole = 0"][0] > 0 and found["hole = 0"][1] > 80
print("as seen before")
PYTHON
