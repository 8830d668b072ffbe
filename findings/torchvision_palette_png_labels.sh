#!/usr/bin/env bash
# A mask or a label map with a palette of few colours, saved as PNG by Pillow and read by torchvision.
# Seen with torchvision 0.28.0, torch 2.13.0, Pillow 13.0.0, numpy 2.4.6: for at most 16 colours Pillow packs 2, 4 or 8
# pixels into a byte. torchvision's decode_image, in its default mode, returns the packed bytes as if each was a pixel: the
# left part of every row mixes the ids of neighbours, and the rest of the row is not from the file and differs from run to
# run. The shape is right and nothing is raised. With 17 colours or more a byte holds one pixel, and the ids come back.
# mode="RGB" is right for all of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 torch==2.13.0 torchvision==0.28.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image
from torchvision.io import decode_image

y, x = np.mgrid[0:32, 0:64]
for colours, bits in {2: 1, 4: 2, 16: 4, 17: 8, 256: 8}.items():
    ids = ((x // 5 + y) % colours).astype(np.uint8)
    image = Image.fromarray(ids)
    image.putpalette([value for k in range(colours) for value in (k, 255 - k, 90 * k % 256)])
    image.save("labels.png")
    with Image.open("labels.png") as stored:
        assert np.array_equal(np.array(stored), ids)
        colour = np.array(stored.convert("RGB"))
    read = decode_image("labels.png").numpy()
    assert read.shape == (1, 32, 64)
    assert np.array_equal(decode_image("labels.png", mode="RGB").numpy().transpose(1, 2, 0), colour)
    packed = np.packbits(np.unpackbits(ids[..., None], axis=2)[..., 8 - bits :].reshape(32, -1), axis=1)
    left = read[0, :, : packed.shape[1]]
    right = float((left == ids[:, : packed.shape[1]]).mean())
    print(f"{colours} colours, {bits} bits per pixel: of the left {packed.shape[1]} columns {right:.0%} of the ids are right")
    assert np.array_equal(left, packed)  # the bytes of the file
    assert right == 1 if bits == 8 else right < 0.1, right
print("as seen before")
PYTHON
