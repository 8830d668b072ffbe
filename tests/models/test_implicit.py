"""Test the implicit function against brute force: a loop over members and taps, straight from the published formula."""

import numpy as np
import pytest
import torch

from sair.models.implicit import (
    LocalImplicitFunction,
    interpolate,
    neighbours,
    own_cells,
    pixel_centres,
    rows_around,
)


def brute_force(function, features, coords, cell, extra, upstream):
    """Compute LIIF's query for one image, one coordinate and one member at a time (unfold, shift, clamp, area)."""
    _, channels, height, width = features.shape
    padded = torch.nn.functional.pad(features[0], (1, 1, 1, 1))
    values = []
    for y, x in coords[0].tolist():
        answers, areas = [], []
        for vy in (-1, 1):
            for vx in (-1, 1):
                row, column = (
                    min(max(round(((c + 1) * n - 1) / 2), 0), n - 1)
                    for c, n in (
                        (min(max(y + vy / height + 1e-6, -1 + 1e-6), 1 - 1e-6), height),
                        (min(max(x + vx / width + 1e-6, -1 + 1e-6), 1 - 1e-6), width),
                    )
                )
                # In float32, as the code: a cell's own centre must have an offset of exactly zero.
                offset_y, offset_x = (
                    float((np.float32(c) - (np.float32(2 * i + 1) / np.float32(n) - np.float32(1))) * np.float32(n))
                    for c, i, n in ((y, row, height), (x, column, width))
                )
                if function.dilations == [1]:
                    patch = [
                        padded[c, row + dy, column + dx] for c in range(channels) for dy in range(3) for dx in range(3)
                    ]
                else:
                    patch = list(features[0, :, row, column])
                inputs = [*patch, *([] if extra is None else extra[row * width + column])]
                inputs += [torch.tensor(offset_y), torch.tensor(offset_x)]
                if function.cell:
                    inputs += [cell[0] * height, cell[1] * width]
                answers.append(function.imnet.layers(torch.stack([torch.as_tensor(v).float() for v in inputs])))
                areas.append(abs(offset_y * offset_x) + 1e-9)
        # The area opposite to each member, or plainly the bilinear weight.
        areas = areas[::-1] if upstream else bilinear(y, x, height, width)
        total = sum(areas)
        values.append(sum(a * w / total for a, w in zip(answers, areas, strict=True)))
    return torch.stack(values)[None]


def bilinear(y, x, height, width):
    fy, fx = ((c + 1) / 2 * n - 0.5 for c, n in ((y, height), (x, width)))
    ty, tx = fy - torch.floor(torch.tensor(fy + 1e-4)), fx - torch.floor(torch.tensor(fx + 1e-4))
    ty, tx = float(ty.clamp(0, 1)), float(tx.clamp(0, 1))
    return [(1 - ty) * (1 - tx), (1 - ty) * tx, ty * (1 - tx), ty * tx]


def make(extra=0, **options):
    torch.manual_seed(0)
    function = LocalImplicitFunction(5, 3, (16, 16), extra=extra, **options)
    return function, torch.randn(1, 5, 6, 7)


@pytest.mark.slow
@pytest.mark.parametrize("upstream", [False, True])
@pytest.mark.parametrize(("unfold", "cell", "extra"), [(True, True, 0), (False, False, 4), (True, True, 4)])
@pytest.mark.parametrize("output", [(13, 11), (6, 7)])
def test_equals_brute_force(unfold, cell, extra, upstream, output):
    function, features = make(extra, unfold=unfold, cell=cell, upstream=upstream)
    vectors = torch.randn(6 * 7, extra) if extra else None
    coords = pixel_centres(*output)[None]
    size = torch.tensor([2 / output[0], 2 / output[1]])
    members = neighbours(coords, 6, 7, upstream)
    found = function(features, members, size, (lambda index: vectors[index]) if extra else None)
    expected = brute_force(function, features, coords, size, vectors, upstream)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


