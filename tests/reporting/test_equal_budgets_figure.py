"""Test the figure of equal budgets: what its panels contain, and that odd requests are drawn."""

import matplotlib.pyplot as plt
import pytest
from helpers.budgets import budgets
from matplotlib.colors import same_color
from PIL import Image

from sair.reporting.equal_budgets import COMPUTE, STEPS, Request, comparisons, complete, read_curves
from sair.reporting.equal_budgets_figure import draw

LABELS = {"sair": "SAIR", "liif": "LIIF"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return budgets(tmp_path_factory.mktemp("budgets"), images=12)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Return a function that draws a request, and returns its figure and comparisons; the figure is not closed."""
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)

    def of(folders, **more):
        request = complete(Request(folders, labels=LABELS, **more), ["sair"])
        curves = read_curves(request)
        compared = comparisons(request, curves)
        draw(request, curves, {}, compared, tmp_path / "figure.png")
        with Image.open(tmp_path / "figure.png") as image:
            assert image.width > 1000
        return figures[-1], compared

    yield of
    monkeypatch.undo()
    plt.close("all")


def test_differences_are_drawn_where_they_were_measured_and_filled_if_decided(folders, drawn):
    figure, compared = drawn(folders, least={"psnr": 0.2})
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert {"all mask ratios, difference at equal steps", "0-20 %, difference at equal compute"} <= panels.keys()
    for equal in (STEPS, COMPUTE):
        axes = panels[f"all mask ratios, difference at equal {equal}"]
        markers = [line for line in axes.lines if line.get_marker() not in ("None", None)]
        expected = sorted((one.size, one.differences["all"].mean, one.verdicts["all"]) for one in compared
                          if one.equal == equal and "all" in one.differences)  # fmt: skip
        assert len(markers) == len(expected) > 2
        for marker, (size, mean, verdict) in zip(markers, expected, strict=True):
            assert marker.get_ydata()[0] == pytest.approx(mean)
            assert marker.get_xdata()[0] == pytest.approx(size if equal == STEPS else size / 1e12)
            hollow = same_color(marker.get_markerfacecolor(), "white")
            assert hollow == (verdict == "undecided")


def test_one_seed_and_pairs_with_two_firsts_are_drawn(tmp_path, drawn):
    folders = budgets(tmp_path, factors=(1, 2), seeds=(0,), images=8)
    figure, _ = drawn(folders, pairs=[("sair", "liif"), ("liif", "sair")])
    assert "SAIR (-) and LIIF (--) minus the other" in figure.axes[1].get_xlabel()


def test_a_comparison_that_was_not_measured_has_no_marker(tmp_path, drawn):
    folders = budgets(tmp_path, factors=(1, 100), seeds=(0, 1), images=8)
    figure, compared = drawn(folders, pairs=[("sair", "liif")])
    own = [one for one in compared if one.equal == COMPUTE]
    [axes] = [axes for axes in figure.axes if axes.get_title() == "all mask ratios, difference at equal compute"]
    markers = [line for line in axes.lines if line.get_marker() not in ("None", None)]
    assert len(markers) == sum(bool(one.differences) for one in own) == 1 and len(own) == 2
