"""Test the distances of sets of images that a config names, and the networks whose features they compare."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from helpers.sets import feature_pairs, small_clip
from PIL import Image
from torchvision import transforms
from torchvision.models import Inception_V3_Weights, inception_v3

from sair.commands import verify
from sair.common.errors import InputError
from sair.common.files import file_sha256
from sair.data.manifest import manifest_hash, read_manifest
from sair.evaluation import features, fid
from sair.evaluation.metrics.cmmd import cmmd
from sair.evaluation.metrics.features import KINDS, NETWORKS, metrics_of
from sair.evaluation.metrics.ids import _decide, _fit, discriminative_scores
from sair.inference.predict import predict
from sair.methods.spec import load_spec
from sair.pipeline import pages
from sair.pipeline.config import check_config
from sair.pipeline.project import Project
from sair.reporting.inputs import TableInputs, optional_weights
from sair.reporting.measured import network_distances
from sair.reporting.rows import Row
from sair.reporting.sets import sections
from sair.weights.sources import known

GOLDEN = json.loads(Path("tests/golden/measures.json").read_text(encoding="utf-8"))
SIZES = [(40, 120), (300, 24)]


def names(count):
    return [f"image{k}" for k in range(count)]


# ------------------------------------------------------------------------------------------------ P-IDS, U-IDS and CMMD


@pytest.mark.parametrize(("count", "size"), SIZES)
def test_scores_as_published_equal_scikit_learn_s(count, size):
    real, fake = feature_pairs(count, size)
    expected = GOLDEN["ids"][f"{count}x{size}"]
    found = discriminative_scores(real, fake, names(count))
    assert [found.uids, found.pids] == pytest.approx([100 * expected["u"], 100 * expected["p"]])
    weights = _fit(real, fake)
    scores = [*_decide(real[:3], weights), *_decide(fake[-3:], weights)]
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [50, 400])
def test_scores_equal_an_installed_scikit_learn_s(size):
    svm = pytest.importorskip("sklearn.svm").LinearSVC(dual=False, tol=1e-12, max_iter=100_000)
    real, fake = feature_pairs(100, size)
    both = np.vstack([real, fake])
    svm.fit(both, [1] * 100 + [0] * 100)
    np.testing.assert_allclose(_decide(both, _fit(real, fake)), svm.decision_function(both), atol=1e-5, rtol=0)


def test_as_published_few_images_are_separated_however_good_the_fakes_are_and_held_out_they_are_not():
    """Fakes of the same distribution: 0 as published below as many images as features, about 50 % held out."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 60, 150))
    found = discriminative_scores(real, fake, names(60))
    assert found.pids == found.uids == 0
    assert 30 < found.pids_heldout < 70 and 30 < found.uids_heldout < 70
    worse = discriminative_scores(real, fake + 0.5, names(60))
    assert worse.pids_heldout < 10 and worse.uids_heldout < 25


def test_a_perfect_method_has_half_of_both_held_out():
    real, _ = feature_pairs(40, 60)
    found = discriminative_scores(real, real.copy(), names(40))
    assert (found.pids, found.uids) == (0, 50), "as published, equal scores count as a lost pair"
    assert (found.pids_heldout, found.uids_heldout) == (50, 50)


def test_a_group_is_never_fitted_and_read():
    """Copies of pairs change the published scores and not the held-out ones of groups that contain the copies."""
    rng = np.random.default_rng(1)
    real, fake = rng.normal(size=(2, 40, 120))
    twice = discriminative_scores(np.vstack([real] * 2), np.vstack([fake] * 2), [*names(40), *names(40)])
    assert 30 < twice.pids_heldout < 70
    apart = discriminative_scores(np.vstack([real] * 2), np.vstack([fake] * 2), names(80))
    assert apart.pids_heldout < 25, "copies in other groups are recognised"
    assert math.isnan(discriminative_scores(real, fake, ["one"] * 40).pids_heldout)


@pytest.mark.parametrize(("count", "size"), SIZES)
def test_cmmd_equals_a_published_implementation(count, size):
    real, fake = feature_pairs(count, size)
    assert cmmd(real, fake) == pytest.approx(GOLDEN["cmmd"][f"{count}x{size}"], rel=1e-9)
    assert cmmd(5 * real, real) == pytest.approx(0, abs=1e-9)


# ------------------------------------------------------------------------------------------------------------ networks


def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 64), (300, 360), (90, 70))]


def expect(name, path, monkeypatch):
    """Put a file where the weights of a network would be, under its hash."""
    facts = known()[NETWORKS[name].entry]
    own = facts.files[0]._replace(sha256=file_sha256(path))
    monkeypatch.setitem(known(), NETWORKS[name].entry, facts._replace(files=(own,)))
    monkeypatch.setenv("SAIR_WEIGHTS", str(path.parent))


