#!/usr/bin/env bash
# grid_sample(mode="nearest") exactly between two cells. Implicit image functions get there: they look for the four
# neighbours of a pixel centre by shifting it by half a cell, and where the image's side is an odd multiple of the grid's
# (once included) the shifted point of a pixel in the middle of a cell lies exactly on a border.
# Seen with torch 2.13.0 on the CPU: ties go to the even index (0.5 -> 0, 1.5 -> 2, 2.5 -> 2), so of the cells 0 1 2 3
# the odd ones win neither of their borders. interpolate(mode="nearest") has no such ties; code that shifts coordinates
# by half a cell to find four neighbours gets a neighbour twice and another never unless it adds a small offset.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.nn.functional import grid_sample

cells = torch.arange(8.0).view(1, 1, 1, 8)
borders = torch.arange(1, 8) / 4 - 1  # x of the seven borders between eight cells, exact in binary
grid = torch.stack([borders, torch.zeros(7)], -1).view(1, 1, 7, 2)
read = grid_sample(cells, grid, mode="nearest", align_corners=False).flatten().int().tolist()
for k, cell in enumerate(read):
    print(f"border between cells {k} and {k + 1}: reads cell {cell}")
assert read == [0, 2, 2, 4, 4, 6, 6], read
print("cells never read at a border:", sorted(set(range(8)) - set(read)))
print("as seen before")
PYTHON
