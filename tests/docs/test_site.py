"""Test the built site: no warning, every page, and nothing that a browser would fetch from another server."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.browser import CHROMIUM, DRIVER, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="`make docs` installs mkdocs"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_page_and_the_files_that_they_link_to(site):
    pages = {path.stem for path in Path("docs").glob("*.md")} | {"config", "contributing", "command-line"}
    assert pages <= {path.stem for path in site.glob("*.html")}
    assert (site / "files/config/celeba.yaml").read_bytes() == Path("config/celeba.yaml").read_bytes()


def test_nothing_is_fetched_from_another_server(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        tags = re.findall(r"<(?:script|link|img|iframe|source|video)\b[^>]*>", text)
        assert [tag for tag in tags if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag)] == [], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", path.read_text(encoding="utf-8")), path.name


def test_the_python_reference_has_arguments_and_examples(site):
    text = re.sub(r"<[^>]+>", "", (site / "python.html").read_text(encoding="utf-8"))
    for name in ("inpaint", "score", "compare", "load"):
        assert re.search(rf"\b{name}\(", text), name
    assert "ground truth" in text and "Raises" in text


@pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium")
def test_search_works_in_pages_opened_from_a_folder(site):
    with Browser() as browser:
        browser.open(site / "index.html")
        browser.click(".md-search__input")
        browser.press(*"sign flips")
        browser.wait("document.querySelectorAll('.md-search-result__item a').length")
        found = browser.run("[...document.querySelectorAll('.md-search-result__item a')].map(link => link.href)")
        assert any("metrics.html" in address for address in found)
        assert browser.errors() == []
