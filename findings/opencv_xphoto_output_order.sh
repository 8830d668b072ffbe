#!/usr/bin/env bash
# An OpenCV function that returns its result only in an output array: which arrays does it write into?
# Seen with opencv-contrib-python-headless 5.0.0.93, numpy 2.4.6: cv2.xphoto.inpaint returns None, and fills an output
# array in C order. An output array of the same shape and type whose axes are stored in another order, as
# numpy.zeros_like makes of a transposed image, stays zero: the result goes into a copy that is discarded, and nothing is
# raised. A transposed image alone as the input is read correctly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 opencv-contrib-python-headless==5.0.0.93
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np

y, x = np.mgrid[0:32, 0:32]
planes = np.stack([8 * x, 8 * y, 255 - 4 * (x + y)]).clip(0, 255).astype(np.uint8)  # channels first, as in torch
image = planes.transpose(1, 2, 0)  # a view with the axes in another order
known = np.full((32, 32), 255, np.uint8)
known[10:20, 10:20] = 0  # of this function, zero is the hole
found = {}
for name, output in {"zeros_like": np.zeros_like(image), "C order": np.zeros(image.shape, np.uint8)}.items():
    returned = cv2.xphoto.inpaint(image, known, output, cv2.xphoto.INPAINT_FSR_FAST)
    found[name] = int((output != 0).any(-1).sum())
    print(f"output by {name}: strides {output.strides}, returned {returned}, {found[name]} of 1024 pixels written")
    assert returned is None
assert found == {"zeros_like": 0, "C order": 1024}
print("as seen before")
PYTHON
