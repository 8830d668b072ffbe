"""Run each sub-command of ``sair`` with the options that ``cli`` has read. Imports are local, for a quick start."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sair.common.errors import InputError
from sair.common.files import read_mapping
from sair.methods.spec import METHODS, load_spec

if TYPE_CHECKING:
    from sair.pipeline.project import Project


def run_inpaint(options: argparse.Namespace) -> None:
    """Fill one image, by a checkpoint or by a method of ``config/methods``."""
    from sair.inference.method import load
    from sair.inference.single import check_request, inpaint_file

    check_request(options.output, options.size, options.scale)
    if options.checkpoint:
        _refuse_beside_checkpoint(options)
        method = load(Path(options.checkpoint), device="cpu")
    else:
        project = _project(options.configfile, options.results, options.preset)
        name = options.method or "sair"
        spec = project.method(name)
        if project.is_trained(name):
            # Build it as it was trained: preset and parameters come from the checkpoint, not from the method's file.
            path = project.checkpoint(name, options.dataset or "faces", options.seed or 0)
            assert isinstance(path, str)  # a trained method has one
            method = load({**spec, "parameters": {}}, path, device="cpu")
        else:
            method = load(spec, device="cpu")
    inpaint_file(
        options.image, options.mask, options.output, method, hole=options.hole, size=options.size, scale=options.scale
    )


def _refuse_beside_checkpoint(options: argparse.Namespace) -> None:
    """Refuse options that choose a method or its file: a checkpoint contains its method's specification."""
    for name in ("method", "dataset", "seed", "results", "preset", "configfile"):
        if getattr(options, name) not in (None, []):
            raise InputError(
                f"--{name}: has no effect with --checkpoint, which names its own method. Leave out one of the two."
            )


def _methods(given: Sequence[str] | None) -> list[str]:
    """Return the methods that ``--methods`` names, each once; none if the option was not given."""
    names = [name.strip() for part in given or () for name in part.split(",")]
    if given and not any(names):
        raise InputError(f"--methods {' '.join(given)}: names no method. Name some, or leave it out for the default.")
    return list(dict.fromkeys(filter(None, names)))


def run_evaluate(options: argparse.Namespace) -> int:
    """Evaluate released checkpoints; return 1 if a method that was asked for is not in the table."""
    from sair.commands.evaluate import TABLE, Request, listing, plan, run

    if options.cores is not None and options.cores < 1:
        raise InputError(f"--cores {options.cores}: expected at least 1. Leave it out to use all cores.")
    names = _methods(options.methods)
    chosen = plan(
        Request(
            options.images, ",".join(options.masks), options.output, names, options.hole,
            options.size, options.limit, options.draw, tuple(options.configfile),
        )
    )  # fmt: skip
    print(f"Evaluates {', '.join(chosen.ready)} on {chosen.about}.")
    if chosen.missing:
        print("Left out, because something is missing:", *listing(chosen.missing), sep="\n")
    sys.stdout.flush()
    failed = run(chosen, options.cores)
    table = Path(chosen.project.results) / f"{TABLE}.md"
    print(*(line for line in table.read_text(encoding="utf-8").splitlines() if line.startswith("|")), sep="\n")
    if failed:
        print(f"error: failed, and left out: {', '.join(failed)}. The errors are above.", file=sys.stderr)
    print(f"{table}, {table.with_suffix('.csv')}, {table.with_name('report.html')}: written.")
    print(f"To check them: sair verify --configfile {chosen.file}")
    return 1 if failed or (names and chosen.missing) else 0


def run_score(options: argparse.Namespace) -> None:
    """Score a folder of predictions, and print the means."""
    import pandas as pd

    from sair.common.files import check_output, write_csv
    from sair.common.listing import IMAGES
    from sair.common.memory import keep_memory
    from sair.evaluation.folders import score_folders
    from sair.reporting import notes
    from sair.reporting.measured import ALL, means, read_scores

    if IMAGES.fullmatch(Path(options.output).suffix):
        raise InputError(f"{options.output}: scores are written as CSV. Choose a file name that ends with .csv.")
    check_output(options.output)
    keep_memory()
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: expected at least 1 thread. Leave it out to use all cores.")
    frame = score_folders(
        options.truth, options.prediction, options.masks, options.hole,
        prediction_name=options.prediction_name, mask_name=options.mask_name, metrics=options.metrics,
        device=options.device, jobs=options.jobs,
    )  # fmt: skip
    write_csv(frame, options.output)
    scores = read_scores(options.output)
    found = {metric: mean for (bucket, metric), mean in means(scores).items() if bucket == ALL}
    print(pd.DataFrame(found, index=["mean"]).to_string(index=False))
    if note := notes.perfect({"here": scores}):
        print(note)


