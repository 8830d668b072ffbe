"""Write the images of a dataset, and return their rows of images.csv; without the libraries that only tables need.

Worker processes import this module, and start in half the time without pandas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sair.common.images import pixel_sha256, write_png
from sair.data.sources import SourceImage


def finish(folder: Path | None, make: Callable[[], Sequence[SourceImage]]) -> list[list[str]]:
    """Make images, write them below ``folder`` and return their rows.

    Args:
        folder: where the images go; None writes nothing.
        make: one of ``sair.data.sources.makers``.

    Raises:
        InputError: same as in ``makers``, or a file cannot be written.
    """
    return [_finished(folder, source) for source in make()]


def _finished(folder: Path | None, source: SourceImage) -> list[str]:
    image = f"images/{source.split}/{source.id}.png"
    if folder:
        write_png(folder / image, source.pixels, clear=False)
    labels, labels_sha256 = "", ""
    if source.labels is not None:
        labels, labels_sha256 = f"labels/{source.split}/{source.id}.png", pixel_sha256(source.labels)
        if folder:
            write_png(folder / labels, source.labels, clear=False)
    cluster = source.cluster or source.id
    sha256 = pixel_sha256(source.pixels)
    return [source.id, source.split, cluster, image, sha256, labels, labels_sha256, source.caption]
