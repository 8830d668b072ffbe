"""Test FID and KID against pytorch-fid, against torch-fidelity's definition, and for properties of an estimate."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from helpers.malicious import Malicious
from pytorch_fid import fid_score
from pytorch_fid import inception as published

from sair.common.errors import InputError
from sair.common.files import file_sha256
from sair.common.images import read_rgb, write_png
from sair.data.manifest import manifest_hash
from sair.evaluation import features, fid
from sair.evaluation.metrics.fid import frechet_distance
from sair.evaluation.metrics.kid import kernel_distance
from sair.weights.sources import entry, known

pytestmark = pytest.mark.slow  # as a whole

BUCKETS = ["0-20", "20-40", "40-60"]
TEST = 5


# The weights and the network


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Write random weights under the keys of the real ones, in a file of their name."""
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)  # so that features are of the order of one
    path = tmp_path_factory.mktemp("weights") / entry("inception").files[0].name
    torch.save(network.state_dict(), path)
    return path


def expect(file, monkeypatch):
    """Put the random weights where the real ones would be, and register their hash."""
    facts = known()["inception"]
    own = facts.files[0]._replace(sha256=file_sha256(file))
    monkeypatch.setitem(known(), "inception", facts._replace(files=(own,)))
    monkeypatch.setenv("SAIR_WEIGHTS", str(file.parent))


@pytest.fixture
def found(nowhere, file):
    expect(file, nowhere)
    return nowhere


@pytest.mark.slow
def test_features_equal_those_of_pytorch_fid(found, file, tmp_path):
    """Images of one size and of several; a batch that does not divide their number."""
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    os.link(file, tmp_path / "hub/checkpoints" / os.path.basename(published.FID_WEIGHTS_URL))
    reference = published.InceptionV3()  # built by pytorch-fid itself, from torch hub's cache
    rng = np.random.default_rng(0)
    for sizes in ([(64, 64)] * 5, [(40, 64), (300, 310)]):
        images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        paths = [tmp_path / f"{number}.png" for number in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            write_png(path, image)
        batch = 5 if len(set(sizes)) == 1 else 1  # pytorch-fid needs one size per batch
        wanted = fid_score.get_activations(paths, reference, batch_size=batch, num_workers=0)
        ours = features.Extractor("inception")(map(read_rgb, paths), batch_size=2)
        assert ours.shape == (len(paths), 2048) and ours.dtype == np.float32 and ours.std() > 0.1
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_loading_does_not_change_the_random_state(found, file):
    before = torch.get_rng_state()
    network = features.Extractor("inception")
    assert torch.equal(before, torch.get_rng_state())
    assert network.sha256 == file_sha256(file)


@pytest.mark.parametrize("content", ["code", "keys"])
def test_a_file_of_code_or_of_other_keys_is_refused(content, tmp_path):
    path, marker = tmp_path / "bad.pth", tmp_path / "executed"
    torch.save({"fc.weight": Malicious(os.mkdir, str(marker)) if content == "code" else torch.ones(1)}, path)
    with pytest.raises(InputError, match={"code": "refused", "keys": "not the weights"}[content]):
        features._pytorch_fid(path)
    assert not marker.exists()


# The distances


def samples(n, d, seed, scale=1.0, shift=0.0):
    spectrum = scale * np.arange(1, d + 1) ** -0.5
    return np.random.default_rng(seed).normal(shift, 1, (n, d)) * spectrum


@pytest.mark.parametrize(("n", "m"), [(200, 300), (30, 200), (20, 30)])
def test_fid_equals_that_of_pytorch_fid(n, m):
    """There are fewer images than features, more, and both; with singular covariances its square root is less exact."""
    a, b = samples(n, 48, 0), samples(m, 48, 1, scale=1.3, shift=0.1)
    statistics = [part for x in (a, b) for part in (x.mean(0), np.cov(x, rowvar=False))]
    wanted = fid_score.calculate_frechet_distance(*statistics)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-9 if min(n, m) > 48 else 1e-4)
    # The root of a symmetric matrix is another way, exact in every case.
    values, vectors = np.linalg.eigh(statistics[1])
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ statistics[3] @ root).clip(0)).sum()
    gap = statistics[0] - statistics[2]
    wanted = gap @ gap + np.trace(statistics[1]) + np.trace(statistics[3]) - 2 * trace
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-6)


def test_fid_of_a_known_case():
    """Four features are scaled by 2 and shifted by 3, so the FID is 4 * 9 + the variances."""
    a = samples(50, 4, 0)
    variances = a.var(0, ddof=1).sum()
    assert frechet_distance(a, 2 * a - a.mean(0) + 3) == pytest.approx(4 * 9 + variances)
    assert 0 <= frechet_distance(a, a) < 1e-12


