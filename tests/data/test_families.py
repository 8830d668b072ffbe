"""Test mask families: bytes, statistics of the authors' generators, patterns, buckets, and refused mask sets."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from sair.common.errors import InputError
from sair.common.images import pixel_sha256, write_png
from sair.data.buckets import ALL, as_buckets, holes, labels_of
from sair.data.checks import mask_checks
from sair.data.families.drawing import line, normal, sine_cosine
from sair.data.families.registry import FAMILIES, NAMES, resolve
from sair.data.freeze import freeze_images, freeze_manifest
from sair.data.manifest import read_manifest
from sair.data.masks import MaskSet
from sair.pipeline.config import check_config
from sair.reporting.inputs import layout

GOLDEN = json.loads(Path("tests/golden/masks.json").read_text(encoding="utf-8"))
BUCKETS = as_buckets([[0, 20], [20, 40], [40, 60]])


def drawn(name, seed, size=64):
    family = resolve(name, size)
    return family.draw(np.random.Generator(np.random.PCG64(seed)), family.sides[0] if family.sides else size)


def mask_set(size=64, count=3, **spec):
    return MaskSet({"source": "family", "train": 4} | spec, size, BUCKETS, count)


# --------------------------------------------------------------------------------------------------------- families


@pytest.mark.parametrize("name", FAMILIES)
def test_a_seed_gives_the_same_bytes_on_every_machine(name):
    assert [pixel_sha256(drawn(name, seed))[:16] for seed in range(3)] == GOLDEN["sha256"][name]


@pytest.mark.parametrize("name", FAMILIES)
def test_masks_have_a_hole_and_known_pixels_and_only_fixed_families_repeat(name):
    masks = [drawn(name, seed) for seed in range(8)]
    assert all(mask.dtype == np.bool_ and 0 < mask.mean() < 1 for mask in masks)
    assert (len({pixel_sha256(mask) for mask in masks}) == 1) == FAMILIES[name].fixed


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN["authors"])
def test_statistics_are_those_of_the_authors_generator(name):
    """Means of hole ratio, number of components and largest inscribed disc are within four standard errors and 3 %."""
    count = 150 if name.endswith("256") else 70
    masks = [drawn(name, seed) for seed in range(count)]
    side = len(masks[0])
    measured = {
        "ratio": [100 * mask.mean() for mask in masks],
        "components": [ndimage.label(mask)[1] for mask in masks],
        "disc": [100 * ndimage.distance_transform_edt(np.pad(mask, 1)).max() / side for mask in masks],
    }
    theirs = GOLDEN["authors"][name]
    for what, values in measured.items():
        mean, sd = theirs[f"{what}_mean"], theirs[f"{what}_sd"]
        error = sd * np.sqrt(1 / count + 1 / GOLDEN["masks"])
        assert np.mean(values) == pytest.approx(mean, abs=4 * error + 0.03 * mean), what


def test_patterns_hide_the_published_share():
    shares = {name: drawn(name, 0, 256).mean() for name in ("box", "box_random", "half", "expand", "lines", "grid")}
    assert shares == {"box": 0.25, "box_random": 0.25, "half": 0.5, "expand": 0.9375, "lines": 0.5, "grid": 0.75}
    assert not drawn("grid", 0, 256)[::2, ::2].any() and drawn("lines", 0, 256)[::2].all()
    assert not drawn("expand", 0, 256)[96:160, 96:160].any()
    for seed in range(20):
        box = np.argwhere(drawn("box_random", seed, 256))
        assert box.min() >= 16 and box.max() < 240 and (np.ptp(box, axis=0) == 127).all()
        assert 0.2 <= drawn("half_ntire", seed, 100).mean() < 0.8
        assert drawn("expand_ntire", seed, 240).mean() in {1 - 1 / 16, 1 - 1 / 9, 1 - 1 / 4}
        assert round(1 / (1 - drawn("grid_ntire", seed, 240).mean()), 6) in {4, 9, 16}


def test_a_family_without_a_size_takes_the_published_size_of_the_images():
    assert resolve("lama_thick", 512) is resolve("lama_thick", 1024) is FAMILIES["lama_thick_512"]
    assert resolve("lama_thick", 511) is resolve("lama_thick", 64) is FAMILIES["lama_thick_256"]
    with pytest.raises(InputError, match=r"no mask family 'lama_thik'. Did you mean lama_thick"):
        resolve("lama_thik", 256)


def test_sines_need_no_library():
    angles = np.linspace(-20, 20, 4001)
    found = np.array([sine_cosine(float(angle)) for angle in angles])
    np.testing.assert_allclose(found, np.stack([np.sin(angles), np.cos(angles)], 1), rtol=0, atol=4e-15)


def test_normal_draws_have_the_quantiles_of_a_normal_distribution():
    rng = np.random.default_rng(0)
    draws = np.sort([normal(rng) for _ in range(10_000)])
    assert draws.mean() == pytest.approx(0, abs=0.03) and draws.std() == pytest.approx(1, abs=0.03)
    assert np.quantile(draws, [0.05, 0.25, 0.95]) == pytest.approx([-1.645, -0.674, 1.645], abs=0.04)


def test_a_line_covers_the_pixels_within_its_radius():
    for start, end in (((3, 4), (15, 9)), ((10, 10), (10, 10)), ((-4, 3), (40, 30)), ((18, 2), (5, 2))):
        mask = np.zeros((24, 20), dtype=bool)
        line(mask, start, end, 2.5)
        way = np.linspace(start, end, 1501)
        y, x = np.mgrid[:24, :20]
        distance = np.sqrt(((np.stack([x, y], -1)[:, :, None] - way) ** 2).sum(-1)).min(-1)
        certain = abs(distance - 2.5) > 0.02
        assert np.array_equal(mask[certain], distance[certain] < 2.5)


# ---------------------------------------------------------------------------------------------------------- mask sets


def test_the_test_has_every_family_and_training_masks_are_others():
    masks = mask_set(family=["lama_thick", "mat_small", "box"])
    assert masks.labels == ["lama_thick", "mat_small", "box"]
    test = {label: [pixel_sha256(mask) for mask in masks.test(label)] for label in masks.labels}
    training = [pixel_sha256(mask) for mask in masks.training()]
    assert len({*test["lama_thick"], *test["mat_small"]}) == 6 and len(training) == 4
    assert not {*test["lama_thick"], *test["mat_small"]} & {*training}
    assert {*test["box"]} < {*training}  # all masks of this family are equal
    again = mask_set(family=["lama_thick", "mat_small", "box"])
    assert [pixel_sha256(mask) for mask in again.test("mat_small")] == test["mat_small"]
    other = mask_set(family=["lama_thick", "mat_small", "box"], seed=1)
    assert [pixel_sha256(mask) for mask in other.test("mat_small")] != test["mat_small"]


def test_families_may_be_divided_by_hole_ratio():
    masks = mask_set(family=["lama_thick", "lama_thin"], by="ratio")
    assert masks.labels == ["0-20", "20-40", "40-60"]
    for label, low in zip(masks.labels, (0, 20, 40), strict=True):
        assert all(low <= 100 * mask.mean() < low + 20 for mask in masks.test(label))


def test_a_family_that_has_no_mask_of_a_bucket_is_refused():
    with pytest.raises(InputError, match=r"families box were drawn at 64 pixels, and none has a hole ratio of 0-20 %"):
        list(mask_set(family="box", by="ratio").test("0-20"))


def test_objects_are_regions_of_label_maps(tmp_path):
    labels = np.zeros((48, 64), np.uint8)
    labels[10:26, 12:28] = 5  # 256 of 2,304 pixels of the central square
    labels[40:42, 40:42] = 7  # too small
    write_png(tmp_path / "a.png", labels)
    spec = {"family": "objects", "labels": str(tmp_path)}
    found = list(mask_set(size=48, count=6, **spec).test("objects"))
    expected = labels[:, 8:56] == 5
    assert all(np.array_equal(mask, expected) or np.array_equal(mask, expected[:, ::-1]) for mask in found)
    assert len({pixel_sha256(mask) for mask in found}) == 2
    with pytest.raises(InputError, match=r"none has a connected region of the ids \[7\] that covers 2% to 30%"):
        next(mask_set(size=48, **spec, ids=[7]).test("objects"))


@pytest.mark.parametrize("rule", ["nearest", "pillow_bilinear", "pillow_bicubic", "opencv_bilinear"])
def test_families_are_shrunk_by_the_set_s_rule(rule):
    plain, shrunk = (list(mask_set(family="lama_thin", count=6, **s).test("lama_thin")) for s in ({}, {"shrink": rule}))
    assert all(mask.shape == (64, 64) for mask in shrunk)
    grown = sum(mask.sum() for mask in shrunk) / sum(mask.sum() for mask in plain)
    assert grown == 1 if rule == "nearest" else 1.02 < grown < 2


def test_a_split_by_family_is_frozen_and_a_table_has_its_families(tmp_path, config):
    faces = {"source": "faces", "train": 1, "validation": 0, "test": 2}
    freeze_images(faces, 32, tmp_path / "images.csv")
    masks = {"source": "family", "family": ["lama_medium", "half"], "train": 2}
    freeze_manifest(tmp_path / "images.csv", masks, BUCKETS, tmp_path / "manifest.csv", tmp_path / "training.csv")
    rows = read_manifest(tmp_path / "manifest.csv")
    assert [row.prediction for row in rows[::2]] == ["lama_medium/test00000.png", "half/test00000.png"]
    mine = config | {"masks": {"strokes": masks}, "tables": {"mine": {"dataset": "faces"}}}
    assert layout(mine, "mine").buckets == ("lama_medium", "half")
    mine |= {"tables": {"mine": {"dataset": "faces", "buckets": ["half", ALL]}}}
    assert layout(mine, "mine").buckets == ("half", ALL)


def test_labels_of_buckets_for_readers():
    assert labels_of({"source": "strokes"}, [(0, 20), (20, 40)]) == ["0-20", "20-40"]
    assert [holes(label) for label in ("0-20", "lama_thin_256")] == ["0-20 %", "lama_thin_256"]
    assert not any(name[0].isdigit() for name in NAMES)


# ------------------------------------------------------------------------------------------------ folders as families


def some_masks(folder, rows, side=64):
    """Write masks whose holes are the upper rows, and return their folder as a family of a mask set."""
    for number, row in enumerate(rows):
        write_png(
            folder / f"{number}.png", np.where(np.arange(side)[:, None] < row, 255, 0).repeat(side, 1).astype("u1")
        )
    return {"path": str(folder), "hole": "white"}


def test_a_folder_of_masks_is_a_family_whose_masks_are_not_repeated(tmp_path):
    folder = some_masks(tmp_path / "rows", [0, 64, *range(5, 15)])  # without a hole, all hole, and ten others
    masks = mask_set(family=["box", folder], count=6)
    assert masks.labels == ["box", "rows"]
    test, training = list(masks.test("rows")), [mask for mask in masks.training() if mask.mean() != 0.25]
    rows = [int(mask[:, 0].sum()) for mask in (*test, *training)]
    assert len(rows) == len({*rows}) == 8 and {*rows} <= {*range(5, 15)}
    again = mask_set(family=["box", folder], count=6).test("rows")
    assert [np.array_equal(a, b) for a, b in zip(test, again, strict=True)] == [True] * 6
    other = [int(mask[:, 0].sum()) for mask in mask_set(family=["box", folder], count=6, seed=1).test("rows")]
    assert other != rows[:6]
    assert len(list(mask_set(family=[folder], count=25, train=0).test("rows"))) == 25, "images share masks"


def test_a_folder_takes_its_turns_of_a_hole_ratio(tmp_path):
    folder = some_masks(tmp_path / "rows", [8] * 9 + [15] * 9 + [30] * 9)
    masks = mask_set(family=["lama_thin", folder], by="ratio", count=4, train=3)
    of_folder = [[len({*mask.sum(1)} - {0, 64}) == 0 for mask in masks.test(label)] for label in masks.labels]
    assert of_folder == [[False, True] * 2] * 3, "also where most drawn masks have another ratio"
    assert [round(100 * mask.mean()) // 20 for mask in masks.training()] == [0, 1, 2]
    assert [mask.mean() < 0.2 for mask in mask_set(family=["box", folder], by="ratio").test("0-20")] == [True] * 3
    only = some_masks(tmp_path / "few", [8])
    with pytest.raises(
        InputError, match="families box, few were drawn at 64 pixels, and none has a hole ratio of 40-60"
    ):
        list(mask_set(family=["box", only], by="ratio", train=0).test("40-60"))


@pytest.mark.parametrize(
    ("rows", "change", "message"),
    [
        ([8, 9], {}, "rows: all 2 masks are needed for the test and none is left for training. Add masks"),
        ([0, 64], {}, "rows: no mask has both a hole and known pixels with `hole: white`. Check"),
        ([0, 0], {"by": "ratio"}, "rows: no mask has a hole ratio of 0-20, 20-40, 40-60 % with `hole: white`"),
        ([8, 9], {"hole": "black"}, "with `hole: black` the masks hide 87% .* `hole: white` 100% would"),
        ([8, 9], {"size": 128}, r"0\.png: mask of 64x64 pixels; expected a square mask of at least 128 pixels"),
        ([8, 9], {"path": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_folders_that_cannot_be_a_family(tmp_path, rows, change, message):
    folder = some_masks(tmp_path / "rows", rows) | {key: change[key] for key in ("hole", "path") if key in change}
    change = {key: value for key, value in change.items() if key not in folder}
    with pytest.raises(InputError, match=message):
        mask_set(family=["box", folder], **change)


def test_masks_whose_hole_vanishes_are_counted(tmp_path, capsys):
    folder = some_masks(tmp_path / "rows", [8, 0, 16])
    line = np.zeros((256, 256), np.uint8)
    line[3] = 255  # between the rows that nearest neighbour keeps at 64 pixels
    for number in range(2):
        write_png(tmp_path / f"rows/line{number}.png", line)
    mask_set(family=["box", folder], train=0)
    warnings = capsys.readouterr().err
    assert "rows: 2 of 5 masks lose their whole hole when they are shrunk to 64 pixels by `shrink: nearest`" in warnings
    for path in (tmp_path / "rows").glob("[0-9]*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"rows: 2 of 2 masks lose .* Another rule of `shrink` keeps thin lines"):
        mask_set(family=["box", folder], train=0)
    mask_set(family=["box", folder], train=0, shrink="pillow_bilinear")


def test_a_mask_that_is_not_square_is_refused_in_a_family_too(tmp_path):
    folder = some_masks(tmp_path / "rows", [8])
    write_png(tmp_path / "rows/wide.png", np.eye(64, 80, dtype=np.uint8) * 255)
    with pytest.raises(InputError, match=r"wide\.png: mask of 80x64 pixels; expected a square mask"):
        mask_set(family=["box", folder])


def test_two_folders_share_no_file_if_masks_are_trained_on(tmp_path):
    inner, outer = some_masks(tmp_path / "all/inner", range(5, 15)), {"path": str(tmp_path / "all"), "hole": "white"}
    with pytest.raises(InputError, match=r"\d\.png: a mask of both 'inner' and 'all', so a test mask could also be"):
        mask_set(family=[inner, outer])
    assert mask_set(family=[inner, outer], train=0).labels == ["inner", "all"]


def test_the_doctor_counts_a_family_s_folder(tmp_path):
    spec = {"source": "family", "train": 0, "family": ["box", some_masks(tmp_path / "rows", [8, 16])]}
    found = [(check.place, check.look()) for check in mask_checks(spec, 64, BUCKETS, 5)]
    assert found[0] == ("rows", f"{tmp_path}/rows: 2 masks")
    assert "hole ratios of 5 masks each: box 25 to 25 %, rows 12 to 25 %" in found[1][1]
    assert found[1][1].endswith("rows: 2 masks, fewer than 5 in a bucket, so images share masks")


def set_of(**spec):
    return {"masks": {"strokes": {"source": "family", "train": 2} | spec}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_of(family="lama_thik"), "masks.strokes.family: there is no 'lama_thik'. Did you mean lama_thick"),
        (set_of(), "masks.strokes: 'family' is a required property"),
        (set_of(family=[]), "masks.strokes.family"),
        (set_of(family="objects"), "family `objects` takes its shapes from label maps. Name their folder in `labels`"),
        (set_of(family="box", labels="x"), "masks.strokes.labels: only the family `objects` uses label maps"),
        (set_of(family=["box", {"path": "x"}]), r"masks.strokes.family.1: 'hole' is a required property"),
        (set_of(family=[{"path": "x", "hole": "grey"}]), r"masks.strokes.family.0.hole: 'grey' is not one of"),
        (set_of(family=[{"path": "x", "hole": "white", "hol": 1}]), "unknown key 'hol'. Did you mean hole"),
        (
            set_of(family=[{"path": "a/box/", "hole": "white"}]),
            "the folder a/box/ is called 'box', as a published family",
        ),
        (set_of(family=[{"path": "a/2 b", "hole": "white"}]), "is called '2 b', but the name of a bucket has letters"),
        (set_of(family=[{"path": ".", "hole": "white"}]), r"the folder \. is called '', .*--masks NAME=FOLDER"),
        (set_of(family=[{"path": "a", "name": "all", "hole": "white"}]), "is called 'all', but the name of a bucket"),
        (
            set_of(family=[{"path": "a/m", "hole": "white"}, {"path": "b/m", "hole": "white"}]),
            "the folder a/m is called 'm', as another family of the set is. Give it another `name`",
        ),
        (set_of(family="box", path="x"), "masks.strokes.path: only `source: folder` and `source: paired` have"),
        (set_of(family="box"), "tables.table1.claims: the paper's table is divided by hole ratio.*`by: ratio`"),
        (
            {"masks": {"strokes": {"source": "strokes", "train": 2, "family": "box"}}},
            "only `source: family` has this key",
        ),
        ({"masks": {"strokes": {"source": "strokes", "train": 2, "shrink": "nearest"}}}, "never shrunk"),
    ],
)
def test_wrong_mask_sets_of_a_config(config, change, message):
    with pytest.raises(InputError, match=message):
        check_config(config | change)


def test_a_config_by_family_is_accepted_with_tables_by_hole_ratio_where_it_says_so(config):
    check_config(config | set_of(family=["lama_thick", "comodgan"], by="ratio"))
    tables = {name: {"dataset": "faces"} for name in config["tables"]}
    check_config(config | set_of(family="lama_thick") | {"tables": tables})


@pytest.mark.slow
def test_opencv_s_rule_is_opencv_s():
    cv2 = pytest.importorskip("cv2")
    from sair.data.shrinking import shrink

    for seed in range(40):
        mask = drawn("lama_thin_256", seed)
        for size in (64, 100, 128, 255):
            theirs = cv2.resize(mask.astype(np.uint8) * 255, (size, size), interpolation=cv2.INTER_LINEAR) > 0
            assert np.array_equal(shrink(mask, size, "opencv_bilinear"), theirs), size


def test_opencv_s_rule_of_a_half_takes_any_of_four_pixels():
    from sair.data.shrinking import shrink

    mask = drawn("lama_thin_256", 1)
    assert np.array_equal(shrink(mask, 128, "opencv_bilinear"), mask.reshape(128, 2, 128, 2).any((1, 3)))


def test_training_masks_take_the_families_in_turn():
    masks = list(islice(mask_set(family=["half", "box"]).training(), 4))
    assert [mask.mean() for mask in masks] == [0.5, 0.25, 0.5, 0.25]
