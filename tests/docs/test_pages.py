"""Test the links of the documentation, and the form of its pages."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from helpers.pages import PAGES, anchors, links, prose, read

from sair.evaluation.metrics.registry import METRICS


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_and_anchors_exist(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = Path(page).parent / path if path else Path(page)
        assert target.exists(), f"{page} links to {link}"
        if anchor:
            assert anchor in anchors(target.as_posix()), f"{page} links to {link}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])  # which also names former files
def test_files_named_on_a_page_exist(page):
    readers = ("mine", "metrics/grey.py")  # what a reader of the guides writes
    for name in re.findall(r"(?<![\w./-])((?:sair|docs|tests|workflow|benchmarks)/[\w./-]+\.\w+)", read(page)):
        assert Path(name).is_file() or any(part in name for part in readers), f"{page} names {name}"


def test_code_names_existing_pages():
    for folder in ("sair", "baselines", "config", "workflow"):
        for path in Path(folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".smk"):
                for name in re.findall(r"docs/[\w-]+\.md", path.read_text(encoding="utf-8")):
                    assert Path(name).is_file(), f"{path} names {name}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_paragraphs_are_short_and_tables_narrow(page):
    for part in re.split(r"\n\s*\n|\n(?=- )", prose(page)):
        if part.lstrip().startswith("|"):
            widest = max(part.splitlines(), key=len)
            assert len(widest) <= 200, f"{page}: {len(widest)} characters: {widest}"
        else:
            assert len(part.split()) <= 95, f"{page}: {len(part.split())} words: {part[:80]}"


def test_every_page_is_in_the_navigation():
    text = re.sub(r"!!python\S*", "", read("mkdocs.yml"))
    nav = [page for section in yaml.safe_load(text)["nav"] for pages in section.values() for page in pages]
    hooks = _hooks()
    own = {Path(page).name for page in PAGES if page.startswith("docs/")}
    assert set(nav) == own | set(hooks.PAGES.values()) | set(hooks.GENERATED)
    assert len(nav) == len(set(nav))


def test_the_page_of_registered_metrics_has_every_metric():
    page = _hooks().registered_metrics()
    assert "| PSNR | higher | dB | 2 | `psnr`, `psnr_hole`, `psnr_raw` |" in page
    assert all(f"| {metric.label} |" in page for metric in METRICS.values())


def test_the_page_on_the_command_line_has_every_command():
    page = _hooks().command_line()
    for command in ("sair inpaint", "sair score", "sair weights fetch", "sair verify", "sair methods"):
        assert f"## {command}\n" in page
    assert page.count("usage: sair") == page.count("\n## sair")


def test_links_that_leave_the_folder_of_the_pages_are_those_of_the_site():
    hooks = _hooks()
    text = "[a](../config/README.md#training) [b](../config/celeba.yaml) [c](metrics.md) [d](https://x.org/a.md)"
    assert hooks._relink(text, "docs/any.md") == (
        "[a](config.md#training) [b](files/config/celeba.yaml) [c](metrics.md) [d](https://x.org/a.md)"
    )
    assert hooks._relink("[a](../docs/fid.md#x) [b](celeba.yaml)", "config/README.md") == (
        "[a](fid.md#x) [b](files/config/celeba.yaml)"
    )


def _hooks():
    specification = importlib.util.spec_from_file_location("hooks", "docs/hooks.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
