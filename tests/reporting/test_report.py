"""Test the report: the page agrees with the files, nothing is fetched, and it works in a browser."""

import base64
import copy
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.browser import CHROMIUM, DRIVER, Browser
from PIL import Image

from sair.commands import verify
from sair.common.errors import InputError
from sair.common.images import read_mask, read_rgb, write_png
from sair.data.manifest import read_manifest
from sair.evaluation.metrics.miou import SEGMENTATION_COLUMNS
from sair.evaluation.score import SCORE_COLUMNS
from sair.pipeline.pages import claims_inputs, report_inputs
from sair.pipeline.project import Project
from sair.reporting.claims import write_claims
from sair.reporting.report import comparable, write_report

pytestmark = pytest.mark.slow  # as a whole

IMAGES, SHOWN = 9, 5
METHODS = {"liif": 27.0, "sair": 27.5, "lama": 25.0, "mean_fill": 20.0}
EVIL = "LI&IF <b>x</b></script><script>document.title='run'</script>"
BUCKETS = ["0-20", "20-40", "40-60"]
GALLERY = {"scores": "scores.csv", "predictions": "predictions"}


@pytest.fixture(scope="module")
def project(config, tmp_path_factory, frozen_split):
    """Return a small finished run of invented images and scores: Table 1, claims and logs only."""
    folder = tmp_path_factory.mktemp("report") / "results"
    settings = copy.deepcopy(config) | {"results": str(folder)}
    settings["report"]["images"] = SHOWN
    settings["tables"] = {name: config["tables"][name] for name in ("table1", "table2")}
    settings["figures"]["qualitative"]["methods"] = ["sair"]
    found = Project(settings, "workflow/schemas/config.schema.yaml")
    found.registry.methods = {name: found.methods[name] for name in METHODS}
    found.methods["liif"]["label"] = EVIL
    # The paper's row would name it; as a variant it goes by its own label.
    found.methods["liif"]["tables"] = {"table1": None}
    found.methods["liif"]["stands_for"] = {"row": "LIIF", "equal": "compute"}
    data = folder / "faces"
    rows = read_manifest(frozen_split(data, test=IMAGES))
    for number, (name, level) in enumerate(METHODS.items()):
        rng = np.random.default_rng(number)
        own = data / name / "seed0"
        scores = []
        for row in rows:
            truth, hole = read_rgb(data / row.image), read_mask(data / row.mask)
            guess = rng.integers(0, 256, truth.shape, dtype=np.uint8)
            write_png(own / "predictions/composited" / row.prediction, np.where(hole[..., None], guess, truth))
            score = dict.fromkeys(SCORE_COLUMNS, 0.1) | {"id": row.id, "bucket": row.bucket, "cluster": row.cluster}
            scores.append(score | {"psnr": level - 3 * BUCKETS.index(row.bucket) + rng.normal()})
        pd.DataFrame(scores)[list(SCORE_COLUMNS)].to_csv(own / "scores.csv", index=False)
        log = {"step": [50, 100, 150], "lr": 1e-3, "psnr": [None, 20.0, 20.0], "loss": [0.3, 0.2, 0.1]}
        pd.DataFrame(log).to_csv(own / "train.csv", index=False)
    (data / "clip/seed0").mkdir(parents=True)
    overlaps = [["complete", "0-20", row.cluster, row.id, "whole", "skin", 5, 10] for row in rows]
    pd.DataFrame(overlaps, columns=SEGMENTATION_COLUMNS).to_csv(data / "clip/seed0/segmentation.csv", index=False)
    verify._table(found, "table1", SimpleNamespace(
        markdown=folder / "table1.md", latex=folder / "table1.tex", csv=folder / "table1.csv"
    ))  # fmt: skip
    inputs = claims_inputs(found)
    inputs = replace(inputs, measured={"table1": inputs.measured["table1"]})
    output = SimpleNamespace(markdown=folder / "claims.md", csv=folder / "claims.csv")
    write_claims(inputs, found.config, found.methods, output)
    return found


