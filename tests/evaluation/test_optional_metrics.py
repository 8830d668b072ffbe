"""Test the metrics that are measured where they are named, against their reference implementations."""

import json
import math
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from helpers.pairs import KINDS, a_hole, pair
from helpers.sets import small_clip
from PIL import Image
from torchvision import transforms

import sair
from sair.common.errors import InputError
from sair.common.images import read_rgb, write_png
from sair.data.manifest import read_manifest, read_pair
from sair.evaluation.folders import score_folders
from sair.evaluation.metrics import clipscore, dists, lpips, seam
from sair.evaluation.metrics.dists import Dists
from sair.evaluation.metrics.lpips import Lpips
from sair.evaluation.metrics.of_images import MEASURES, OPTIONAL, chosen
from sair.evaluation.metrics.outside import changed, psnr_outside
from sair.evaluation.score import SCORE_COLUMNS, score_predictions
from sair.inference.predict import predict
from sair.methods.spec import load_spec
from sair.pipeline.config import check_config
from sair.reporting.inputs import QUALITY, TableInputs, optional_metrics, optional_weights
from sair.reporting.tables import write_table
from sair.weights import networks

GOLDEN = json.loads(Path("tests/golden/measures.json").read_text(encoding="utf-8"))
SMALL = ("psnroutside", "changed", "seaminside", "seamoutside")


# ------------------------------------------------------------------------------------------------------------ networks


def random_squeezenet():
    """Return pseudo-random weights under torchvision's keys, of the real shapes."""
    from torchvision.models import squeezenet1_1

    generator = torch.Generator().manual_seed(0)
    state = squeezenet1_1(weights=None).features.state_dict()
    return {f"features.{k}": torch.randn(v.shape, generator=generator) * 0.1 for k, v in state.items()}


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["vgg", "squeeze"])
def test_lpips_of_other_backbones_equals_the_reference_library_s_own_forward(backbone, monkeypatch):
    import lpips as library

    if backbone == "squeeze":  # its weights are in no package, so it is compared on random ones
        monkeypatch.setattr(networks, "squeezenet_state", random_squeezenet)
    state = {"vgg": networks.vgg16_state, "squeeze": lambda: networks.squeezenet_state()}[backbone]()
    reference = library.LPIPS(pretrained=True, net=backbone, pnet_rand=True, verbose=False)
    reference.net.load_state_dict({k: state["features." + k.partition(".")[2]] for k in reference.net.state_dict()})
    truths, predictions = zip(*(pair(kind, 64, 80) for kind in KINDS), strict=True)
    batches = (torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1 for images in (truths, predictions))
    with torch.no_grad():
        expected = reference(*batches).flatten().numpy()
    found = Lpips(backbone=backbone)(truths, predictions)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    assert found.min() > 0.001 and len(set(found)) == len(KINDS)
    smallest = lpips.SMALLEST_OF[backbone]
    image = np.zeros((smallest, smallest, 3), np.uint8)
    assert all(maps.numel() for maps in Lpips(backbone=backbone).features([image]))


def test_a_file_of_squeezenet_is_read_and_another_one_refused(tmp_path, monkeypatch):
    state = random_squeezenet()
    torch.save(state | {"classifier.1.weight": torch.zeros(3)}, tmp_path / "a.pth")
    read = networks._read_torchvision("squeezenet", tmp_path / "a.pth")
    assert set(read) == set(state) and all(torch.equal(read[key], state[key]) for key in state)
    del state["features.3.squeeze.bias"]
    torch.save(state, tmp_path / "b.pth")
    with pytest.raises(InputError, match=r"unexpected keys \['features.3.squeeze.bias'\]"):
        networks._read_torchvision("squeezenet", tmp_path / "b.pth")


def test_missing_weights_are_named_with_the_way_to_get_them(nowhere):
    with pytest.raises(
        InputError, match=r"squeezenet \(LPIPS \(SqueezeNet\).*was not found(?s:.*)squeezenet1_1-b8a52dc0"
    ):
        networks.squeezenet_state()
    with pytest.raises(InputError, match=r"dists \(weights of DISTS(?s:.*)pip install --no-deps DISTS-pytorch==0.1"):
        networks.dists_weights()


