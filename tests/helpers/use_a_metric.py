"""Use the metric ``grey`` wherever metrics appear; test_add_a_metric.py runs this with a package that has it."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import sair
from sair.common.errors import InputError
from sair.common.images import write_png
from sair.evaluation.folders import score_folders
from sair.evaluation.score import score_predictions
from sair.methods.spec import load_spec
from sair.pipeline.config import check_config, load_config
from sair.reporting import regression
from sair.reporting.comparison import compare, terms
from sair.reporting.inputs import TableInputs
from sair.reporting.tables import write_table

CONFIG = {"preset": "mini", "image_size": 32, "buckets": [], "seeds": [0], "datasets": {}, "training": {}}


def main(folder):
    """Score two methods, compare them, and print what was found as JSON."""
    manifest, scores = folder / "manifest.csv", {}
    for name in ("mean_fill", "biharmonic"):
        own = folder / name / "seed0"
        score_predictions(manifest, own / "predictions", own / "scores.csv", networks=False, show=False)
        scores[name] = [str(own / "scores.csv")]
    regression.store_reference(CONFIG, "faces", manifest, scores, folder / "reference")
    output = SimpleNamespace(markdown=folder / "check.md", csv=folder / "check.csv", grid=folder / "check.png")
    files = scores["mean_fill"], manifest, folder / "reference"
    regression.write_regression_report("mean_fill", ["biharmonic"], *files, {}, output)
    write_mine(scores, manifest, folder)
    verdicts = compare(scores["biharmonic"], scores["mean_fill"], {})
    grey = np.full((32, 32, 3), 100, np.uint8)
    for name, pixels in (("truth", grey), ("prediction", grey + 5)):
        write_png(folder / name / "a.png", pixels)
    folders = score_folders(folder / "truth", folder / "prediction", networks=False, show=False)
    print(
        json.dumps(
            {
                "score": sair.score(grey, grey + 5, networks=False),
                "folders": list(folders),
                "terms": " ".join(terms(scores["biharmonic"], scores["mean_fill"], verdicts, {})),
                "refused": refusal(),
            }
        )
    )


def write_mine(scores, manifest, folder):
    """Write a table whose metrics the config lists."""
    config = load_config()
    config["buckets"] = [[0, 20], [20, 40]]
    config["tables"] = {"mine": {"dataset": "faces", "metrics": ["psnr", "grey"], "methods": list(scores)}}
    check_config(config | {"conventions": config["conventions"] | {"table": "mine"}})
    methods = {name: load_spec(name, "config/methods", "mini") | {"tables": {"mine": None}} for name in scores}
    output = SimpleNamespace(**{kind: folder / f"mine.{kind}" for kind in ("markdown", "latex", "csv")})
    write_table("mine", TableInputs(scores, str(manifest)), config, methods, output)


def refusal():
    """Return the message for a misspelt name in ``regression.least``; the right name is accepted."""
    config = load_config()
    config["regression"]["least"]["grey"] = 0.1
    check_config(config)
    config["regression"]["least"]["gray"] = 0.1
    try:
        check_config(config)
    except InputError as error:
        return str(error)
    return ""


main(Path(sys.argv[1]))
