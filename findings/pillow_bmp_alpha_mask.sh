#!/usr/bin/env bash
# A mask that lies in the alpha channel (a white layer, erased where the hole is), saved as BMP by Pillow and read again.
# Seen with Pillow 13.0.0, numpy 2.4.6: the file holds the alpha bytes, but it is read as RGB without them and without a
# warning, so the mask comes back as one white area. PNG, WebP and TIFF bring the same image back with its alpha.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image

pixels = np.full((8, 8, 4), 255, np.uint8)
pixels[2:6, 2:6, 3] = 0  # the hole: transparent
modes = {}
for ending in ("png", "webp", "tif", "bmp"):
    Image.fromarray(pixels).save(f"mask.{ending}", **({"lossless": True} if ending == "webp" else {}))
    with Image.open(f"mask.{ending}") as image:
        modes[ending], hole = image.mode, np.array(image)[..., 3:] == 0
    print(f"{ending}: read as {modes[ending]}, transparent pixels {int(hole.sum())} of 16")
with open("mask.bmp", "rb") as stream:
    stored = np.frombuffer(stream.read()[-8 * 8 * 4 :], np.uint8).reshape(8, 8, 4)
print("alpha bytes in the BMP file that are 0:", int((stored[..., 3] == 0).sum()))
assert modes == {"png": "RGBA", "webp": "RGBA", "tif": "RGBA", "bmp": "RGB"}, modes
assert (stored[..., 3] == 0).sum() == 16
print("as seen before")
PYTHON