def made_weights():
    k = torch.arange(sum(dists.CHANNELS))
    return 0.01 + (k % 7) / 100, 0.02 + (k % 5) / 50


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["made", "published"])
def test_dists_equals_the_authors_package(weights, monkeypatch):
    if weights == "made":
        monkeypatch.setattr(networks, "dists_weights", made_weights)
    try:
        metric = Dists()
    except InputError as error:
        pytest.skip(f"weights unavailable: {error}")
    truths, predictions = zip(*(pair(kind, 64, 80) for kind in KINDS), strict=True)
    found = metric.distance(metric.features(truths), metric.features(predictions))
    expected = [GOLDEN[f"dists_{weights}"][kind] for kind in KINDS]
    np.testing.assert_allclose(found, expected, atol=2e-6, rtol=0)
    assert metric.distance(metric.features(truths), metric.features(truths)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match="one size"):
        metric.features([truths[0], truths[0][:32]])


# --------------------------------------------------------------------------------------------------------- known pixels


@pytest.mark.parametrize("kind", KINDS)
def test_the_seam_equals_opencv_s_sobel_filter(kind):
    truth, raw = pair(kind, 64, 80)
    hole = a_hole(64, 80)
    found = [seam.inside(truth, raw, hole), seam.outside(truth, raw, hole)]
    assert found == pytest.approx(GOLDEN["seam"][kind], rel=1e-9)
    composited = np.where(hole[..., None], raw, truth)
    assert [seam.inside(truth, composited, hole), seam.outside(truth, composited, hole)] == found
    assert seam.inside(truth, truth, hole) == seam.outside(truth, truth, hole) == 0


def test_a_step_of_one_level_along_a_straight_edge_counts_four():
    truth = np.full((16, 16, 3), 100, np.uint8)
    hole = np.zeros((16, 16), bool)
    hole[:, 8:] = True
    assert [seam.inside(truth, truth + 1, hole), seam.outside(truth, truth + 1, hole)] == [4, 4]


def test_outside_the_hole_only_known_pixels_of_the_raw_prediction_count():
    truth = np.full((16, 16, 3), 100, np.uint8)
    hole = np.zeros((16, 16), bool)
    hole[:8] = True
    raw = truth.copy()
    raw[:8] = 7
    assert (psnr_outside(truth, raw, hole), changed(truth, raw, hole)) == (math.inf, 0)
    raw[8, :4, 2] += 1
    assert changed(truth, raw, hole) == 100 * 4 / 128
    assert psnr_outside(truth, raw, hole) == pytest.approx(10 * math.log10(255**2 * 128 * 3 / 4))


@pytest.mark.parametrize("name", SMALL)
def test_no_known_pixel_or_no_hole(name):
    truth = np.full((16, 16, 3), 100, np.uint8)
    metric = OPTIONAL[name].of_case
    assert math.isnan(metric(truth, truth, np.ones((16, 16), bool)))
    without = metric(truth, truth, np.zeros((16, 16), bool))
    assert math.isnan(without) if name.startswith("seam") else without == {"psnroutside": math.inf, "changed": 0}[name]
    with pytest.raises((InputError, TypeError)):
        metric(truth, truth[:12], np.ones((16, 16), bool))


class MeanError:
    """A network that sees the mean level of an image."""

    device = torch.device("cpu")

    def features(self, images):
        return [torch.tensor([image.mean() for image in images])]

    def distance(self, features_a, features_b):
        return (features_a[0] - features_b[0]).abs().double().numpy()


@pytest.mark.parametrize("make", [MeanError, pytest.param(Lpips, marks=pytest.mark.slow)])
def test_a_network_of_known_pixels_sees_a_black_hole_in_both_images(make):
    truth, raw = pair("noise")
    hole = a_hole(64, 64)
    other = np.where(hole[..., None], 255 - raw, raw)
    blacked = [np.where(hole[..., None], np.uint8(0), image) for image in (truth, raw)]
    network = make()
    expected = network.distance(*(network.features([image]) for image in blacked))[0]
    for prediction in (raw, other):
        networks = dict.fromkeys(("lpips", "lpipsoutside"), network)
        found = sair.score(truth, prediction, hole, metrics=["lpipsoutside"], networks=networks)
        assert found["lpipsoutside"] == pytest.approx(expected, abs=1e-7) and expected > 0


# ------------------------------------------------------------------------------------------------------------ captions


@pytest.fixture
def clip(monkeypatch):
    torch.manual_seed(0)  # with other random weights all cosines may be negative, and all scores zero
    found = small_clip(224)
    monkeypatch.setattr(clipscore, "_network", lambda _: (found, open_clip.get_tokenizer("ViT-L-14")))
    return found