@pytest.mark.slow
def test_torchvision_s_inception_is_its_own_with_its_own_transform(nowhere, tmp_path):
    torch.manual_seed(0)
    reference = inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    for module in reference.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    path = tmp_path / known()["inception_torchvision"].files[0].name
    torch.save(reference.state_dict(), path)
    expect("torchvision", path, nowhere)
    reference.fc = torch.nn.Identity()
    transform = Inception_V3_Weights.DEFAULT.transforms()
    with torch.no_grad():
        wanted = torch.cat([reference(transform(Image.fromarray(image))[None]) for image in images()]).numpy()
    ours = features.Extractor("torchvision")(images(), batch_size=2)
    assert ours.shape == (3, 2048) and ours.std() > 0.1
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    torch.save({"fc.weight": torch.zeros(2)}, path)
    expect("torchvision", path, nowhere)
    with pytest.raises(InputError, match="not the weights of this network"):
        features.Extractor("torchvision")


@pytest.mark.parametrize(
    ("name", "size", "architecture"),
    [("clip", 224, "ViT-B-32"), pytest.param("clip336", 336, "ViT-L-14-336", marks=pytest.mark.slow)],
)
def test_clip_gets_images_as_the_published_codes_prepare_them(name, size, architecture, nowhere, tmp_path):
    """``clip`` as clean-fid's CLIP-FID, ``clip336`` as CMMD's code; on a small CLIP of the same input size."""
    reference = small_clip(size)
    path = tmp_path / known()[NETWORKS[name].entry].files[0].name
    path.write_bytes(b"any")
    expect(name, path, nowhere)
    built = []
    nowhere.setattr(features, "clip_state", lambda _: reference.state_dict())
    nowhere.setattr(open_clip, "create_model", lambda name, **_: built.append(name) or small_clip(size))
    mean, deviation = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    wanted = []
    for image in images():
        if name == "clip":
            resize = transforms.Resize(224, transforms.InterpolationMode.BICUBIC)
            unit = transforms.ToTensor()(transforms.CenterCrop(224)(resize(Image.fromarray(image))))
        else:
            unit = torch.from_numpy(image).permute(2, 0, 1).float() / 255
            unit = torch.nn.functional.interpolate(unit[None], size=(336, 336), mode="bicubic")[0]
        with torch.no_grad():
            wanted.append(reference.encode_image(transforms.Normalize(mean, deviation)(unit)[None]))
    ours = features.Extractor(name)(images(), batch_size=2)
    np.testing.assert_allclose(ours, torch.cat(wanted).numpy(), rtol=0, atol=1e-5)
    assert built == [f"{architecture}-quickgelu"] and ours.std() > 0.01


def test_positions_of_dinov2_are_resized_as_its_own_code_does():
    stored = torch.sin(torch.arange(1370 * 4).float().view(1, 1370, 4) * 0.37)
    found = features._positions(stored)[0]
    assert found.shape == (257, 4)
    for row, values in GOLDEN["positions"].items():
        np.testing.assert_allclose(found[int(row)].numpy(), values, atol=1e-5, rtol=0)


