"""Pictures that somebody has already made, as a method: a folder laid out as the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sair.data.manifest import ManifestRow
from sair.data.samples import to_tensor
from sair.files import InputError, refuse
from sair.images import IMAGE_SUFFIXES, read_rgb


class Precomputed:
    """A folder of filled pictures, one for every row of the manifest.

    Args:
        folder: ``<bucket>/<id>.png`` below it, as the ``predictions/raw`` of any method.
    """

    def __init__(self, *, folder: str) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(
                f"{folder}: no such folder. It should hold <bucket>/<id>.png for every row of manifest.csv."
            )

    def check_manifest(self, rows: Sequence[ManifestRow]) -> None:
        """Refuse a folder that lacks a picture of the manifest or has one too many.

        Raises:
            InputError: which ones.
        """
        wanted = {row.prediction for row in rows}
        files = (path for path in self.folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        found = {path.relative_to(self.folder).as_posix() for path in files}
        faults = [f"{self.folder / name}: missing; manifest.csv asks for it" for name in sorted(wanted - found)]
        faults += [f"{self.folder / name}: not in manifest.csv; remove it" for name in sorted(found - wanted)]
        refuse(faults)

    def inpaint(self, images: Tensor, masks: Tensor, rows: Sequence[ManifestRow] = ()) -> Tensor:
        """The pictures of these rows; see ``sair.methods.Inpainter``.

        Raises:
            InputError: called without rows, or a picture is unreadable or of another size.
        """
        if len(rows) != len(images):
            raise InputError(
                f"{self.folder}: precomputed pictures belong to the rows of a manifest, not to any picture."
            )
        answers = []
        for row, image in zip(rows, images, strict=True):
            answer = to_tensor(read_rgb(self.folder / row.prediction))
            if answer.shape != image.shape:
                raise InputError(
                    f"{self.folder / row.prediction}: {answer.shape[2]}x{answer.shape[1]} pixels, expected "
                    f"{image.shape[2]}x{image.shape[1]}."
                )
            answers.append(answer)
        return torch.stack(answers).to(images)