def test_the_clip_score_is_the_cosine_of_image_and_caption(clip):
    image, _ = pair("noise", 240, 300)
    hole = np.zeros((240, 300), bool)
    hole[20:80, 100:240] = True
    hole[100, 50] = True
    whole, region = clipscore.ClipScore(), clipscore.ClipScore(region=True)
    unit = transforms.Compose(
        [
            transforms.Resize(224, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD),
        ]
    )
    found = []
    with torch.no_grad():
        for caption in ("a face", "a bus on a road", "a dog"):
            text = clip.encode_text(open_clip.tokenize([caption]))[0]
            for network, seen in ((whole, image), (region, image[20:101, 50:240])):
                embedded = clip.encode_image(unit(Image.fromarray(seen))[None])[0]
                cosine = float(embedded @ text / embedded.norm() / text.norm())
                found.append(network.score(image, hole, caption))
                assert found[-1] == pytest.approx(max(0, 100 * cosine), abs=1e-4)
    assert len(set(found)) > 2 and max(found) > 0
    assert math.isnan(whole.score(image, hole, "")) and math.isnan(region.score(image, ~hole & hole, "a face"))


@pytest.mark.slow
def test_scores_take_the_captions_of_the_images(clip, scored, tmp_path):
    predictions, names = scored / "mean_fill/seed0/predictions", ("clipscore", "clipscoreregion")
    made = partial(score_predictions, scored / "manifest.csv", predictions, tmp_path / "scores.csv", show=False)
    frame = made(metrics=names, networks={})
    assert list(frame.columns)[-2:] == list(names) and frame[list(names)].notna().all(axis=None)
    rows, captions = (
        read_manifest(scored / "manifest.csv"),
        pd.read_csv(scored / "images.csv").set_index("image").caption,
    )
    image = read_rgb(predictions / "composited" / rows[3].prediction)
    hole = read_pair(rows[3], scored).hole
    expected = clipscore.ClipScore().score(image, hole, captions[rows[3].image])
    assert frame.clipscore[3] == pytest.approx(expected, abs=1e-5)
    assert made(metrics=names, networks=False)[list(names)].isna().all(axis=None)


def test_without_captions_the_clip_score_is_refused(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "copy")
    images = pd.read_csv(tmp_path / "copy/images.csv").assign(caption="")
    images.to_csv(tmp_path / "copy/images.csv", index=False)
    folder = tmp_path / "copy/mean_fill/seed0/predictions"
    with pytest.raises(InputError, match=r"images\.csv: no image has a caption, which clipscore need"):
        score_predictions(
            tmp_path / "copy/manifest.csv",
            folder,
            tmp_path / "s.csv",
            metrics=["clipscore"],
            networks=False,
            show=False,
        )
    with pytest.raises(
        InputError, match="clipscore: these metrics need captions, which only datasets of a config have"
    ):
        score_folders(folder / "raw", folder / "composited", metrics=["clipscore"], networks=False, show=False)


# ------------------------------------------------------------------------------------------------- score files, tables


def test_names_of_metrics():
    assert [metric.name for metric in chosen(["seaminside", "dists", "psnr"])] == ["dists", "seaminside"]
    with pytest.raises(InputError, match=r"no metric 'dist' of images\. Did you mean dists"):
        chosen(["dist"])
    assert OPTIONAL["dists"].columns == ["dists", "dists_raw"] and OPTIONAL["changed"].columns == ["changed"]
    assert not {column for metric in OPTIONAL.values() for column in metric.columns} & {*MEASURES}


@pytest.fixture(scope="module")
def scored(tmp_path_factory, frozen_split):
    folder = tmp_path_factory.mktemp("optional")
    frozen_split(folder, test=3, train=1, masks=1, buckets=[(0, 20), (20, 40)])
    for name in ("mean_fill", "ground_truth"):
        own = folder / name / "seed0"
        predict(load_spec(name, "config/methods", "mini"), folder / "manifest.csv", own / "predictions")
        score_predictions(
            folder / "manifest.csv", own / "predictions", own / "scores.csv", metrics=SMALL, networks=False, show=False
        )
    return folder


