#!/usr/bin/env bash
# A 16-bit RGB TIFF whose channels are stored plane by plane (as scientific cameras and microscopes write), read by Pillow.
# Seen with Pillow 13.0.0, tifffile 2026.3.3, numpy 2.4.6: without compression nearly every pixel is wrong, by up to 234 of
# 255 levels, and nothing is raised. The same values with zlib compression, or stored pixel by pixel, are read rightly
# (as the high byte of each channel). tifffile reads all four files rightly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 tifffile==2026.3.3 imagecodecs==2026.3.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import tifffile
from PIL import Image

y, x = np.mgrid[0:32, 0:48]
planes = np.stack([x * 1300, y * 2000, (x + y) * 800]).astype(np.uint16)
wanted = (planes >> 8).astype(np.uint8).transpose(1, 2, 0)
wrong = {}
for layout, values in {"separate": planes, "contig": planes.transpose(1, 2, 0)}.items():
    for compression in (None, "zlib"):
        tifffile.imwrite("a.tif", values, photometric="rgb", planarconfig=layout, compression=compression)
        assert np.array_equal(tifffile.imread("a.tif"), values)
        with Image.open("a.tif") as image:
            read = np.array(image)
        differs = np.abs(read.astype(int) - wanted)
        wrong[layout, compression] = float((differs > 0).any(-1).mean())
        print(f"{layout}, compression {compression}: mode {image.mode}, wrong pixels {wrong[layout, compression]:.1%}, by up to {differs.max()}")
assert wrong.pop(("separate", None)) > 0.9
assert set(wrong.values()) == {0.0}, wrong
print("as seen before")
PYTHON