def test_upstream_differs_only_in_the_last_row_and_column_of_its_own_grid():
    function, features = make(unfold=True)
    coords = pixel_centres(6, 7)[None]
    clean = function(features, neighbours(coords, 6, 7)).view(6, 7, 3)
    upstream = function(features, neighbours(coords, 6, 7, upstream=True)).view(6, 7, 3)
    difference = (clean - upstream).abs().amax(-1)
    assert difference[:-1, :-1].max() < 1e-6
    assert difference[-1].max() > 1e-3 and difference[:, -1].max() > 1e-3


def test_one_member_is_enough_on_the_grid():
    function, features = make(unfold=True, cell=True)
    size = torch.tensor([2 / 6, 2 / 7])
    full = function(features, neighbours(pixel_centres(6, 7)[None], 6, 7), size)
    one = function(features, own_cells(torch.arange(42)[None]), size)
    torch.testing.assert_close(one, full, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("unfold", [True, False, [1, 2, 4]])
def test_gathering_equals_convolving_also_in_the_gradient(unfold):
    function, features = make(unfold=unfold)
    features.requires_grad_()
    index = torch.arange(42)[None]
    results = []
    for part in (index, index[:, :10]):  # 42 cells take the convolution, 10 the gather
        value = function(features, own_cells(part))[:, :10]
        gradients = torch.autograd.grad(value.square().sum(), [features, function.imnet.layers[0].weight])
        results.append((value, *gradients))
    for convolved, gathered in zip(*results, strict=True):
        torch.testing.assert_close(gathered, convolved, atol=1e-5, rtol=1e-5)


def test_a_list_of_dilations_sees_exactly_those_cells():
    torch.manual_seed(0)
    function = LocalImplicitFunction(1, 1, (16,), unfold=[1, 2, 4])
    features = torch.randn(1, 1, 11, 11, requires_grad=True)
    centre = torch.tensor([[60]])
    for index in (centre, centre.expand(1, 121)):  # the gather, the convolution
        (seen,) = torch.autograd.grad(function(features, own_cells(index)).sum(), features)
        found = {(y - 5, x - 5) for y, x in seen[0, 0].nonzero().tolist()}
        assert found == {(d * i, d * j) for d in (1, 2, 4) for i in (-1, 0, 1) for j in (-1, 0, 1)}


def test_interpolation_is_bilinear():
    features = torch.randn(2, 4, 5, 6)
    coords = pixel_centres(20, 24)[None].expand(2, -1, -1)
    expected = torch.nn.functional.interpolate(features, (20, 24), mode="bilinear", align_corners=False)
    found = interpolate(features, neighbours(coords, 5, 6)).transpose(1, 2).view_as(expected)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_weights_sum_to_one_and_cells_stay_inside():
    coords = torch.rand(1, 500, 2) * 2 - 1
    for upstream in (False, True):
        members = neighbours(coords, 3, 4, upstream)
        torch.testing.assert_close(members.weight.sum(0), torch.ones(1, 500))
        assert members.index.min() >= 0 and members.index.max() < 12


def test_zero_start_begins_at_zero():
    function, features = make(zero_start=True)
    assert function(features, own_cells(torch.arange(42)[None])).abs().max() == 0


@pytest.mark.parametrize(("height", "rows"), [(7, 7), (64, 16), (100, 37), (23, 64), (5, 1), (2048, 128)])
def test_the_rows_that_are_known_on_the_host_contain_all_members(height, rows):
    for upstream in (False, True):
        cells = neighbours(pixel_centres(height, 1)[None], rows, 1, upstream).index[:, 0]
        for first, last in ((0, height - 1), (0, 0), (height // 3, height // 2), (height - 1, height - 1)):
            found = cells[:, first : last + 1]
            top, bottom = rows_around(first, last, height, rows)
            assert top <= found.min() <= top + 1 and bottom - 1 <= found.max() <= bottom