def test_dinov2_gives_its_class_token(nowhere, tmp_path):
    import timm

    small = {"embed_dim": 32, "depth": 1, "num_heads": 2, "init_values": 1e-5, "num_classes": 0}
    reference = timm.create_model("vit_small_patch14_dinov2", **small, img_size=518).eval()
    path = tmp_path / known()["dinov2_l14"].files[0].name
    torch.save(reference.state_dict() | {"mask_token": torch.zeros(1, 32)}, path)
    expect("dinov2", path, nowhere)
    create = timm.create_model
    nowhere.setattr(timm, "create_model", lambda _, **given: create("vit_small_patch14_dinov2", **small | given))
    ours = features.Extractor("dinov2")(images())
    inside = create("vit_small_patch14_dinov2", **small, img_size=224).eval()
    state = reference.state_dict()
    inside.load_state_dict(state | {"pos_embed": features._positions(state["pos_embed"])})
    transform = transforms.Compose(
        [
            transforms.Resize((224, 224), transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with torch.no_grad():
        tokens = [inside.forward_features(transform(Image.fromarray(image))[None])[:, 0] for image in images()]
    np.testing.assert_allclose(ours, torch.cat(tokens).numpy(), atol=1e-5, rtol=0)


# ---------------------------------------------------------------------------------------------------- files and tables


@pytest.fixture
def measured(tmp_path, frozen_split):
    """Write made features of six images in two buckets, and the distances of a method."""
    frozen_split(tmp_path, test=6, train=1, masks=1, buckets=[(0, 20), (20, 40)])
    manifest = tmp_path / "manifest.csv"
    real, fake = feature_pairs(12, 40)
    facts = manifest_hash(manifest), "weights", "images"
    fid.write_features(tmp_path / "truth.safetensors", fid.Features(real[:6].astype(np.float32), *facts))
    fid.write_features(tmp_path / "own.safetensors", fid.Features(fake.astype(np.float32), *facts))
    files = [tmp_path / name for name in ("truth.safetensors", "own.safetensors", "distances.clip.csv")]
    fid.write_network_distances(manifest, *files)
    return tmp_path


def test_the_file_has_every_distance_of_every_bucket(measured):
    frame = pd.read_csv(measured / "distances.clip.csv")
    assert list(frame.columns) == fid.DISTANCE_COLUMNS and list(frame.bucket) == ["0-20", "20-40", "all"]
    manifest = measured / "manifest.csv"
    truth, own = (fid.read_features(measured / f"{name}.safetensors") for name in ("truth", "own"))
    plain = fid.distances(manifest, truth, own)
    pd.testing.assert_frame_equal(frame[["n", "fid", "kid", "kid_low"]], plain[["n", "fid", "kid", "kid_low"]])
    rows = read_manifest(manifest)
    order = {image: k for k, image in enumerate(dict.fromkeys(row.image for row in rows))}
    pairs = [(order[row.image], place) for place, row in enumerate(rows) if row.bucket == "20-40"]
    pairs.sort()
    real, fake = truth.features, own.features[[place for _, place in pairs]]
    line = frame.set_index("bucket").loc["20-40"]
    assert line.cmmd == pytest.approx(cmmd(real, fake))
    expected = discriminative_scores(real, fake, [row.cluster for row in rows[:6]])
    assert line[["pids", "uids", "pidsheldout", "uidsheldout"]].tolist() == pytest.approx(list(expected))


def test_a_section_of_a_table_prints_them_with_their_flags(measured):
    cells = network_distances([measured / "distances.clip.csv"], "clip")
    assert {metric for _, metric in cells} == set(metrics_of("clip")) and len(cells) == 3 * len(KINDS)
    row = Row("mine", "Mine", "variant", cells, {}, 1)
    (found, missing) = sections([row], ["20-40"], ["clip", "torchvision"])
    assert found.table.startswith("Distances by the features of CLIP ViT-B/32, n = 6.")
    for header in ("FID ↓ 20-40 %", "CMMD ↓ 20-40 %", "P-IDS as published ↑ 20-40 %", "U-IDS held out ↑ 20-40 %"):
        assert header in found.table
    assert "FID is biased upwards: fewer than 2,048 images" in found.note
    assert "as published fitted and read on the same images: 0 with fewer images than features" in found.note
    assert set(found.reasons) == {"pids_clip", "uids_clip", "fid_clip"}
    assert not missing.table and "`sair weights fetch inception_torchvision`" in missing.note


def test_a_config_names_networks_and_those_without_weights_cause_no_job(config, nowhere, tmp_path):
    check_config(config | {"distances": ["inception", "clip336"]})
    with pytest.raises(InputError, match=r"config, distances\.0: 'clip14' is not one of"):
        check_config(config | {"distances": ["clip14"]})
    assert TableInputs({}, "m").networks == {}
    named = config | {"distances": ["torchvision", "clip"]}
    project = Project(named)
    assert pages.table_inputs(project, "table1").networks == {}
    path = tmp_path / known()["clip_b32"].files[0].name
    path.write_bytes(b"any")
    nowhere.setenv("SAIR_WEIGHTS", str(tmp_path))
    found = pages.table_inputs(project, "table1").networks
    assert optional_weights(named) == ["inception_torchvision", "clip_b32"]
    assert list(found) == ["clip"] and found["clip"]["liif"] == ["results/faces/liif/seed0/distances.clip.csv"]
    assert project.features("clip", "faces") == "results/faces/truth_features.clip.safetensors"
    assert project.features("inception", "faces", "liif", 0) == "results/faces/liif/seed0/features.safetensors"


@pytest.mark.slow
def test_verify_computes_them_again_from_stored_features(tmp_path, frozen_split):
    frozen_split(tmp_path / "faces", test=4, train=1, masks=1, buckets=[(0, 20), (20, 40)])
    manifest, own = tmp_path / "faces/manifest.csv", tmp_path / "faces/mean_fill/seed0"
    predict(load_spec("mean_fill", "config/methods", "mini"), manifest, own / "predictions")
    real, fake = (part.astype(np.float32) for part in feature_pairs(8, 20))
    facts, images = (manifest_hash(manifest), "weights"), fid.predictions_digest(manifest, own / "predictions")
    files = tmp_path / "faces/truth_features.clip.safetensors", own / "features.clip.safetensors"
    fid.write_features(files[0], fid.Features(real[:4], *facts, "truths"))
    fid.write_features(files[1], fid.Features(fake, *facts, images))
    table = own / "distances.clip.csv"
    fid.write_network_distances(manifest, *files, table)
    project = SimpleNamespace(
        manifest=lambda dataset: str(manifest),
        features=lambda network, dataset, *of: str(files[1] if of else files[0]),
    )
    assert verify._distances(project, str(table), "faces", "clip").state == verify.BACKED
    text = table.read_text()
    table.write_text(text.replace(f"{pd.read_csv(table).cmmd[0]:.10g}", "0.5"))
    found = verify._distances(project, str(table), "faces", "clip")
    assert found.state == verify.NOT_BACKED and "cmmd of 0-20 is 0.5, but its features give" in found.said
