"""Test the metrics against other implementations, against their definitions, and against theory."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pairs import KINDS, a_hole, pair
from skimage.data import camera
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sair.common.errors import InputError
from sair.common.images import read_rgb
from sair.evaluation.metrics.l1 import l1
from sair.evaluation.metrics.lpips import Lpips
from sair.evaluation.metrics.of_images import MEASURES
from sair.evaluation.metrics.psnr import psnr
from sair.evaluation.metrics.registry import JUDGED, METRICS
from sair.evaluation.metrics.ssim import COLUMNS, ROWS, ssim, ssim_map
from sair.weights import networks


@pytest.fixture(scope="module")
def lpips_metric():
    try:
        return Lpips()
    except InputError as error:
        pytest.skip(f"weights unavailable: {error}")


# PSNR and L1


@pytest.mark.parametrize("kind", KINDS)
def test_psnr_equals_scikit_image(kind):
    truth, prediction = pair(kind)
    assert psnr(truth, prediction) == pytest.approx(
        peak_signal_noise_ratio(truth, prediction, data_range=255), abs=1e-9
    )


@pytest.mark.parametrize("offset", [1, 2, 10, 100])
def test_a_constant_offset_has_the_analytic_psnr_and_l1(offset):
    truth = np.full((16, 16, 3), 100, dtype=np.uint8)
    assert psnr(truth, truth + np.uint8(offset)) == pytest.approx(20 * math.log10(255 / offset), abs=1e-12)
    assert l1(truth, truth + np.uint8(offset)) == pytest.approx(offset / 255, abs=1e-15)


def test_one_level_is_48_1308_db():
    truth = np.full((16, 16, 3), 100, dtype=np.uint8)
    assert round(psnr(truth, truth + np.uint8(1)), 4) == 48.1308


def test_l1_equals_its_definition():
    truth, prediction = pair("noise")
    assert l1(truth, prediction) == pytest.approx(np.abs(truth / 255 - prediction / 255).mean(), abs=1e-12)


def test_identical_images(lpips_metric):
    truth, _ = pair("noise")
    assert psnr(truth, truth) == math.inf
    assert ssim(truth, truth) == 1
    assert l1(truth, truth) == 0
    assert lpips_metric([truth], [truth])[0] == 0


def test_black_against_white_is_not_lost_in_uint8_arithmetic():
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == 0
    assert l1(black, white) == l1(white, black) == 1


def test_hole_only_metrics_depend_only_on_the_hole():
    truth, prediction = pair("noise")
    hole = a_hole(64, 64)
    composited = np.where(hole[..., None], prediction, truth)
    box = np.s_[16:32, 16:32]
    assert psnr(truth, composited, hole) == psnr(truth[box], prediction[box])
    assert psnr(truth, prediction, hole=hole) == psnr(truth, composited, hole=hole)
    assert l1(truth, composited, hole) == pytest.approx(l1(truth[box], prediction[box]), abs=1e-15)
    # Known pixels add no error, so the whole image's L1 is the hole's, diluted by the hole's share.
    assert l1(truth, composited) == pytest.approx(l1(truth, composited, hole) * hole.mean(), abs=1e-15)


def test_an_empty_hole_has_no_number():
    truth, prediction = pair("noise")
    hole = np.zeros((64, 64), dtype=bool)
    assert all(math.isnan(metric(truth, prediction, hole)) for metric in (psnr, ssim, l1))


# SSIM


def ssim_by_definition(truth, prediction):
    """Compute Wang et al. 2004, equations 13 to 16, in float64: weighted moments of every 11x11 window, one by one."""
    offsets = np.arange(11) - 5
    row = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(row, row) / np.outer(row, row).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    x, y = (
        np.lib.stride_tricks.sliding_window_view(p.astype(np.float64), (11, 11), (0, 1)) for p in (truth, prediction)
    )

    def mean(values):
        return (values * window).sum(axis=(-2, -1))

    mu_x, mu_y = mean(x), mean(y)
    var_x = mean((x - mu_x[..., None, None]) ** 2)
    var_y = mean((y - mu_y[..., None, None]) ** 2)
    cov = mean((x - mu_x[..., None, None]) * (y - mu_y[..., None, None]))
    index = (2 * mu_x * mu_y + c1) * (2 * cov + c2) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))
    return index.mean(axis=2)


@pytest.mark.parametrize("kind", KINDS)
def test_ssim_equals_its_definition_on_the_valid_region(kind):
    truth, prediction = pair(kind, 40, 53)
    expected = ssim_by_definition(truth, prediction)
    assert expected.shape == (30, 43)
    np.testing.assert_allclose(ssim_map(truth, prediction), expected, atol=1e-9)
    assert ssim(truth, prediction) == pytest.approx(expected.mean(), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_ssim_equals_scikit_image(kind):
    truth, prediction = pair(kind)
    expected = structural_similarity(
        truth, prediction, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2
    )
    assert ssim(truth, prediction) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "size", [(11, COLUMNS + 11), (ROWS + 10, COLUMNS + 10), (2 * ROWS + 11, COLUMNS + 30)], ids=str
)
def test_the_map_of_an_image_of_several_tiles_equals_scikit_images(size):
    truth, prediction = pair("noise", *size)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, expected = structural_similarity(truth, prediction, channel_axis=2, full=True, **options)
    np.testing.assert_allclose(ssim_map(truth, prediction), expected[5:-5, 5:-5].mean(axis=2), rtol=0, atol=1e-13)


def test_ssim_of_the_noisy_cameraman():
    """On scikit-image's own test image, the IPOL article's implementation gives 0.357959."""
    grey = camera()
    noisy = np.clip(grey + 20 * np.random.RandomState(5).randn(*grey.shape), 0, 255).astype(np.uint8)
    assert structural_similarity(grey, noisy) == pytest.approx(0.36745183279103666, abs=1e-9)
    value = ssim(np.dstack([grey] * 3), np.dstack([noisy] * 3))
    assert value == pytest.approx(0.3579642, abs=1e-6)
    assert value == pytest.approx(0.357959, abs=1e-3)


def test_hole_ssim_is_the_mean_over_windows_centred_in_the_hole():
    truth, prediction = pair("noise")
    hole = a_hole(64, 64)
    assert ssim(truth, prediction, hole) == pytest.approx(ssim_map(truth, prediction)[11:27, 11:27].mean(), abs=1e-12)


def test_hole_ssim_leaves_out_the_border():
    truth, prediction = pair("noise")
    hole = np.zeros((64, 64), dtype=bool)
    hole[:5] = True
    assert math.isnan(ssim(truth, prediction, hole))
    hole[5, 20] = True
    assert ssim(truth, prediction, hole) == pytest.approx(ssim_map(truth, prediction)[0, 15], abs=1e-15)


def test_the_smallest_image_has_one_window():
    truth, prediction = pair("noise", 11, 11)
    assert ssim_map(truth, prediction).shape == (1, 1)


# LPIPS


def as_lpips_input(images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / (255 / 2) - 1


# Computed with lpips 0.1.4, `lpips.LPIPS(net="alex")`, float32, one pair at a time.
LPIPS_GOLDEN = {"noise": 0.016821, "hole": 0.062626, "shift": 0.054378, "inverted": 0.186455}


@pytest.mark.parametrize("kind", KINDS)
def test_lpips_golden_numbers(lpips_metric, kind):
    truth, prediction = pair(kind)
    assert lpips_metric([truth], [prediction])[0] == pytest.approx(LPIPS_GOLDEN[kind], abs=1e-5)


def extremes(height, width):
    """Return pairs of images for which rounding may matter: flat, saturated, and almost equal ones."""
    black = np.zeros((height, width, 3), np.uint8)
    noise = np.random.default_rng(5).integers(0, 256, black.shape, dtype=np.uint8)
    dot, bit = black.copy(), noise.copy()
    dot[7, 9], bit[0, 0, 0] = 255, noise[0, 0, 0] ^ 1
    return [(black, ~black), (black, dot), (noise, black), (noise, bit), (~black, ~dot), (noise, noise[::-1])]


# Convolutions of images above 170 pixels are computed by another method (sair.evaluation.metrics.winograd).
@pytest.mark.parametrize(("height", "width"), [(64, 80), (200, 176), (256, 240)])
def test_lpips_equals_the_reference_librarys_own_forward(lpips_metric, height, width):
    import lpips

    reference = lpips.LPIPS(pretrained=True, net="alex", pnet_rand=True, verbose=False)
    state = networks.alexnet_state()
    renamed = {key: state["features." + key.partition(".")[2]] for key in reference.net.state_dict()}
    reference.net.load_state_dict(renamed)
    cases = [*(pair(kind, height, width) for kind in KINDS), *extremes(height, width)]
    truths, predictions = zip(*cases, strict=True)
    with torch.no_grad():
        expected = reference(as_lpips_input(truths), as_lpips_input(predictions)).flatten().numpy()
    np.testing.assert_allclose(lpips_metric(truths, predictions), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", [64, 180, 230])
def test_lpips_is_independent_of_the_batch(lpips_metric, side):
    truths, predictions = zip(*(pair(kind, side, side) for kind in KINDS), strict=True)
    alone = [lpips_metric([t], [p])[0] for t, p in zip(truths, predictions, strict=True)]
    for batch_size in (1, 3, 4):
        np.testing.assert_allclose(lpips_metric(truths, predictions, batch_size), alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2), (2, 1, 0)], ids=str)
def test_lpips_is_independent_of_the_order_of_pixels_in_memory(lpips_metric, order):
    truth, prediction = pair("noise")
    back = np.argsort(order)
    truths, predictions = (
        [np.ascontiguousarray(image.transpose(order)).transpose(back)] for image in (truth, prediction)
    )
    assert not truths[0].flags.c_contiguous and np.array_equal(truths[0], truth)
    expected = lpips_metric([truth], [prediction])
    np.testing.assert_allclose(lpips_metric(truths, predictions), expected, atol=1e-6, rtol=0)
    np.testing.assert_allclose(lpips_metric([truth], predictions), expected, atol=1e-6, rtol=0)


def test_lpips_features_of_a_truth_serve_many_predictions(lpips_metric):
    truth, noisy = pair("noise")
    _, holed = pair("hole")
    shared = lpips_metric.features([truth])
    assert [tuple(maps.shape[:2]) for maps in shared] == [(1, 64), (1, 192), (1, 384), (1, 256), (1, 256)]
    distances = lpips_metric.distance(shared, lpips_metric.features(np.stack([noisy, holed])))
    np.testing.assert_allclose(distances, lpips_metric([truth, truth], [noisy, holed]), atol=1e-6, rtol=0)


def test_lpips_ignores_autocast_and_does_not_change_the_random_state(lpips_metric):
    truth, prediction = pair("noise")
    before = torch.get_rng_state()
    assert Lpips()([truth], [prediction])[0] == lpips_metric([truth], [prediction])[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert lpips_metric([truth], [prediction])[0] == pytest.approx(LPIPS_GOLDEN["noise"], abs=1e-5)
    assert torch.equal(before, torch.get_rng_state())


def test_lpips_of_no_images_is_empty(lpips_metric):
    assert lpips_metric([], []).shape == (0,)


def test_lpips_of_the_authors_example(lpips_metric):
    """The authors report 0.722 and 0.138 for imgs/ex_{ref,p0,p1}.png (their repository, issue 120)."""
    folder = os.environ.get("SAIR_LPIPS_EXAMPLE")
    if not folder:
        pytest.skip("SAIR_LPIPS_EXAMPLE names no folder with the LPIPS authors' imgs/ex_{ref,p0,p1}.png")
    reference, p0, p1 = (read_rgb(Path(folder) / f"ex_{name}.png") for name in ("ref", "p0", "p1"))
    assert [round(d, 3) for d in lpips_metric([reference, reference], [p0, p1])] == [0.722, 0.138]


# What is refused


@pytest.mark.parametrize("metric", [psnr, ssim, l1])
class TestRefusals:
    def test_small_images(self, metric):
        small = np.zeros((10, 30, 3), np.uint8)
        with pytest.raises(InputError, match="10x30 pixels: each side must be at least 11"):
            metric(small, small)

    def test_different_sizes(self, metric):
        with pytest.raises(InputError, match=r"ground truth \(16, 16\) and prediction \(16, 17\): expected one size"):
            metric(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 17, 3), np.uint8))

    @pytest.mark.parametrize(
        "wrong", [np.zeros((16, 16, 3)), np.zeros((16, 16), np.uint8), np.zeros((3, 16, 16), np.uint8)]
    )
    def test_images_that_are_not_uint8_rgb(self, metric, wrong):
        with pytest.raises(TypeError, match="expected a uint8 image"):
            metric(wrong, wrong)

    def test_masks_that_do_not_fit(self, metric):
        image = np.zeros((16, 16, 3), np.uint8)
        with pytest.raises(TypeError, match="expected a bool mask"):
            metric(image, image, np.zeros((16, 16), np.uint8))
        with pytest.raises(InputError, match=r"mask \(16, 15\)"):
            metric(image, image, np.zeros((16, 15), bool))


def test_lpips_refusals(lpips_metric):
    with pytest.raises(InputError, match="at least 31"):
        lpips_metric.features([np.zeros((30, 64, 3), np.uint8)])
    with pytest.raises(InputError, match="one size"):
        lpips_metric.features([np.zeros((32, 64, 3), np.uint8), np.zeros((64, 32, 3), np.uint8)])
    with pytest.raises(TypeError, match="uint8"):
        lpips_metric.features([np.zeros((32, 32, 3), np.float32)])
    with pytest.raises(ValueError, match="1 truths and 0 predictions"):
        lpips_metric([np.zeros((32, 32, 3), np.uint8)], [])
    with pytest.raises(InputError, match="one size"):  # features of both widths have equal sizes
        lpips_metric([np.zeros((32, 31, 3), np.uint8)], [np.zeros((32, 34, 3), np.uint8)])
    assert lpips_metric.features([np.zeros((31, 31, 3), np.uint8)])[-1].shape[-1] == 1


def test_the_registry_gives_the_columns_of_score_files_and_the_directions():
    assert [
        *("psnr", "ssim", "l1", "lpips"),
        *("psnr_hole", "ssim_hole", "l1_hole"),
        *("psnr_raw", "ssim_raw", "l1_raw", "lpips_raw"),
    ] == MEASURES
    higher = {metric.family for metric in METRICS.values() if metric.higher_is_better}
    assert higher == {
        *("psnr", "ssim", "miou", "psnroutside", "clipscore", "clipscoreregion"),
        *("pids", "uids", "pidsheldout", "uidsheldout"),
    }
    assert JUDGED[:5] == ["psnr", "ssim", "l1", "lpips", "miou"], "FID and KID have no test"
    assert all(metric.name == name for name, metric in METRICS.items())
    assert all(metric.family in METRICS for metric in METRICS.values() if metric.kind != "set")
