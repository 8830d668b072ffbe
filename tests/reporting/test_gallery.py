"""Test which images the report shows."""

import numpy as np

from sair.data.manifest import ManifestRow
from sair.reporting.gallery import choose

BUCKETS = ["0-20", "20-40", "40-60"]


def test_images_are_those_of_disagreement_and_an_even_spread():
    rows = [ManifestRow(f"p{n}", bucket, f"p{n}", "", "", 1, 2, "", "") for bucket in BUCKETS for n in range(10)]
    apart = np.array([8.0 if row.id in ("p4", "p7") else 0.0 for row in rows])
    apart[0] = np.inf  # a hole filled without an error in one bucket is no reason to break
    chosen = choose(rows, [apart, np.zeros(30)], 6)
    assert {"p4", "p7", "p0"} == set(chosen[:3]) and len(set(chosen)) == 6
    rest = [n for n in range(10) if n not in (0, 4, 7)]
    assert [rest.index(int(name[1:])) for name in chosen[3:]] == [1, 3, 5]
