#!/usr/bin/env bash
# A grey TIFF whose smallest value is white (PhotometricInterpretation 0), in 8 and in 16 bits, read by Pillow.
# Seen with Pillow 13.0.0, tifffile 2026.3.3, numpy 2.4.6: the 8-bit file is inverted, so that 0 becomes 255; the 16-bit file
# of the same image is not. So a mask or an image that a program saves in more bits comes back as its negative.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 tifffile==2026.3.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import tifffile
from PIL import Image

read = {}
for bits in (np.uint8, np.uint16):
    black = np.iinfo(bits).max
    tifffile.imwrite("a.tif", np.array([[0, black]], bits), photometric="miniswhite")  # a white and a black pixel
    with Image.open("a.tif") as image:
        read[bits.__name__] = np.array(image)[0].tolist()
    print(f"{bits.__name__}: a white and a black pixel are read as {read[bits.__name__]} (mode {image.mode})")
assert read == {"uint8": [255, 0], "uint16": [0, 65535]}, read
print("as seen before")
PYTHON