def run_compare(options: argparse.Namespace) -> int:
    """Compare two score files; return 2 if a metric got worse."""
    from sair.common.progress import warn
    from sair.pipeline.config import DEFAULT, check_config, load_config
    from sair.reporting.comparison import WORSE, compare, parse_least, same_scores, terms, to_text

    least = parse_least(options.least)
    if not least and (options.configfile or DEFAULT.is_file()):
        config = load_config(options.configfile)
        check_config(config, files=[DEFAULT, *options.configfile])
        least = config["regression"]["least"]
    verdicts = compare(options.reference, options.variant, least)
    if same := same_scores(options.reference, options.variant, verdicts):
        warn(same)
    print(to_text(verdicts), *terms(options.reference, options.variant, verdicts, least), sep="\n")
    return 2 if any(verdict.outcome == WORSE for verdict in verdicts) else 0


def run_budgets(options: argparse.Namespace) -> None:
    """Compare methods at equal budgets, and print the verdicts."""
    from sair.commands.budgets import write_page

    project = _project(options.configfile)
    names = _methods(options.methods)
    pairs = [[name.strip() for name in pair.split(",")] for pair in options.pair]
    output = Path(options.output)
    sentences = write_page(project, options.folders, output, options.metric, options.dataset or "", names, pairs)
    print(*sentences, sep="\n")
    print(f"{output / 'budgets.md'}, budgets.csv and budgets.png: written. To check them: sair verify {output}")


def run_convert(options: argparse.Namespace) -> None:
    """Convert an authors' checkpoint, and print how to use it."""
    from sair.commands.convert import convert

    convert(load_spec(options.method, METHODS, options.preset), options.files, options.output)
    print(f"{options.output}: written. To use it in the workflow, set `weights: {options.output}` in a method's file.")
    print(f"To fill one image: sair inpaint IMAGE MASK -o OUT.png --checkpoint {options.output}")


def run_new_method(options: argparse.Namespace) -> None:
    """Write the skeleton of a method, and print its files."""
    from sair.commands.new_method import write_skeleton

    for path in write_skeleton(options.name):
        print(path)
    print(f"Try it: snakemake --cores all results/table1.md; python -m pytest -k {options.name}")


def _project(configfiles: Sequence[str], results: str | None = None, preset: str | None = None) -> Project:
    """Return the plan that snakemake makes with these ``--configfile``, optionally with other results or preset."""
    from sair.pipeline.config import DEFAULT, load_config
    from sair.pipeline.project import Project

    config = load_config(configfiles)
    given = {"results": results, "preset": preset}
    config |= {key: value for key, value in given.items() if value is not None}
    return Project(config, files=[DEFAULT, *configfiles])


def run_doctor(options: argparse.Namespace) -> int:
    """Print what a config needs; return 1 if anything is missing."""
    from tabulate import tabulate

    from sair.commands.doctor import OK, detectable, examine

    project = _project(options.configfile)
    findings = [*examine(project.config, project.encoders, _of_tables(project)), *detectable(project)]
    print(tabulate(findings, tablefmt="plain", maxcolwidths=[None, 28, 80]))
    return 0 if all(finding.state == OK for finding in findings) else 1


def _of_tables(project: Project) -> list[dict[str, Any]]:
    """Return the specifications of all methods in a table, each once."""
    names = dict.fromkeys(name for table in project.config["tables"] for name in project.rows(table))
    return [project.method(name) for name in names]


def run_weights_list(options: argparse.Namespace) -> None:
    """Print the known pretrained files."""
    from tabulate import tabulate

    from sair.weights.sources import overview

    columns = ("name", "for", "size", "licence", "found in, or how to get it")
    print(tabulate(overview(), headers=columns, maxcolwidths=[None, 28, None, 28, None]))