def test_score_files_have_the_named_metrics_at_the_end(scored, tmp_path):
    frame = pd.read_csv(scored / "mean_fill/seed0/scores.csv")
    assert tuple(frame.columns) == (*SCORE_COLUMNS, *SMALL)
    assert frame.seaminside.gt(0).all() and frame.seamoutside.gt(0).all()
    own = pd.read_csv(scored / "ground_truth/seed0/scores.csv")
    assert (own[["changed", "seaminside", "seamoutside"]] == 0).all(axis=None) and np.isinf(own.psnroutside).all()
    predictions = scored / "mean_fill/seed0/predictions"
    score_predictions(scored / "manifest.csv", predictions, tmp_path / "s.csv", networks=False, show=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "s.csv"), frame[list(SCORE_COLUMNS)])


def test_a_table_that_names_them_prints_them(scored, tmp_path, config):
    config = config | {"tables": {"mine": {"dataset": "faces", "metrics": ["psnr", "seaminside", "changed"]}}}
    config |= {"buckets": [[0, 20], [20, 40]], "metrics": ["psnroutside", "seamoutside"]}
    assert [metric.name for metric in optional_metrics(config)] == list(SMALL)
    files = {name: [str(scored / name / "seed0/scores.csv")] for name in ("mean_fill", "ground_truth")}
    inputs = TableInputs(files, str(scored / "manifest.csv"))
    output = SimpleNamespace(**{kind: tmp_path / f"mine.{kind}" for kind in ("markdown", "latex", "csv")})
    methods = {name: load_spec(name, "config/methods", "mini") | {"tables": {}} for name in files}
    write_table("mine", inputs, config, methods, output)
    text = output.markdown.read_text()
    assert "Seam inside ↓ 20-40 %" in text and "Changed known pixels ↓ 0-20 %" in text and "PSNR outside" not in text
    assert "sobel-3x3,mean-over-rgb,composited,hole-pixels-at-the-edge" in text
    frame = pd.read_csv(output.csv).set_index(["method", "bucket", "metric"])
    scores = pd.read_csv(files["mean_fill"][0])
    expected = scores.seamoutside[scores.bucket == "0-20"].mean()
    assert frame.loc[("mean_fill", "0-20", "seamoutside"), "mean"] == pytest.approx(expected)


def test_a_file_without_a_named_metric_is_to_be_scored_again(scored, tmp_path, config):
    config = config | {"tables": {"mine": {"dataset": "faces", "metrics": ["dists"]}}, "buckets": [[0, 20], [20, 40]]}
    files = {"mean_fill": [str(scored / "mean_fill/seed0/scores.csv")]}
    with pytest.raises(InputError, match=r"mean_fill/seed0/scores\.csv.*dists.*score the images again"):
        write_table("mine", TableInputs(files, str(scored / "manifest.csv")), config, {}, None)


def test_a_config_may_name_them(config):
    check_config(config | {"metrics": ["dists", "seaminside"]})
    assert optional_weights(config | {"metrics": ["dists", "lpipssqueeze"]}) == [
        *("squeezenet", "lpips_squeeze", "vgg16", "dists"),
    ]
    with pytest.raises(InputError, match=r"config, metrics: there is no 'dist'\. Did you mean dists"):
        check_config(config | {"metrics": ["dist"]})
    with pytest.raises(
        InputError, match=r"config, tables\.mine\.metrics: there is no 'lpipsvg'\. Did you mean lpipsvgg"
    ):
        check_config(config | {"tables": {"mine": {"dataset": "faces", "measure": QUALITY, "metrics": ["lpipsvg"]}}})


def test_folders_and_images_have_them_too(tmp_path):
    truth, raw = pair("noise")
    hole = a_hole(64, 64)
    for name, pixels in (("truth", truth), ("prediction", raw), ("masks", hole.astype(np.uint8) * 255)):
        write_png(tmp_path / name / "a.png", pixels)
    folders = [tmp_path / name for name in ("truth", "prediction", "masks")]
    frame = score_folders(*folders, metrics=SMALL, networks=False, show=False)
    assert list(frame)[-4:] == list(SMALL)
    one = sair.score(truth, raw, hole, metrics=SMALL, networks=False)
    assert {name: one[name] for name in SMALL} == frame.iloc[0][list(SMALL)].to_dict()
    with pytest.raises(InputError, match=r"changed: these metrics need the hole. Give the masks, too"):
        score_folders(*folders[:2], metrics=["changed", "dists"], networks=False, show=False)
