"""Compute every measure of image pairs beside the library that defines it, and print both numbers and their difference.

    python benchmarks/agreement.py truth/ predictions/ --masks masks/

Files belong together as in ``sair score``: equal paths except for the ending. The left number comes from this project's
public functions, the right one from the other library's own code, in one process. The command prints a table, writes
results/bench_agreement.json, and fails (exit status 1) if two numbers differ by more than 1e-4 without a reason.

- A library that is missing leaves a dash and its reason; the last line names the command that installs it.
- Weights that are missing are replaced by random ones of the same shapes, the same in both, and the table states it.
- If the predictions equal the ground truths outside the holes, the measures of known pixels have nothing to measure.
  They then take copies that are slightly blurred there.
- Distances of sets (``fid_clip``) compare all images. Each side takes the features that it computed itself; where the
  other library of features is missing, both take this project's.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageFilter
from references import DISTANCES, FEATURES, Pair, Reference, of_pairs, to_install
from revisions import processor
from stand_ins import in_place
from tabulate import tabulate

import sair
from sair.common.errors import InputError
from sair.common.files import write_text
from sair.common.images import read_mask, read_rgb
from sair.common.listing import images_by_id
from sair.evaluation.features import Extractor
from sair.evaluation.metrics.cmmd import cmmd
from sair.evaluation.metrics.features import KINDS, NETWORKS
from sair.evaluation.metrics.fid import frechet_distance
from sair.evaluation.metrics.ids import discriminative_scores
from sair.evaluation.metrics.kid import kernel_distance
from sair.evaluation.metrics.metric import Metric
from sair.evaluation.metrics.of_images import HOLE_COLUMNS, OPTIONAL, WHOLE_COLUMNS
from sair.evaluation.metrics.registry import METRICS

TOLERANCE = 1e-4
LPIPS_WEIGHTS = ("alexnet", "lpips")
KNOWN_PIXELS = ("psnroutside", "changed", "lpipsoutside")
OF_IMAGES = (*WHOLE_COLUMNS, *HOLE_COLUMNS, *OPTIONAL)
OF_SETS = tuple(f"{kind}_{network}" for network in NETWORKS for kind in ("features", *KINDS, "kid_unpaired"))
MEASURES = (*OF_IMAGES, *OF_SETS)
ALIASES = {"fid": "fid_inception", "kid": "kid_inception"}  # one number, printed in another table
NOT_HERE = {
    "miou": "compares label maps, not images; tests/evaluation/test_miou.py has its reference",
    "miou_hole": "compares label maps, not images; tests/evaluation/test_miou.py has its reference",
}

NO_LIBRARY = Reference("", "", lambda pairs: [])  # of a measure that benchmarks/references.py does not have


class Row(NamedTuple):
    """One line of the table.

    measure: its name; several lines if several libraries define it.
    library: name of the package on PyPI.
    weights: ``published``, ``random``, or empty for a measure without a network.
    here, there: the means, None without a number.
    difference: the largest of any image, or of the number of a set; None without a number.
    note: what was compared, and why a number is missing or a difference is larger than the tolerance.
    excused: whether the note gives the reason for a difference above the tolerance.
    """

    measure: str
    library: str
    weights: str
    here: float | None = None
    there: float | None = None
    difference: float | None = None
    note: str = ""
    excused: bool = False

    def fails(self, tolerance: float) -> bool:
        """Return whether the two numbers differ by more than the tolerance, without a reason."""
        return self.difference is not None and not self.difference <= tolerance and not self.excused


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print the table and write JSON; return 1 if two numbers differ without a reason."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    entries = [name for measure in options.measures for name in weights_of(measure)]
    with tempfile.TemporaryDirectory() as folder, in_place(entries, Path(folder)) as random:
        rows = list(compare(options, random, Path(folder)))
    failures = [row for row in rows if row.fails(options.tolerance)]
    print(table(rows, options.tolerance))
    for name in (name for name in METRICS if name not in MEASURES):
        print(f"{name}: {'is ' + ALIASES[name] if name in ALIASES else NOT_HERE[name]}")
    if libraries := sorted({row.library for row in rows if row.library and problem(row.library)}):
        print(f"To compare the rest: {to_install(libraries)}")
    facts = {"processor": processor(), "versions": _versions(row.library for row in rows), "random": random}
    given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    text = json.dumps(facts | given | {"rows": [row._asdict() for row in rows]}, indent=2)
    write_text(options.output, text + "\n")
    return 1 if failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("truths", type=Path, help="folder of ground truths")
    parser.add_argument("predictions", type=Path, help="folder of predictions")
    parser.add_argument(
        "--masks", type=Path, help="folder of masks; without it, measures that need a hole are left out"
    )
    parser.add_argument("--hole", choices=("white", "black"), default="white", help="what marks the hole in masks")
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=MEASURES, metavar="NAME", help="only these")
    parser.add_argument("--caption", default="a photo of a face", help="what all images show, for CLIP scores")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="largest difference that needs no reason")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--output", default="results/bench_agreement.json", help="JSON to write")
    return parser.parse_args(arguments)


def weights_of(measure: str) -> tuple[str, ...]:
    """Return the entries of ``sair weights`` that a measure needs."""
    if measure in OF_SETS:
        return (NETWORKS[_network(measure)].entry,)
    metric = METRICS.get(measure)
    if metric is None or (metric.network is None and metric.captioned is None):
        return ()
    return metric.weights or LPIPS_WEIGHTS


def compare(options: argparse.Namespace, random: Sequence[str], folder: Path) -> Iterator[Row]:
    """Yield the rows of all measures that the options name.

    Args:
        options: parsed by ``main``.
        random: entries of ``sair weights`` that random weights stand in for.
        folder: for changed copies of predictions.

    Raises:
        InputError: images without a partner, or other files that ``sair score`` refuses.
    """
    pairs = pairs_of(options)
    named = [measure for measure in OF_IMAGES if measure in options.measures]
    yield from _of_images(named, pairs, options, random, folder)
    for network in NETWORKS:
        wanted = [measure for measure in OF_SETS if measure in options.measures and _network(measure) == network]
        if wanted:
            yield from _of_sets(network, wanted, pairs, random)


def pairs_of(options: argparse.Namespace) -> dict[str, Pair]:
    """Return the files of all pairs by id; ``sair.score`` refuses folders whose files do not belong together."""
    folders = [options.truths, options.predictions]
    one = options.masks if options.masks and options.masks.is_file() else None
    if options.masks and not one:
        folders.append(options.masks)
    found = [images_by_id(folder) for folder in folders]
    if len({frozenset(files) for files in found}) > 1:
        sair.score(*folders, hole=options.hole, networks=False)  # its message names the files
    masks = dict.fromkeys(found[0], one) if one else dict(*found[2:])
    white = options.hole == "white"
    return {name: Pair(path, found[1][name], masks.get(name), white) for name, path in sorted(found[0].items())}


# --------------------------------------------------------------------------------------------------------------------
# Measures of image pairs


def _of_images(
    named: Sequence[str], pairs: dict[str, Pair], options: argparse.Namespace, random: Sequence[str], folder: Path
) -> Iterator[Row]:
    masked = options.masks is not None
    missing = [] if masked else [measure for measure in named if _needs_hole(measure)]
    plain = [measure for measure in named if measure not in (*missing, *KNOWN_PIXELS)]
    known = [measure for measure in named if measure in KNOWN_PIXELS and masked]
    ours = _scores(plain, pairs, options, options.predictions)
    of_known, changed = pairs, ""
    if known:
        if all((pair.composited == pair.prediction).all() for pair in pairs.values()):
            of_known, changed = _blurred(pairs, folder / "blurred"), "predictions blurred outside the hole"
        predictions = folder / "blurred" if changed else options.predictions
        ours |= _scores(known, of_known, options, predictions)
    references = of_pairs(options.caption)
    for measure in named:
        for reference in references.get(measure, (NO_LIBRARY,)):
            row = Row(measure, reference.library, _kind(measure, random), note=changed if measure in known else "")
            if measure in missing:
                yield row._replace(note="needs the hole; give --masks")
            elif reference is NO_LIBRARY or problem(reference.library, reference.module):
                note = "no library has it" if reference is NO_LIBRARY else problem(reference.library, reference.module)
                yield row._replace(here=_mean(ours[measure], measure), note=note)
            else:
                yield _row_of_images(row, reference, ours[measure], of_known if measure in known else pairs)


def _needs_hole(measure: str) -> bool:
    metric = OPTIONAL.get(measure)
    if metric is None:
        return measure in HOLE_COLUMNS
    return metric.of_case is not None or metric.known_only or metric.captioned is not None


def _scores(
    names: Sequence[str], pairs: dict[str, Pair], options: argparse.Namespace, predictions: Path
) -> dict[str, pd.Series]:
    """Return this project's values of some measures, by id."""
    found: dict[str, pd.Series] = {}
    captioned = {name: OPTIONAL[name].captioned for name in names if name in OPTIONAL and OPTIONAL[name].captioned}
    for name, build in captioned.items():
        assert build is not None
        network = build("cpu")
        values = {}
        for key, pair in pairs.items():
            assert pair.mask_file is not None
            truth, prediction = read_rgb(pair.truth_file), read_rgb(pair.prediction_file)
            hole = read_mask(pair.mask_file, options.hole)
            composited = np.where(hole[..., None], prediction, truth)
            values[key] = network.score(composited, hole, options.caption)
        found[name] = pd.Series(values)
    rest = [name for name in names if name not in captioned]
    if rest:
        frame = sair.score(
            options.truths, predictions, options.masks, hole=options.hole,
            metrics=[name for name in rest if name in OPTIONAL], networks=any(map(weights_of, rest)),
        )  # fmt: skip
        assert isinstance(frame, pd.DataFrame)
        found |= {name: frame.set_index("id")[name] for name in rest}
    return found