def kernel(a, b):
    return (a @ b / len(a) + 1) ** 3


def torch_fidelity(x, y):
    """Compute torch-fidelity's `polynomial_mmd` with one subset of all: unbiased, degree 3, gamma 1/d, coef0 1."""
    k_xx, k_yy, k_xy = (((a @ b.T) / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    m, n = len(x), len(y)
    within_x = (k_xx.sum() - np.trace(k_xx)) / (m * (m - 1))
    within_y = (k_yy.sum() - np.trace(k_yy)) / (n * (n - 1))
    return within_x + within_y - 2 * k_xy.sum() / (m * n)


@pytest.mark.parametrize("buckets", [1, 2])
def test_kid_equals_its_definition(buckets, monkeypatch):
    monkeypatch.setattr("sair.evaluation.metrics.kid.ROWS", 4)  # several blocks, the last one smaller
    x, y = samples(10, 6, 0), np.stack([samples(10, 6, 1 + b, shift=0.5) for b in range(buckets)])
    found = kernel_distance(x, y)
    assert found.unpaired == pytest.approx(torch_fidelity(x, y.reshape(-1, 6)))

    def loops(kept):
        terms = [
            kernel(x[i], x[j]) + kernel(a[i], b[j]) - kernel(x[i], b[j]) - kernel(a[i], x[j])
            for i in kept
            for j in kept
            if i != j
            for a in y
            for b in y
        ]
        return np.mean(terms)

    assert found.paired.mean == pytest.approx(loops(range(10)))
    assert found.paired.n == 10
    left_out = np.array([loops([i for i in range(10) if i != k]) for k in range(10)])
    error = np.sqrt(9 / 10 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.paired.high - found.paired.mean == pytest.approx(1.96 * error)
    assert found.paired.mean - found.paired.low == pytest.approx(1.96 * error)


def test_kid_of_pairs_is_unbiased_where_torch_fidelitys_is_not():
    """Ground truth and prediction share most of their content and have one distribution: the true distance is 0."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        shared = rng.normal(0, 1, (20, 8))
        x, y = (0.9 * shared + np.sqrt(0.19) * rng.normal(0, 1, (20, 8)) for _ in range(2))
        result = kernel_distance(x, y[None])
        found.append((result.paired.mean, result.unpaired))
    means, errors = np.mean(found, 0), np.std(found, 0) / np.sqrt(200)
    assert abs(means[0]) < 3 * errors[0] and means[1] < -10 * errors[1]
    assert kernel_distance(x, x[None]).paired[:3] == pytest.approx((0, 0, 0), abs=1e-12)


def mean_kernel(p, q):
    """Return E of (a·b / d + 1)³ for independent normal a and b of means p and q and unit variances."""
    d, s, squares = len(p), p @ q, p @ p + q @ q
    return 1 + 3 * s / d + 3 * (d + squares + s**2) / d**2 + (s**3 + 3 * s * squares + (3 * d + 6) * s) / d**3


def test_the_interval_of_kid_covers_the_truth():
    """In 300 simulated tables of 60 images the 95 % interval contains the true distance about 95 % of the time."""
    rng = np.random.default_rng(0)
    here, there = np.zeros(16), np.full(16, 0.4)
    true = mean_kernel(here, here) + mean_kernel(there, there) - 2 * mean_kernel(here, there)
    found = [
        kernel_distance(rng.normal(here, 1, (60, 16)), rng.normal(there, 1, (1, 60, 16))).paired for _ in range(300)
    ]
    means = np.array([paired.mean for paired in found])
    assert abs(means.mean() - true) < 3 * means.std() / np.sqrt(300)
    assert 0.90 <= np.mean([paired.low <= true <= paired.high for paired in found]) <= 0.98


def test_fid_is_biased_by_the_number_of_images_and_kid_is_not():
    """FID is flagged because of this: two samples of one distribution, with few and with many images."""
    few, many = (
        np.mean([frechet_distance(samples(n, 64, 2 * k), samples(n, 64, 2 * k + 1)) for k in range(10)])
        for n in (20, 400)
    )
    assert few > 5 * many
    kid = [kernel_distance(samples(20, 64, 2 * k), samples(20, 64, 2 * k + 1)[None]).paired.mean for k in range(40)]
    assert abs(np.mean(kid)) < 3 * np.std(kid) / np.sqrt(40)


# The files


@pytest.fixture(scope="module")
def computed(tmp_path_factory, frozen_split, file):
    """Write a manifest of five images, predictions (the truth, in the last bucket its negative), and their FID."""
    folder = tmp_path_factory.mktemp("computed")
    manifest = frozen_split(folder, test=TEST)
    for row in pd.read_csv(manifest).itertuples():
        truth = read_rgb(folder / row.image)
        image = 255 - truth if row.bucket == BUCKETS[2] else truth
        write_png(folder / f"predictions/composited/{row.bucket}/{row.id}.png", image)
    truth, method = folder / "truth.safetensors", folder / "method.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        expect(file, patch)
        fid.write_truth_features(manifest, truth, "cpu")
        fid.write_fid(manifest, folder / "predictions", truth, method, folder / "fid.csv", "cpu")
    return folder


@pytest.fixture
def written(computed, tmp_path):
    """Return a copy of these files, to change."""
    return shutil.copytree(computed, tmp_path / "copy")


def test_files_of_a_manifest(written, file):
    truth, method = (fid.read_features(written / f"{name}.safetensors") for name in ("truth", "method"))
    assert truth.features.shape == (TEST, 2048) and method.features.shape == (3 * TEST, 2048)
    np.testing.assert_allclose(method.features[:TEST], truth.features, rtol=1e-5, atol=1e-5)
    assert truth.manifest == method.manifest == manifest_hash(written / "manifest.csv")
    assert method.images == fid.predictions_digest(written / "manifest.csv", written / "predictions")
    frame = pd.read_csv(written / "fid.csv").set_index("bucket")
    assert list(frame.index) == [*BUCKETS, "all"] and (frame.n == TEST).all()
    assert (frame.weights_sha256 == file_sha256(file)).all()
    assert frame.reason.str.contains("fewer than 2048 images").all()
    scale = frame.fid["40-60"]
    assert scale > 0 and (frame.fid[:2] < 1e-6 * scale).all() and 0 < frame.fid["all"] < scale
    assert (frame.kid[:2].abs() < 1e-5 * abs(frame.kid["40-60"])).all()
    # The same numbers from the images' own features, without the code that sorts them into buckets.
    last = kernel_distance(truth.features, method.features[None, 2 * TEST :])
    assert frame.kid["40-60"] == pytest.approx(last.paired.mean) and frame.kid_low["40-60"] < last.paired.mean
    together = kernel_distance(truth.features, method.features.reshape(3, TEST, 2048))
    assert frame.kid["all"] == pytest.approx(together.paired.mean)
    assert frame.kid_unpaired["all"] == pytest.approx(torch_fidelity(truth.features, method.features), rel=1e-3)
    assert scale == pytest.approx(frechet_distance(truth.features, method.features[2 * TEST :]))


def test_features_of_another_manifest_or_other_weights_are_refused(written):
    truth, method = (fid.read_features(written / f"{name}.safetensors") for name in ("truth", "method"))
    for wrong in (method._replace(manifest="x"), method._replace(weights="x")):
        with pytest.raises(InputError, match="features of another manifest or by other weights"):
            fid.distances(written / "manifest.csv", truth, wrong)


def test_a_changed_image_is_not_the_one_of_the_features(written):
    before = fid.predictions_digest(written / "manifest.csv", written / "predictions")
    path = next((written / "predictions/composited").rglob("*.png"))
    write_png(path, 255 - read_rgb(path))
    assert fid.predictions_digest(written / "manifest.csv", written / "predictions") != before
    path.unlink()
    with pytest.raises(InputError, match=path.name):
        fid.predictions_digest(written / "manifest.csv", written / "predictions")


def test_two_images_give_a_reason_and_no_number(written):
    table = pd.read_csv(written / "manifest.csv")
    table[table.groupby("bucket").cumcount() < 2].to_csv(written / "two.csv", index=False)
    digest = manifest_hash(written / "two.csv")
    features = np.random.default_rng(0).normal(size=(6, 2048))
    truth, method = (fid.Features(part, digest, "w", "p") for part in (features[:2], features))
    frame = fid.distances(written / "two.csv", truth, method)
    assert frame.fid.isna().all() and frame.kid.isna().all() and (frame.reason == "fewer than 3 images").all()


def test_damaged_features_are_refused(written):
    path = written / "truth.safetensors"
    for content in (path.read_bytes()[:1000], None):
        path.write_bytes(content) if content else path.unlink()
        with pytest.raises(InputError, match=r"truth\.safetensors: not a file of features"):
            fid.read_features(path)
