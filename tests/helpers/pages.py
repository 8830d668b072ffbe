"""Read the pages of the documentation in the repository: their blocks of code, links and headings."""

import re
from pathlib import Path
from typing import NamedTuple

PAGES = sorted(
    path.as_posix()
    for pattern in ("*.md", "docs/*.md", "config/*.md", "findings/*.md", "baselines/**/*.md")
    for path in Path().glob(pattern)
)
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: its page, the line that it begins at, its language and its text without indentation."""

    page: str
    line: int
    language: str
    text: str


def read(page: str) -> str:
    return Path(page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page in these languages."""
    text = read(page)
    found = []
    for match in _BLOCK.finditer(text):
        if match[2] in languages:
            lines = [line.removeprefix(match[1]) for line in match[3].splitlines(keepends=True)]
            found.append(Block(page, text.count("\n", 0, match.start()) + 1, match[2], "".join(lines)))
    return found


def prose(page: str) -> str:
    """Return a page without its blocks of code."""
    return _BLOCK.sub("", read(page))


def links(page: str) -> list[str]:
    """Return the targets of a page's links and images that are not on another server."""
    targets = _LINK.findall(_INLINE.sub("", prose(page)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        number = 1
        while slug in found:
            slug, number = f"{slug.rstrip('0123456789').rstrip('-')}-{number}", number + 1
        found.add(slug)
    return found
