"""Test which differences `sair verify` reports, and which it accepts as another machine's rounding."""

import pytest

from sair.commands.cli import main
from sair.commands.verify import BACKED, NOT_BACKED, _scores
from sair.evaluation.score import score_predictions
from sair.inference.predict import predict
from sair.methods.spec import load_spec
from sair.reporting.measured import read_stored


@pytest.fixture(scope="module")
def scored(tmp_path_factory, frozen_split):
    """Return scores of the mean fill on two drawn faces."""
    data = tmp_path_factory.mktemp("verify")
    frozen_split(data, buckets=[(20, 40)])
    spec = load_spec("mean_fill", "config/methods", "mini")
    predict(spec, data / "manifest.csv", data / "predictions", device="cpu")
    score_predictions(data / "manifest.csv", data / "predictions", data / "scores.csv", show=False)
    return data


@pytest.mark.parametrize(
    ("column", "change", "state"),
    [
        ("lpips", 6e-8, BACKED),  # other threads or another processor sum in another order
        ("lpips_raw", -6e-8, BACKED),
        ("lpips", 1e-5, NOT_BACKED),
        ("psnr", 6e-8, NOT_BACKED),
        ("l1_hole", 1e-9, NOT_BACKED),
    ],
)
def test_only_a_networks_last_digits_may_differ(scored, column, change, state):
    path, text = scored / "scores.csv", (scored / "scores.csv").read_text()
    frame = read_stored(path)
    frame[column] += change
    frame.to_csv(path, index=False)
    try:
        assert _scores(str(path), str(scored / "manifest.csv"), score_predictions).state == state
    finally:
        path.write_text(text)


def test_a_config_in_place_of_the_folder_is_refused_with_the_option_to_use(capsys):
    assert main(["verify", "config/smoke.yaml"]) == 1
    assert "config/smoke.yaml: is not a results folder. A config is given as --configfile" in capsys.readouterr().err