def run_weights_fetch(options: argparse.Namespace) -> int:
    """Fetch pretrained files; return 1 if one of them failed."""
    from sair.reporting.inputs import optional_weights
    from sair.weights.fetch import fetch
    from sair.weights.sources import DEFAULT_FOLDER, ENVIRONMENT, needed

    names = options.names
    if not names:
        project = _project(options.configfile)
        names = needed(project.encoders.values(), optional_weights(project.config))
    if options.archive and len(names) != 1:
        raise InputError("--archive: belongs to one entry. Give exactly one NAME of `sair weights list`.")
    folder = Path(options.to or os.environ.get(ENVIRONMENT) or DEFAULT_FOLDER)
    failed = 0
    for name in names:
        try:
            print(fetch(name, folder, Path(options.archive) if options.archive else None))
        except InputError as error:
            failed = 1
            print(f"error: {error}", file=sys.stderr)
    return failed


def run_weights_verify(options: argparse.Namespace) -> int:
    """Print which pretrained files are the known ones; return 1 if one is not."""
    from tabulate import tabulate

    from sair.weights.sources import WRONG, verify_files

    found = list(verify_files(Path(options.folder) if options.folder else None))
    if not found:
        where = options.folder or "this machine"
        raise InputError(f"{where}: no known file was found. `sair weights list` names them.")
    print(tabulate(found, tablefmt="plain"))
    return 1 if any(file.state == WRONG for file in found) else 0


def run_verify(options: argparse.Namespace) -> int:
    """Print which results follow from their inputs; return 1 if one does not."""
    from tabulate import tabulate

    from sair.commands.verify import NOT_BACKED, NOT_MADE, verify

    if options.results and not Path(options.results).is_dir():
        raise InputError(f"{options.results}: is not a results folder. A config is given as --configfile FILE.")
    project = _project(options.configfile, options.results)
    findings = list(verify(project, options.lpips))
    made = [finding for finding in findings if finding.state != NOT_MADE]
    if not made:
        raise InputError(f"{project.results}: contains no table, claims or report to verify. Run snakemake first.")
    print(tabulate(made, tablefmt="plain", maxcolwidths=[None, 50, 70]))
    if unmade := [Path(finding.file).name for finding in findings if finding.state == NOT_MADE]:
        print(f"{NOT_MADE}, of the results that this config names: {', '.join(unmade)}")
    return 1 if any(finding.state == NOT_BACKED for finding in findings) else 0


def run_reference(options: argparse.Namespace) -> None:
    """Store the scores of a run as a reference."""
    from sair.reporting.regression import store_reference

    project = _project(options.configfile)
    dataset, folder = (project.config["regression"][key] for key in ("dataset", "reference"))
    scores = {
        method: paths
        for table in project.tables("quality")
        if project.layout(table).dataset == dataset
        for method, paths in project.measured(table).items()
    }
    store_reference(project.config, dataset, project.manifest(dataset), scores, folder)
    print(f"{folder}: stored the scores of {len(scores)} methods")


def run_report(options: argparse.Namespace) -> None:
    """Write the report of what is finished."""
    from sair.pipeline.pages import report_inputs
    from sair.reporting.report import write_report

    project = _project(options.configfile)
    output = Path(project.results) / "report.html"
    write_report(report_inputs(project), project.config, project.methods, output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def run_methods(options: argparse.Namespace) -> None:
    """List the methods, or print the settings of one."""
    project = _project(options.configfile, preset=options.preset)
    if options.show:
        from sair.methods.annotated import to_yaml
        from sair.methods.spec import explain_method
        from sair.pipeline.config import DEFAULT

        project.method(options.show)  # refuses an unknown name
        configs = [(file, read_mapping(file)) for file in (DEFAULT, *options.configfile)]
        print(to_yaml(explain_method(options.show, METHODS, project.config["preset"], configs)), end="")
        return
    for name, spec in project.methods.items():
        source = "trained" if spec["training"] is not None else spec["weights"] or "nothing to train"
        print(f"{name:16} {spec['label']:16} {source:18} {spec['class']}")
