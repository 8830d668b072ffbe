"""Use existing result images as a method: a folder laid out like the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sair.common.errors import InputError, refuse
from sair.common.images import read_rgb
from sair.common.listing import images_by_id, normal
from sair.data.manifest import ManifestRow
from sair.data.samples import to_tensor


class Precomputed:
    """A folder of filled images, one for every row of the manifest.

    Args:
        folder: contains ``<bucket>/<id>`` with the ending of any readable format, the layout of a method's
            ``predictions/raw``.
    """

    def __init__(self, *, folder: str) -> None:
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise InputError(
                f"{folder}: no such folder. It should contain <bucket>/<id>.png for every row of manifest.csv."
            )
        self._images: dict[str, Path] | None = None

    def check_manifest(self, rows: Sequence[ManifestRow]) -> None:
        """Refuse a folder with missing images, with images that are not in the manifest, or with two of one id.

        Raises:
            InputError: the folder has such a fault; the message lists the images.
        """
        found, wanted = self._found(), {_key(row) for row in rows}
        faults = [
            f"{self.folder / name}.png: missing, but in manifest.csv (JPEG and other formats are also accepted)"
            for name in sorted(wanted - found.keys())
        ]
        faults += [f"{found[name]}: not in manifest.csv; remove it" for name in sorted(found.keys() - wanted)]
        refuse(faults)

    def parameter_count(self) -> None:
        """Return None: the number of weights is not known here."""

    def inpaint(self, images: Tensor, masks: Tensor, rows: Sequence[ManifestRow] = ()) -> Tensor:
        """Return the images of these rows; see ``sair.methods.build.Inpainter``.

        Raises:
            InputError: called without rows, or an image is missing, unreadable or of another size.
        """
        if len(rows) != len(images):
            raise InputError(f"{self.folder}: precomputed images belong to the rows of a manifest, not to any image.")
        answers = []
        for row, image in zip(rows, images, strict=True):
            path = self._found().get(_key(row), self.folder / row.prediction)
            answer = to_tensor(read_rgb(path))
            if answer.shape != image.shape:
                raise InputError(
                    f"{path}: {answer.shape[2]}x{answer.shape[1]} pixels, expected {image.shape[2]}x{image.shape[1]}."
                )
            answers.append(answer)
        return torch.stack(answers).to(images)

    def _found(self) -> dict[str, Path]:
        if self._images is None:
            self._images = images_by_id(self.folder)
        return self._images


def _key(row: ManifestRow) -> str:
    return normal(row.prediction.removesuffix(".png"))
