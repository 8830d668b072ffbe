#!/usr/bin/env bash
# How many pixels wide is a line of a given thickness?
# Seen with opencv-python-headless 5.0.0.93 and 4.12.0.88, pillow 13.0.0, numpy 2.4.6. A line by cv2.line is one pixel
# wider than its thickness if that is even, and two pixels if it is odd and above 1: thickness 5 and 6 draw the same 7
# pixels. Pillow's line of the same width has exactly that many. So masks of "strokes 5 to 14 pixels wide" are larger by
# OpenCV.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
from PIL import Image, ImageDraw

found = {}
for width in range(1, 13):
    by_opencv = np.zeros((64, 96), np.uint8)
    cv2.line(by_opencv, (20, 32), (76, 32), 1, width)
    by_pillow = Image.new("L", (96, 64))
    ImageDraw.Draw(by_pillow).line([(20, 32), (76, 32)], fill=1, width=width)
    found[width] = int(by_opencv[:, 48].sum()), int(np.array(by_pillow)[:, 48].sum())
    print(f"width {width}: {found[width][0]} pixels by cv2.line, {found[width][1]} by Pillow")
assert all(pillow == width for width, (_, pillow) in found.items())
assert [opencv for opencv, _ in found.values()] == [1, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13]
print("as seen before")
PYTHON
