"""Test that the profile for Slurm fits the rules of the workflow: a new rule that uses a GPU must be in it."""

import re
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_args

PROFILE = yaml.safe_load(Path("workflow/profiles/slurm/config.yaml").read_text(encoding="utf-8"))
DEFAULT = yaml.safe_load(Path("workflow/profiles/default/config.yaml").read_text(encoding="utf-8"))
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path("workflow/rules").glob("*.smk")))
# Rule -> (the rule that it is a variant of, its directives).
RULES = {
    name: (parent, body)
    for parent, name, body in re.findall(
        r"(?ms)^ *(?:use )?rule (?:(\w+) as )?(\w+)(?: with)?:$(.*?)(?=^ *(?:use )?rule |\Z)", TEXT
    )
}


def device_of(rule):
    """Return whether a rule, or the one that it is a variant of, passes a device to its script."""
    parent, body = RULES[rule]
    return bool(re.search(r"(?m)^ +device=", body)) or (bool(parent) and device_of(parent))


def test_all_rules_were_found():
    assert len(RULES) == len(re.findall(r"(?m)^ *(?:use )?rule ", TEXT)) > 20
    assert RULES["predict_shard"][0] == "predict" and device_of("predict_shard") and not device_of("table")


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_asks_for_a_gpu_if_it_has_a_device(rule):
    assert ("gpu" in PROFILE["set-resources"].get(rule, {})) == device_of(rule)


def test_a_script_that_uses_a_device_is_given_one_by_its_rule():
    scripts = {rule: Path(f"workflow/scripts/{rule}.py") for rule, (parent, _) in RULES.items() if not parent}
    using = {rule for rule, path in scripts.items() if "device" in path.read_text(encoding="utf-8")}
    assert using == {rule for rule in scripts if device_of(rule)} >= {"train", "predict", "segment", "fid"}


def test_the_profile_names_only_rules_that_exist():
    assert PROFILE["set-resources"].keys() | PROFILE["set-threads"].keys() <= RULES.keys()


def test_a_training_has_the_threads_that_it_has_elsewhere_and_stays_on_one_node():
    assert not {"train", "train_encoder"} & PROFILE["set-threads"].keys()
    for rule in ("train", "train_encoder"):
        resources = PROFILE["set-resources"][rule]
        assert resources["nodes"] == 1 and "threads" not in resources and resources["cpus_per_task"] > 1


def test_no_rule_asks_for_more_cores_than_a_small_node_has():
    asked = {rule: int(threads) for rule, threads in re.findall(r"(?ms)^rule (\w+):.*?^ +threads: (\d+)", TEXT)}
    asked |= PROFILE["set-threads"]
    asked |= {
        rule: given["cpus_per_task"] for rule, given in PROFILE["set-resources"].items() if "cpus_per_task" in given
    }
    assert max(asked.values()) <= 4
    assert max(given.get("mem_mb", 0) for given in PROFILE["set-resources"].values()) <= 32000
    assert max(given.get("runtime", 0) for given in PROFILE["set-resources"].values()) <= 12 * 60


def test_a_dead_node_and_a_cancelled_job_are_noticed():
    assert PROFILE["slurm-status-command"] == "squeue" and PROFILE["slurm-no-requeue"] is True
    assert PROFILE["executor"] == "slurm" and PROFILE["retries"] > 0


def test_only_account_and_partition_are_to_be_filled_in():
    text = Path("workflow/profiles/slurm/config.yaml").read_text(encoding="utf-8")
    assert re.findall(r'"(my_\w+)"', text) == ["my_account", "my_partition"] and text.count("my_") == 2


def test_the_profile_keeps_what_the_default_profile_sets():
    """Named by --workflow-profile, it is read instead of that one."""
    assert DEFAULT.items() <= PROFILE.items()


def test_snakemake_finds_the_default_profile_by_itself():
    """A Snakefile at the top of the project would keep it from that."""
    _, arguments = parse_args(["--cores", "1"])
    assert arguments.nolock is True and arguments.rerun_incomplete is True