def _blurred(pairs: dict[str, Pair], folder: Path) -> dict[str, Pair]:
    """Write predictions that are slightly blurred outside the hole, and return the pairs with them."""
    found = {}
    for name, pair in pairs.items():
        blurred = Image.fromarray(pair.prediction).filter(ImageFilter.GaussianBlur(0.5))
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(pair.hole[..., None], pair.prediction, np.array(blurred))).save(path)
        found[name] = pair._replace(prediction_file=path)
    return found


def _row_of_images(row: Row, reference: Reference, ours: pd.Series, pairs: dict[str, Pair]) -> Row:
    """Return the row of one measure; images without a value here (too small, no hole) are left out, and counted."""
    own = ours.dropna()
    note = row.note
    if len(own) < len(ours):
        note = f"{note}; " * bool(note) + f"{len(own)} of {len(ours)} images have a value"
    if own.empty:
        return row._replace(note=note)
    there = pd.Series(reference.compute([pairs[name] for name in own.index]), index=own.index)
    equal = own == there  # also infinite ones
    difference = float((own - there).abs().where(~equal, 0.0).fillna(math.inf).max())
    large = reference.library == "piq" and min(Image.open(pairs[own.index[0]].truth_file).size) > 256
    if large:
        note = f"{note}; " * bool(note) + "piq first reduces images above 256 pixels"
    return row._replace(
        here=_mean(own, row.measure), there=_mean(there, row.measure), difference=difference, note=note, excused=large
    )


