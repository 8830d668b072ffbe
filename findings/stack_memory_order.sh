#!/usr/bin/env bash
# Is the result of numpy.stack contiguous, so that a reshaped or flattened batch is a view of it?
# Seen with numpy 2.4.6: only if its images are. Images (H, W, 3) that are transposed tensors, as `tensor.permute(1, 2, 0)
# .numpy()` gives them, are stacked in the tensors' order (N, 3, H, W); its manual states no order. Then
# `batch.reshape(N, -1)` is a copy, and a scaling of it in place is lost without a word. Images of two orders give a
# contiguous stack again, so a test with one transposed image beside plain ones does not notice.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np

plain = np.ones((4, 5, 3), np.float32)
transposed = np.ones((3, 4, 5), np.float32).transpose(1, 2, 0)
cases = {
    "plain": (np.stack([plain, plain]), True),
    "transposed": (np.stack([transposed, transposed]), False),
    "mixed": (np.stack([plain, transposed]), True),
    "transposed, as an array": (np.array([transposed, transposed]), True),
}
for name, (batch, contiguous) in cases.items():
    flat = batch.reshape(2, -1)
    flat /= 2
    kept = bool((batch == 0.5).all())
    print(f"{name}: contiguous {batch.flags.c_contiguous}, the scaling in place is {'kept' if kept else 'lost'}")
    assert batch.flags.c_contiguous == kept == contiguous, name
print("as seen before")
PYTHON
