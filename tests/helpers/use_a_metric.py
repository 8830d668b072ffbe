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
from sair.pipeline.config import check_config, load_config
from sair.reporting import regression
from sair.reporting.comparison import compare, terms

CONFIG = {"preset": "mini", "image_size": 32, "buckets": [], "seeds": [0], "datasets": {}, "training": {}}


def main(folder):
    """Score two methods, compare them, and print what was found as JSON."""
    manifest, scores = folder / "manifest.csv", {}
    for name in ("mean_fill", "biharmonic"):
        own = folder / name / "seed0"
        score_predictions(manifest, own / "predictions", own / "scores.csv", networks=False, show=False)
        scores[name] = [str(own / "scores.csv")]
    regression.keep(CONFIG, "faces", manifest, scores, folder / "reference")
    output = SimpleNamespace(markdown=folder / "check.md", csv=folder / "check.csv", grid=folder / "check.png")
    regression.check("mean_fill", ["biharmonic"], scores["mean_fill"], manifest, folder / "reference", {}, output)
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