def _mean(values: pd.Series, measure: str) -> float:
    """Return the mean, of PSNR at most 100 dB per image as in all tables of this project."""
    metric: Metric = METRICS[measure.removesuffix("_hole")]
    return float(values.clip(upper=math.inf if metric.cap is None else metric.cap).mean())


# --------------------------------------------------------------------------------------------------------------------
# Distances of sets


def _of_sets(network: str, wanted: Sequence[str], pairs: dict[str, Pair], random: Sequence[str]) -> Iterator[Row]:
    files = [pair.truth_file for pair in pairs.values()], [pair.prediction_file for pair in pairs.values()]
    extract = Extractor(network)
    ours = [extract(map(read_rgb, part)) for part in files]
    own, reference = _distances(ours[0], ours[1], list(pairs)), FEATURES[network]
    weights, theirs, note = _kind(wanted[0], random), ours, "of the features computed here"
    if not problem(reference.library, reference.module):
        theirs, note = [reference.compute(part) for part in files], ""
    for measure in wanted:
        kind = measure.removesuffix(f"_{network}")
        if kind == "features":
            yield _row_of_features(Row(measure, reference.library, weights), ours, [] if note else theirs)
            continue
        library, module, compute = DISTANCES[kind]
        row = Row(measure, library, weights, own[kind], note=note)
        if why := problem(library, module):
            yield row._replace(note=why)
            continue
        there = compute(*(part.astype(np.float64) for part in theirs))
        row = row._replace(there=there, difference=abs(own[kind] - there))
        yield _with_reason(row, ours) if kind == "fid" else row


