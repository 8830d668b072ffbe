"""Print the distances of sets of images by the networks of a config's ``distances``, below a table of quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sair.evaluation.fid import ENOUGH, FEWEST
from sair.evaluation.metrics.features import NETWORKS, FeatureNetwork, metrics_of
from sair.evaluation.metrics.registry import METRICS
from sair.reporting.markup import markdown_table
from sair.reporting.measured import Key
from sair.reporting.rows import Row, Shape
from sair.weights.sources import entry

FITTED = "fitted and read on the same images: 0 with fewer images than features, however good the predictions are"
BIASED = f"biased upwards: fewer than {ENOUGH:,} images"


class Section(NamedTuple):
    """The distances by one network: a Markdown table, a note on it, and by metric the caveat that the CSV gives."""

    table: str
    note: str
    reasons: Mapping[str, str]


def sections(rows: Sequence[Row], buckets: Sequence[str], networks: Sequence[str]) -> Iterator[Section]:
    """Yield a section for each network of a config's ``distances``.

    Args:
        rows: a table's lines; their cells contain what was measured.
        buckets: the printed buckets.
        networks: names of the networks.
    """
    for name in networks:
        network, shape = NETWORKS[name], Shape(buckets, metrics_of(name))
        have = [row for row in rows if any(key in row.cells for key in shape.columns)]
        counts = [row.cells[key].n for row in have for key in shape.columns if key in row.cells]
        if min(counts, default=0) < FEWEST:
            reason = f"fewer than {FEWEST} images" if counts else _missing(network)
            yield Section("", f"No distances by {network.label}: {reason}.", dict.fromkeys(metrics_of(name), reason))
        else:
            yield _section(network, shape, have, min(counts))


def _section(network: FeatureNetwork, shape: Shape, rows: Sequence[Row], n: int) -> Section:
    flat: dict[Key, Mapping[str, str]] = {key: {} for key in shape.columns}
    head = f"Distances by the features of {network.label}, n = {n}."
    flags = f" FID is {BIASED}." if n < ENOUGH else ""
    definitions = "; ".join(
        f"{METRICS[metric].label} {METRICS[metric].convention.removeprefix(f'{network.convention},')}"
        for metric in shape.metrics
    )
    note = (
        f"{network.label} ({network.convention}): {definitions}.{flags} P-IDS and U-IDS, 50 % at best, are as "
        f"published {FITTED}; held out by pair they are usable at 100 images. No method is marked."
    )
    reasons = {f"{kind}_{network.name}": FITTED for kind in ("pids", "uids")}
    if flags:
        reasons[f"fid_{network.name}"] = BIASED
    return Section(f"{head}\n\n{markdown_table(rows, shape, flat)}\n\n", note, reasons)


def _missing(network: FeatureNetwork) -> str:
    name = entry(network.entry).files[0].name
    way = f"run `sair weights fetch {network.entry}`, or put" if entry(network.entry).downloads else "put"
    return f"its weights were not found: {way} {name} into a folder and name it in SAIR_WEIGHTS"
