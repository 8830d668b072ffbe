#!/usr/bin/env bash
# Three ways in which a hole's fill by inpainting is not like the other fills of an augmentation library.
# Seen with albumentations 2.0.8 (albucore 0.0.24, numpy 2.4.6, opencv-python-headless 5.0.0.93). With fill="inpaint_ns" or
# "inpaint_telea" CoarseDropout changes all known pixels of a float32 image, by up to 1/510: it rounds the whole image to 8
# bits. With fill=0 or "random" none changes. Of a grey image (64, 64, 1) the two return (64, 64), the others (64, 64, 1).
# MaskDropout documents the same two fills and raises an error with both, whatever the image.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  albumentations==2.0.8 albucore==0.0.24 numpy==2.4.6 opencv-python-headless==5.0.0.93
NO_ALBUMENTATIONS_UPDATE=1 "$folder/venv/bin/python" - <<'PYTHON'
import albumentations as A
import cv2
import numpy as np

FILLS = (0, "random", "inpaint_ns", "inpaint_telea")
image = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
grey = (255 * image[..., :1]).astype(np.uint8)


def filled(image, fill):
    one_hole = {"num_holes_range": (1, 1), "hole_height_range": (16, 16), "hole_width_range": (16, 16)}
    transform = A.Compose([A.CoarseDropout(**one_hole, fill=fill, fill_mask=1, p=1)], seed=1)
    found = transform(image=image, mask=np.zeros(image.shape[:2], np.uint8))
    return found["image"], found["mask"] > 0


for fill in FILLS:
    result, hole = filled(image, fill)
    known = np.abs(result - image)[~hole]
    shape = filled(grey, fill)[0].shape
    print(f"{fill}: {(known > 0).any(-1).sum()} of {len(known)} known pixels change, by up to {known.max():.5f}; grey {shape}")
    if fill in FILLS[:2]:
        assert known.max() == 0 and shape == (64, 64, 1)
    else:
        assert (known > 0).any(-1).all() and 0.0019 < known.max() < 1 / 509 and shape == (64, 64)

objects = np.zeros((64, 64), np.uint8)
objects[20:40, 20:40] = 1
for fill in ("inpaint_ns", "inpaint_telea"):
    try:
        A.Compose([A.MaskDropout(max_objects=1, fill=fill, p=1)], seed=1)(image=(255 * image).astype(np.uint8), mask=objects)
    except cv2.error as error:
        [reason, *_] = [line for line in str(error).splitlines() if line.startswith(">  - ")]
        print(f"MaskDropout, {fill}: {reason.removeprefix('>  - ')}")
        assert "'flags' is required to be an integer" in reason
    else:
        raise AssertionError("MaskDropout inpaints")
print("as seen before")
PYTHON