def _distances(real: np.ndarray, fake: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Return this project's distances of two sets of features, every image in a group by itself."""
    kid, ids = kernel_distance(real, fake[None]), discriminative_scores(real, fake, names)
    found = {"fid": frechet_distance(real, fake), "kid": kid.paired.mean, "kid_unpaired": kid.unpaired}
    found |= {"cmmd": cmmd(real, fake), "pids": ids.pids, "uids": ids.uids}
    return found | {"pidsheldout": ids.pids_heldout, "uidsheldout": ids.uids_heldout}


def _row_of_features(row: Row, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Row:
    here = float(np.mean(ours))
    if not theirs:
        return row._replace(here=here, note=problem(row.library))
    scale = max(float(np.abs(part).max()) for part in ours)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)) / scale
    return row._replace(here=here, there=float(np.mean(theirs)), difference=difference, note="relative to the largest")


def _with_reason(row: Row, features: Sequence[np.ndarray]) -> Row:
    """Add the reason for a difference of FID that the square root of a singular matrix explains."""
    assert row.difference is not None
    spread = sum(float(np.var(part, axis=0, ddof=1, dtype=np.float64).sum()) for part in features)
    singular = len(features[0]) <= features[0].shape[1]
    if row.difference <= TOLERANCE or not singular or row.difference > TOLERANCE * spread:
        return row
    reason = (
        f"{row.library}'s square root of a singular covariance is inexact: {row.difference / spread:.0e} of the traces"
    )
    return row._replace(note=f"{row.note}; " * bool(row.note) + reason, excused=True)


# --------------------------------------------------------------------------------------------------------------------
# Printing


def table(rows: Sequence[Row], tolerance: float) -> str:
    """Return rows as a table in Markdown; a difference without a reason is in bold."""
    versions = _versions(row.library for row in rows)
    lines = []
    for row in rows:
        here, there, difference = (
            "-" if value is None else format(value, kind)
            for value, kind in ((row.here, ".6g"), (row.there, ".6g"), (row.difference, ".1g"))
        )
        library = f"{row.library} {versions.get(row.library, '')}".strip()
        shown = f"**{difference}**" if row.fails(tolerance) else difference
        lines.append((f"`{row.measure}`", library, row.weights, here, there, shown, row.note))
    headers = ("measure", "library", "weights", "here", "there", "largest difference", "note")
    return tabulate(lines, headers, tablefmt="pipe", disable_numparse=True)


def _network(measure: str) -> str:
    """Return the network of a measure of sets: the last part of its name."""
    return measure.rpartition("_")[2]


def _kind(measure: str, random: Sequence[str]) -> str:
    needed = weights_of(measure)
    return "" if not needed else "random" if set(needed) & set(random) else "published"


def problem(library: str, module: str = "") -> str:
    """Return why a library cannot be used, or nothing if it can; it or one that it needs may be missing."""
    try:
        importlib.import_module(module or _MODULES[library])
    except ImportError as error:
        return f"{library} is not installed ({error})"
    return ""


_MODULES = {
    one.library: one.module
    for one in (*FEATURES.values(), *DISTANCES.values(), *(one for some in of_pairs("").values() for one in some))
}


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in dict.fromkeys(("torch", "numpy", "pillow", *filter(None, libraries))):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
