"""Hooks of the documentation site (``mkdocs.yml``): pages made at build time, and links that leave ``docs/``.

On GitHub a page of ``docs/`` links to ``../config/README.md`` or ``../config/celeba.yaml``. The site also has
these files: those of ``PAGES`` as pages, every other one as a plain file below ``files/``.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sair.commands.cli import _parser
from sair.evaluation.metrics.registry import METRICS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "config/README.md": "config.md",
    "findings/README.md": "findings.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_REMOTE_WORKER = "https://unpkg.com/iframe-worker/shim"
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere in the repository, generated pages, and the files that pages link to."""
    from mkdocs.structure.files import File

    texts = {file.src_uri: file.content_string for file in files.documentation_pages()}
    origins = {uri: f"docs/{uri}" for uri in texts}
    for source, uri in PAGES.items():
        texts[uri], origins[uri] = (ROOT / source).read_text(encoding="utf-8"), source
        files.append(File.generated(config, uri, content=_relink(texts[uri], source)))
    for uri, make in GENERATED.items():
        files.append(File.generated(config, uri, content=make()))
    linked = {target for uri, text in texts.items() for target in _outside(text, origins[uri])}
    for target in sorted(linked):
        files.append(File.generated(config, f"files/{target}", abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page of ``docs/`` to where the site has their targets."""
    return markdown if page.file.generated_by else _relink(markdown, f"docs/{page.file.src_uri}")


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Load the script that makes search work for file:// addresses from the site, not from another server."""
    from mkdocs.utils import get_relative_url

    return output.replace(_REMOTE_WORKER, get_relative_url("javascripts/file-worker.js", page.url))


def on_post_template(output: str, *, template_name: str, config: MkDocsConfig) -> str:
    """Do the same for pages that are not documentation, such as the one for a missing page."""
    return output.replace(_REMOTE_WORKER, "/javascripts/file-worker.js")


def command_line() -> str:
    """Return the page on the command ``sair``: the help of every command, as the command itself prints it."""
    parts = ["# Command line\n\nThese commands need no Snakemake; `make` and `snakemake` train and make the tables.\n"]
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"  # the width that argparse wraps to, regardless of the terminal
    try:
        parts += [f"## {parser.prog}\n\n```text\n{parser.format_help()}```\n" for parser in parsers(_parser())]
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return "\n".join(parts)


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return a command's parser, followed by those of its subcommands."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found += parsers(inner)
    return found


def _outside(text: str, origin: str) -> set[str]:
    """Return the files outside ``docs/`` that a page links to and that are not pages of the site."""
    targets = {_target(match[1], origin) for match in _LINK.finditer(text) if not _is_address(match[1])}
    return {target for target in targets if _is_file(target)}


def _relink(text: str, origin: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if _is_address(match[1]):
            return match[0]
        target = _target(match[1], origin)
        if target in PAGES:
            target = PAGES[target]
        elif target == "README.md":
            target = "index.md"
        elif target.startswith("docs/"):
            target = target.removeprefix("docs/")
        elif _is_file(target):
            target = f"files/{target}"
        return target + (match[2] or "")

    return _LINK.sub(replace, text)


def _target(link: str, origin: str) -> str:
    """Return a link's target as a path inside the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))


def _is_address(link: str) -> bool:
    return re.match(r"[a-z]+:", link) is not None


def _is_file(target: str) -> bool:
    inside = target not in PAGES and target != "README.md" and not target.startswith(("docs/", "../"))
    return inside and (ROOT / target).is_file()


def registered_metrics() -> str:
    """Return the page that lists every metric of the registry."""
    lines = [
        "# Registered metrics\n",
        "This list is made from `sair/evaluation/metrics/registry.py`. [metrics.md](metrics.md) and [fid.md](fid.md) "
        "explain the conventions; [add-a-metric.md](add-a-metric.md) shows how a metric is added.\n",
        "| metric | better | unit | decimals | columns of `scores.csv` | convention |",
        "|---|---|---|---|---|---|",
    ]
    for metric in METRICS.values():
        columns = ", ".join(f"`{name}`" for name in metric.columns) + (", where named" if metric.optional else "")
        better = "higher" if metric.higher_is_better else "lower"
        cells = metric.label, better, metric.unit, str(metric.decimals), columns, f"`{metric.convention}`"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


GENERATED = {"command-line.md": command_line, "registered-metrics.md": registered_metrics}  # pages and their functions
