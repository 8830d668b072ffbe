#!/usr/bin/env bash
# Class ids of a label map that is stored as PGM with the largest id as its maximum, as the format allows, read by Pillow.
# Seen with Pillow 13.0.0, numpy 2.4.6: a PGM of the maximum 18 comes back with its values spread over 0..255 (ids 0, 1, 2
# become 0, 14, 28), one of the maximum 300 spread over 0..65535; only the maxima 255 and 65535 keep them. The image still
# has a plausible mode (L or I), so each id is taken for another class.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image

ids = np.array([[0, 1, 2, 17, 18]])
read = {}
for most, bits in {18: ">u1", 255: ">u1", 300: ">u2", 65535: ">u2"}.items():
    with open("labels.pgm", "wb") as stream:
        stream.write(f"P5\n5 1\n{most}\n".encode() + ids.astype(bits).tobytes())
    with Image.open("labels.pgm") as image:
        read[most] = np.array(image)[0].tolist()
        print(f"maximum {most}: ids {ids[0].tolist()} are read as {read[most]} (mode {image.mode})")
assert read[18] == [0, 14, 28, 241, 255], read
assert read[255] == read[65535] == ids[0].tolist(), read
assert read[300] != ids[0].tolist(), read
print("as seen before")
PYTHON
