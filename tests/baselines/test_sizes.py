"""Test how images are brought to the size of a foreign network: mirrored, resized, in tiles."""

import pytest
import torch

from baselines.sizes import back, by_tiles, on_multiple, resized


def scene(height, width):
    images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(1, 1, height, width)
    masks[..., 3 : height - 5, 4 : width // 2] = 1
    return images, masks


def copy(image, mask):
    return image


@pytest.mark.parametrize(("height", "width", "multiple"), [(20, 33, 8), (16, 16, 8), (5, 7, 16), (10, 10, 1)])
def test_padding_to_a_multiple_is_undone(height, width, multiple):
    images, masks = scene(height, width)

    def fill(image, mask):
        assert image.shape[-2] % multiple == image.shape[-1] % multiple == 0 and image.shape[-2:] == mask.shape[-2:]
        return image

    assert torch.equal(on_multiple(fill, images, masks, multiple), images)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 100), (33, 32), (10, 70), (32, 32)])
@pytest.mark.parametrize("overlap", [0, 8, 31])
def test_tiles_cover_the_image_and_are_blended_without_a_seam(height, width, overlap):
    images, masks = scene(height, width)
    assert (by_tiles(copy, images, masks, 32, overlap) - images).abs().max() < 1e-5
    constant = by_tiles(lambda image, mask: torch.full_like(image, 0.5), images, torch.ones_like(masks), 32, overlap)
    assert (constant - 0.5).abs().max() < 1e-5


def test_tiles_without_a_hole_are_not_computed():
    images, masks = torch.rand(1, 3, 32, 96), torch.zeros(1, 1, 32, 96)
    masks[..., 10:20, 70:80] = 1
    calls = []

    def fill(image, mask):
        calls.append(float(mask.sum()))
        return 1 - image

    filled = by_tiles(fill, images, masks, 32, 0)
    assert calls == [100.0]
    assert (
        torch.equal(filled[..., :64], images[..., :64]) and (filled[..., 64:] + images[..., 64:] - 1).abs().max() < 1e-6
    )


@pytest.mark.parametrize("shape", [(16, 16), (50, 61), (20, 33)])
def test_a_resized_pixel_that_overlaps_the_hole_is_hole(shape):
    images, masks = scene(20, 33)
    small, hole = resized(images, masks, shape)
    assert small.shape[-2:] == hole.shape[-2:] == shape and set(hole.unique().tolist()) <= {0.0, 1.0}
    without = torch.nn.functional.interpolate(1 - masks, shape, mode="area")
    assert torch.equal(hole == 0, without > 1 - 1e-6)
    assert back(small, (20, 33)).shape == images.shape
