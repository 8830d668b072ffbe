"""Test the numbers and sentences of the paper: rows, orderings, and the tables of the config that name them."""

from pathlib import Path

import yaml

from sair.reporting.paper import all_claims, claimed


def test_claims_are_the_papers():
    claims = all_claims()["table1_celebahq"]
    assert claimed(claims, "SAIR")["40-60", "lpips"] == 0.124
    assert claimed(claims, "LaMa")["20-40", "lpips"] == 0.029
    assert claimed(claims, "StructureFlow") == {}
    assert list(claims["rows"]) == [
        *("StructureFlow", "EdgeConnect", "RFRNet", "JPGNet", "LaMa", "MISF", "LIIF", "SAIR")
    ]
    assert claimed(all_claims()["table6_semantics"], "OUS") == {("all", "psnr"): 31.11, ("all", "ssim"): 0.929}


def test_the_default_config_names_existing_claims(config):
    assert {table["claims"] for table in config["tables"].values()} == set(all_claims())
    smoke = yaml.safe_load(Path("config/smoke.yaml").read_text(encoding="utf-8"))
    assert smoke["results"] != config["results"]


def test_what_the_text_states_is_among_the_orderings():
    for name, claims in all_claims().items():
        for better, worse, bucket, metric, _ in claims.get("stated", []):
            assert [better, worse] in claims["orderings"] and bucket in claims["buckets"], name
            assert metric in claims["metrics"], name
