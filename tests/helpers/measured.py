"""Invent score files and methods for the tests of tables and claims."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd

from sair.evaluation.metrics.miou import SEGMENTATION_COLUMNS
from sair.evaluation.score import SCORE_COLUMNS
from sair.reporting.claims import write_claims
from sair.reporting.inputs import ClaimsInputs

BUCKETS = ["0-20", "20-40", "40-60"]
IMAGES = 40


def scores(path, psnr=0.0, l1=0.0, cluster=None, perfect=(), images=IMAGES, seed=0):
    """Write scores.csv: 30 dB and 0.05 of L1 plus a gain, with noise that all methods share and some of their own."""
    shared, own = np.random.default_rng(1), np.random.default_rng(seed + 2)
    rows = []
    for bucket in BUCKETS:
        hardness, noise = shared.normal(0, 4, images), own.normal(0, 0.1, images)
        for k in range(images):
            row = dict.fromkeys(SCORE_COLUMNS, 0.1) | {"id": f"p{k}", "bucket": bucket, "ratio": 10.0}
            row["cluster"] = f"p{k}" if cluster is None else f"photo{k % cluster}"
            row["psnr"] = math.inf if k in perfect else 30 + psnr + hardness[k] + noise[k]
            rows.append(row | {"l1": 0.05 + l1 + hardness[k] / 1000 + noise[k] / 1e5})
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(path, index=False)
    return str(path)


def overlaps(path, features, right):
    """Write segmentation.csv: of each feature one share of right pixels, out of 20, plus 0, 1 or 2 by image."""
    rows = [
        [name, bucket, f"p{k}", f"p{k}", region, c, share + k % 3, 20]
        for name, share in zip(features, right, strict=True)
        for bucket in BUCKETS
        for k in range(12)
        for region in ("whole", "hole")
        for c in range(3)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=SEGMENTATION_COLUMNS).to_csv(path, index=False)
    return str(path)


def method(row, label="A label", **more):
    """Return the specification of a method in the paper's row of Table 1, or in none (None)."""
    return {"label": label, "class": "a:B", "tables": {"table1": row}, "training": None, **more}


def judge(config, tmp_path, methods, files, table="table1"):
    """Judge the paper's claims on score files; return the CSV as a frame, and the page."""
    output = SimpleNamespace(markdown=tmp_path / "c.md", csv=tmp_path / "c.csv")
    write_claims(ClaimsInputs({table: files}, tmp_path / "clip.csv"), config, methods, output)
    return pd.read_csv(tmp_path / "c.csv", keep_default_na=False, na_values=[""]), (tmp_path / "c.md").read_text()