@pytest.fixture(scope="module")
def page(project, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    make(project, path)
    return path


def make(project, path, **changes):
    write_report(report_inputs(project), project.config | changes, project.methods, path)


def data_of(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def pixels(uri):
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def scores_of(project, name, bucket):
    frame = pd.read_csv(report_inputs(project).scores[name][0], dtype={"id": str})
    return frame[frame.bucket == bucket].set_index("id").psnr


# --------------------------------------------------------------------------------------------------------------------
# The page as a file


def test_every_number_is_the_tables_own(project, page):
    data = data_of(page)
    (table,) = data["tables"]
    frame = pd.read_csv(f"{project.results}/table1.csv")
    done = frame[frame["mean"].notna()].set_index(["label", "bucket", "metric"])
    cells = {(row["label"], *key.split()): cell for row in table["rows"] for key, cell in row["cells"].items()}
    for key, line in done.iterrows():
        assert (cells[key]["value"], cells[key]["n"]) == (line["mean"], line.n), key
        assert [cells[key]["low"], cells[key]["high"]] == [line.low, line.high]
        assert cells[key]["method"] == [line.method_low, line.method_high]
        assert cells[key].get("rank", [None])[0] == (None if np.isnan(line.rank_low) else line.rank_low)
    with open(f"{project.results}/table1.md", encoding="utf-8") as lines:
        shown = next(line for line in lines if line.startswith("| SAIR ")).split("|")[2].strip()
    cell = cells["SAIR", "0-20", "psnr"]
    mark = {"best": "**{}**", "tied": "<u>{}</u>"}.get(cell.get("lead"), "{}")
    assert shown == f"{mark.format(cell['text'])} ({cell['claim']})" and "lead" in cell
    claims = pd.read_csv(f"{project.results}/claims.csv")
    units = {row["method"]: row["unit"] for row in table["rows"]}
    assert (units["sair"], units["mean_fill"]) == ("seed", "sample")
    assert [row["verdict"] for row in data["claims"]["rows"]] == list(claims.verdict)
    differences = [np.nan if row["difference"] is None else row["difference"] for row in data["claims"]["rows"]]
    assert np.array_equal(differences, claims.difference, equal_nan=True)


def test_images_are_the_scored_ones(project, page):
    """The ground truth with a method's part over it equals the composited PNG, bit by bit."""
    gallery = data_of(page)["gallery"]
    assert len(gallery["images"]) == SHOWN and len(gallery["ids"]) == IMAGES
    for image in gallery["images"]:
        truth = pixels(image["truth"])
        for bucket, hole in image["holes"].items():
            for name, uri in hole["of"].items():
                part = pixels(uri)
                seen = np.where(part[..., 3:] == 255, part[..., :3], truth)
                path = f"{report_inputs(project).predictions[name][0]}/composited/{bucket}/{image['id']}.png"
                assert (seen == read_rgb(path)).all()
                assert (part[..., 3] == pixels(hole["hole"])[..., 3]).all()


def test_it_is_one_file_that_runs_nothing_of_others(project, page):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"https?://[^'\"\s]+", text) == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|<link(?! rel=\"icon\" href=\"data:,\")|<iframe", text)
    assert set(re.findall(r"\ssrc=[\"'][^\"']*", text)) == set()
    assert EVIL not in text and text.count("</script>") == 2 and "<b>x" not in text
    assert any(method["label"] == EVIL for method in data_of(page)["gallery"]["methods"])
    assert len(text) < 1e6


def test_missing_parts_are_reported_with_their_command(project, page, tmp_path):
    targets = {entry["part"]: entry["target"] for entry in data_of(page)["missing"]}
    assert targets["Table 2"] == "table2.md"
    assert targets["Semantic maps of seed 0"].endswith("semantic_maps_faces.png")
    nothing = replace(report_inputs(project), tables={"table1": str(tmp_path / "table1.csv")})
    with pytest.raises(InputError, match=r"no table.*snakemake --cores all .*table1\.md"):
        write_report(nothing, project.config, project.methods, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_curves_are_those_of_every_seed(project, config, tmp_path):
    logs = report_inputs(Project(config | {"seeds": [0, 1]})).logs["sair"]
    assert [Path(path).parent.name for path in logs] == ["seed0", "seed1"]
    log = {"step": [50, 100, 150], "lr": 1e-3, "psnr": [None, 22.0, 22.0], "loss": [0.5, 0.4, 0.3]}
    pd.DataFrame(log).to_csv(tmp_path / "train.csv", index=False)
    inputs = report_inputs(project)
    inputs = replace(inputs, logs={"sair": [*inputs.logs["sair"], str(tmp_path / "train.csv")]})
    write_report(inputs, project.config, project.methods, tmp_path / "report.html")
    (sair,) = data_of(tmp_path / "report.html")["curves"]
    assert sair["psnr"] == [[[100, 20]], [[100, 22]]]
    assert sair["loss"] == [[[50, 0.3], [100, 0.2], [150, 0.1]], [[50, 0.5], [100, 0.4], [150, 0.3]]]


@pytest.fixture(scope="module")
def of_two_seeds(project, tmp_path_factory):
    """Return the report of SAIR with two trainings and of LaMa."""
    inputs, path = report_inputs(project), tmp_path_factory.mktemp("seeds") / "report.html"
    another = Path(project.results, "faces/sair/seed1")
    shutil.copytree(another.with_name("seed0"), another)
    frame = pd.read_csv(another / "scores.csv", dtype={"id": str})
    frame.assign(psnr=frame.psnr + 1).to_csv(another / "scores.csv", index=False)
    more = {name: {method: list(getattr(inputs, name)[method]) for method in ("sair", "lama")} for name in GALLERY}
    for name, file in GALLERY.items():
        more[name]["sair"].append(str(another / file))
    write_report(replace(inputs, **more), project.config, project.methods, path)
    shutil.rmtree(another)
    return path


def test_the_gallery_has_the_images_of_every_seed(of_two_seeds):
    gallery = data_of(of_two_seeds)["gallery"]
    labels = {method["name"]: (method["group"], method["label"]) for method in gallery["methods"]}
    assert labels.pop("lama") == ("LaMa", "LaMa")
    assert labels == {"sair": ("SAIR", "SAIR, seed 0"), "sair/seed1": ("SAIR", "SAIR, seed 1")}
    first, second = (gallery["scores"][name]["0-20"]["psnr"] for name in ("sair", "sair/seed1"))
    assert second == pytest.approx([value + 1 for value in first])
    shown = gallery["images"][0]["holes"]["0-20"]["of"]
    assert shown["sair/seed1"] == shown["sair"] != shown["lama"]


def test_where_nothing_was_trained_no_seed_is_named(project, tmp_path):
    inputs = report_inputs(project)
    only = {name: {"mean_fill": getattr(inputs, name)["mean_fill"]} for name in GALLERY}
    write_report(replace(inputs, **only), project.config, project.methods, tmp_path / "report.html")
    assert data_of(tmp_path / "report.html")["gallery"]["seed"] is None


def test_fewer_images_where_there_is_no_room(project, tmp_path):
    make(project, tmp_path / "small.html", report={"dataset": "faces", "images": SHOWN, "megabytes": 0.05})
    shown = len(data_of(tmp_path / "small.html")["gallery"]["images"])
    assert 1 <= shown < SHOWN


def test_verify_checks_the_page(project, page, tmp_path):
    """The bytes of another encoder are the same image, but a changed number or pixel is reported."""
    text = page.read_text(encoding="utf-8")

    def said(changed):
        path = tmp_path / "report.html"
        path.write_text(changed, encoding="utf-8")
        return verify._report(project, str(path)).state

    def encoded(uri, change=0):
        stream = io.BytesIO()
        Image.fromarray(pixels(uri) + np.uint8(change)).save(stream, "WEBP", lossless=True, quality=0, method=0)
        return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"

    first = data_of(page)["gallery"]["images"][0]["truth"]
    assert encoded(first) != first and comparable(text.replace(first, encoded(first))) == comparable(text)
    number = data_of(page)["tables"][0]["rows"][-1]["cells"]["0-20 psnr"]["text"]
    assert said(text) == verify.BACKED
    assert said(text.replace(first, encoded(first))) == verify.BACKED
    assert said(text.replace(first, encoded(first, 1))) == verify.NOT_BACKED
    assert said(text.replace(f'"text": "{number}"', '"text": "99.99"')) == verify.NOT_BACKED
    for damaged in ("", text[: len(text) // 2], text.replace(first, first[:60])):
        assert said(damaged) == verify.NOT_BACKED
    (tmp_path / "binary.html").write_bytes(b"\xff\x00")
    assert verify._report(project, str(tmp_path / "binary.html")).state == verify.NOT_BACKED


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("table1.csv", ("ssim", "sism"), r"there is no metric 'sism'\. Did you mean ssim"),
        ("table1.csv", ("lead", "mark"), "lacks the columns lead"),
        ("claims.csv", ("lpips", "lpisp"), r"there is no metric 'lpisp'\. Did you mean lpips"),
        ("claims.csv", ("verdict", "outcome"), "lacks the columns verdict"),
    ],
)
def test_an_edited_csv_is_one_line_of_error(project, tmp_path, name, edit, message):
    path = Path(project.results) / name
    whole = path.read_text(encoding="utf-8")
    try:
        path.write_text(whole.replace(*edit), encoding="utf-8")
        with pytest.raises(InputError, match=rf"{name}: {message}") as refused:
            make(project, tmp_path / "report.html")
        assert "\n" not in str(refused.value)
    finally:
        path.write_text(whole, encoding="utf-8")


@pytest.mark.parametrize("damage", [b"", b"\xff\x00"])
def test_a_damaged_page_of_a_table_is_named(project, tmp_path, damage):
    page = Path(project.results) / "table1.md"
    whole = page.read_bytes()
    try:
        page.write_bytes(damage)
        with pytest.raises(InputError, match=r"table1\.md: is empty or no text"):
            make(project, tmp_path / "report.html")
    finally:
        page.write_bytes(whole)


def test_a_table_whose_page_was_deleted_is_not_backed(project):
    page = Path(project.results) / "table1.md"
    whole = page.read_bytes()
    try:
        page.unlink()
        found = {finding.file: finding for finding in verify.verify(project)}
        assert found[str(page)][::2] == (verify.NOT_BACKED, "is missing")
        assert found[str(page.with_suffix(".csv"))].state == verify.BACKED
    finally:
        page.write_bytes(whole)


def test_a_prediction_of_another_size_is_named(project, tmp_path):
    folder = Path(report_inputs(project).predictions["sair"][0]) / "composited"
    whole = {path: path.read_bytes() for path in folder.rglob("*.png")}
    try:
        for path in whole:
            write_png(path, np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(InputError, match="16x16 pixels"):
            make(project, tmp_path / "report.html")
    finally:
        for path, content in whole.items():
            path.write_bytes(content)


# --------------------------------------------------------------------------------------------------------------------
# The page in a browser

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"
)


@pytest.fixture(scope="module")
def desk(page):
    with Browser(still=True) as browser:
        browser.open(page)
        yield browser


def select(browser, name, value):
    browser.run("(([id, value]) => {const e = document.getElementById(id); e.value = value;"
                "e.dispatchEvent(new Event('change', {bubbles: true}))})(arguments)", name, value)  # fmt: skip


@needs_browser
def test_a_column_sorts_the_table(project, desk):
    labels = "[...document.querySelectorAll('#table-table1 tbody th')].map(e => e.textContent)"
    start = desk.run(labels)
    frame = pd.read_csv(f"{project.results}/table1.csv").dropna(subset="mean")
    frame = frame[(frame.bucket == "40-60") & (frame.metric == "psnr")]
    best_first = list(frame.sort_values("mean", ascending=False).label)
    head = "#table-table1 thead tr:last-child th:nth-child(10)"
    desk.click(f"{head} button")
    assert desk.run(labels)[: len(best_first)] == best_first != start[: len(best_first)]
    assert desk.run(f"document.querySelector('{head}').ariaSort") == "descending"
    desk.click(f"{head} button")
    assert desk.run(labels)[: len(best_first)] == best_first[::-1]  # what has no number stays below
    desk.click("#table-table1 thead tr:last-child th:first-child button")
    assert desk.run(labels) == start


@needs_browser
@pytest.mark.parametrize(
    ("competing", "place"),
    [([], 0.4), ([(2, 4)], 0.4), ([(2, 4), (4, 6)], 0.5)],  # of 4 in [0, 10], the control's, or in [2, 6]
)
def test_controls_count_for_a_columns_scale_only_where_fewer_than_two_methods_compete(desk, competing, place):
    rows = [("control", 0, 10), *(("paper", *interval) for interval in competing)]
    table = {"rows": [{"group": group, "cells": {"x": {"low": low, "high": high}}} for group, low, high in rows]}
    assert desk.run(f"scale({json.dumps(table)}, 'x')(4)") == place


@needs_browser
def test_a_claim_at_another_budget_has_a_line_of_its_own(desk):
    """LIIF stands for itself at equal compute here: its method has no row of the paper's table."""
    heads = desk.run("[...document.querySelectorAll('#claims tbody th')].map((head) => head.textContent)")
    assert "SAIR > LIIF (sair, liif, equal compute)" in heads and "SAIR > LaMa" in heads
    assert not any("false" in head or "undefined" in head for head in heads)


@needs_browser
def test_the_reader_switches_between_weights_and_methods(desk):
    """Intervals, p and ranks of the tables and claims are then those of the other question, and back again."""
    shown = """[
      [...document.querySelectorAll('#tables td .interval i')].map((bar) => bar.getAttribute('style')).join(),
      [...document.querySelectorAll('#claims tbody tr')].map((line) => line.cells[6].textContent).join(),
      [...document.querySelectorAll('#tables td .claim')].filter((part) => part.textContent.startsWith('rank ')).length,
    ]"""
    choose = "document.querySelector(`#question [value=${arguments[0]}]`).click()"
    before = desk.run(shown)
    desk.run(choose, "method")
    after = desk.run(shown)
    assert after[0] != before[0] and after[1] != before[1] and (before[2], after[2] > 0) == (0, True)
    desk.run(choose, "weights")
    assert desk.run(shown) == before


@needs_browser
def test_dots_are_the_means_of_the_seeds(desk):
    """The page's own functions draw an invented cell with three seeds."""
    script = """(() => {
      const cell = { text: '30.10', low: 29, high: 31, seeds: [29, 30, 31], method: [28, 32], rank: [1, 2] };
      const place = scale({ rows: [{ group: 'paper', cells: { x: cell } }] }, 'x');
      const dots = cellOf(cell, place, false).querySelectorAll('.interval b');
      return [...dots].map((dot) => Number(dot.style.getPropertyValue('--at')));
    })()"""
    assert desk.run(script) == [0, 0.5, 1]


@needs_browser
def test_curves_are_the_means_of_the_seeds(desk):
    """The page's own functions draw invented curves; a step that only one seed has is left out."""
    seeds = [[[50, 1], [100, 3], [150, 9]], [[50, 3], [100, None]]]
    assert desk.run(f"mean({json.dumps(seeds)})") == [[50, 2], [100, None]]
    script = """(() => {
      const curves = { label: 'A', points: [[50, 2]], raw: [[[50, 1], [60, 1]], [[50, 3], [60, 2]]], hue: 0 };
      return chart('loss', [curves], false).querySelectorAll('.raw').length;
    })()"""
    assert desk.run(script) == 2


@needs_browser
def test_interval_and_n_by_keyboard_and_mouse(desk):
    desk.run("document.querySelector('#table-table1 thead [tabindex=\"0\"]').focus()")
    desk.press("down", "right", "end")
    assert desk.run("document.activeElement.closest('tbody') !== null && document.activeElement.cellIndex") == 12
    row = "[...document.querySelectorAll('#table-table1 tbody th')].findIndex(e => e.textContent === 'SAIR')"
    desk.run(f"document.querySelectorAll('#table-table1 tbody tr')[{row}].cells[1].focus()")
    said = desk.run("document.getElementById('tip').innerText")
    assert "SAIR: PSNR" in said and "95 % interval" in said and "claims 37.97" in said
    assert f"n = {IMAGES} images, 1 seed" in said
    desk.press("\ue00c")
    assert desk.run("document.getElementById('tip').hidden")
    desk.point("#table-table1 tbody tr:last-child td:nth-child(2)", (0.5, 0.5))
    desk.wait("!document.getElementById('tip').hidden")


@needs_browser
def test_the_slider_by_mouse_and_keyboard(desk):
    def at():
        return desk.run("Number(document.getElementById('slider').value)")

    desk.point("#stage", (0.5, 0.3), (0.4, 0.3), (0.25, 0.5))
    assert abs(at() - 25) <= 1
    held = at()
    desk.press("right", "right", "left", "right")
    assert at() == held + 2
    assert desk.run("document.activeElement.ariaValueText").startswith(f"{at()} %")
    visible = desk.run("getComputedStyle(document.getElementById('over')).clipPath")
    assert visible == f"inset(0px {100 - at()}% 0px 0px)"


@needs_browser
def test_the_stage_shows_the_images_and_their_difference(project, desk):
    select(desk, "left", "sair")
    select(desk, "right", "lama")
    one = desk.run("document.querySelector('#images :checked').value")
    desk.wait("document.getElementById('stage').dataset.shown === arguments[0]", f"{one} 40-60 sair lama")
    rgba = "[...document.getElementById(arguments[0]).getContext('2d').getImageData(0, 0, 32, 32).data]"
    canvases = ("over", "under", "difference")
    seen = {name: np.array(desk.run(rgba, name)).reshape(32, 32, 4)[..., :3] for name in canvases}
    paths = [f"{report_inputs(project).predictions[name][0]}/composited/40-60/{one}.png" for name in ("sair", "lama")]
    left, right = (read_rgb(path).astype(int) for path in paths)
    assert (seen["over"] == left).all() and (seen["under"] == right).all()
    assert (seen["difference"] == np.minimum(4 * abs(left - right), 255)).all()
    assert desk.run("document.getElementById('difference').hidden && document.getElementById('outline').hidden")
    desk.click("#show-difference")
    desk.click("#show-hole")
    assert desk.run("!document.getElementById('difference').hidden && !document.getElementById('outline').hidden")
    desk.click("#show-difference")
    desk.click("#show-hole")


@needs_browser
def test_the_gallery_sorts_by_disagreement(project, page, desk):
    select(desk, "left", "sair")
    select(desk, "right", "liif")
    desk.click("#buckets label:nth-child(2) input")
    select(desk, "order", "disagree")
    shown = [image["id"] for image in data_of(page)["gallery"]["images"]]
    gain = scores_of(project, "sair", "20-40") - scores_of(project, "liif", "20-40")
    ids = "[...document.querySelectorAll('#images input')].map(e => e.value)"
    assert desk.run(ids) == list(gain[shown].abs().sort_values(ascending=False).index)
    assert desk.run("document.querySelector('#images :checked').value") == desk.run(ids)[0]
    select(desk, "order", "right")
    assert desk.run(ids) == list(gain[shown].sort_values().index)
    wins = desk.run("document.getElementById('wins').textContent")
    assert f"on {(gain > 0).sum()} of {IMAGES} images" in wins and f"{abs(gain.mean()):.2f} dB" in wins
    for side, value in (("left", "(masked)"), ("right", "(truth)")):
        select(desk, side, value)
    assert sorted(desk.run(ids)) == sorted(shown) and desk.run("document.getElementById('spread').hidden")


@needs_browser
def test_the_gallery_begins_with_two_methods_and_groups_their_trainings(of_two_seeds):
    with Browser(still=True) as browser:
        browser.open(of_two_seeds)
        chosen = browser.run("['left', 'right'].map(side => document.getElementById(side).value)")
        assert sorted(chosen) == ["lama", "sair"]
        groups = browser.run("[...document.querySelectorAll('#left optgroup')].map(e => [e.label, e.children.length])")
        assert groups == [["SAIR", 2]]


@needs_browser
def test_nothing_went_wrong_or_was_run(page, desk):
    assert desk.run("document.title") == "Image inpainting: faces"
    assert EVIL in desk.run("[...document.querySelectorAll('#table-table1 th')].map(e => e.textContent)")
    assert desk.errors() == []


@needs_browser
def test_on_a_phone_in_the_dark_without_motion(page, tmp_path):
    with Browser(390, 844, dark=True, still=True) as phone:
        phone.open(page)
        assert phone.run("[innerWidth, document.documentElement.scrollWidth]") == [390, 390]
        assert phone.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 21)"
        assert phone.run("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
        phone.point("#table-table1 tbody tr td:nth-child(2)", (0.5, 0.5), (0.5, 0.5), kind="touch")
        phone.wait("!document.getElementById('tip').hidden")
        phone.point("#stage", (0.5, 0.5), (0.6, 0.5), (0.75, 0.5), kind="touch")
        phone.wait("Math.abs(document.getElementById('slider').value - 75) <= 2")
        assert phone.errors() == []
