#!/usr/bin/env bash
# Is an inpainted image as large as its input?
# Seen with simple-lama-inpainting 0.1.2 (torch 2.13.0, numpy 1.26.4, pillow 9.5.0): an image of 45x30 pixels comes back with
# 48x32. The sides are padded to multiples of 8 by their mirror image for the network, and the padding is not cut off; 40x32
# stays 40x32. So a score against the ground truth fails, or, after a resize of either, compares shifted pixels.
# The network here is a TorchScript file that returns its input, named in the variable that the package reads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  simple-lama-inpainting==0.1.2 numpy==1.26.4 pillow==9.5.0 torch==2.13.0 torchvision==0.28.0
LAMA_MODEL="$folder/network.pt" "$folder/venv/bin/python" - <<'PYTHON'
import os

import numpy as np
import torch
from PIL import Image


class Unchanged(torch.nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor):
        return image


example = torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
torch.jit.trace(Unchanged(), example).save(os.environ["LAMA_MODEL"])
from simple_lama_inpainting import SimpleLama  # noqa: E402

lama = SimpleLama(torch.device("cpu"))
sizes = {}
for width, height in ((40, 32), (45, 30)):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    hole = np.zeros((height, width), np.uint8)
    hole[8:16, 8:16] = 255
    result = np.array(lama(Image.fromarray(pixels), Image.fromarray(hole)))
    sizes[width, height] = result.shape[1::-1]
    assert (result[:height, :width] == pixels).all()
    print(f"{width}x{height} -> {result.shape[1]}x{result.shape[0]}")
assert sizes == {(40, 32): (40, 32), (45, 30): (48, 32)}
assert (result[:, width:] == result[:, width - 1 : width - 4 : -1]).all()
print("as seen before")
PYTHON
