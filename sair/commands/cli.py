"""Run the command ``sair``: everything that does not need Snakemake. The workflow runs training and tables."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from sair.commands import actions
from sair.common.errors import InputError
from sair.common.images import HOLES
from sair.common.version import package_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Args:
        arguments: the words after ``sair``; None reads them from the command line.

    Returns:
        0 for success, 1 for an error, 2 for wrong arguments or if `compare` finds a loss, 130 after Ctrl-C, and 141 if
        the reader of the output has gone (`sair weights list | head`).
    """
    try:
        options = _parser().parse_args(arguments)
        _refuse_empty(options)
        status = options.run(options) or 0
        sys.stdout.flush()  # here, so that a broken pipe is caught below and not when Python ends
        return status
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python flushes again when it ends; that must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # An OSError without a file name is a bug, not a mistake of the user.
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}. Check the path and its permissions.", file=sys.stderr)
        return 1


def _refuse_empty(options: argparse.Namespace) -> None:
    """Refuse empty arguments: "" would mean the working folder, or an option that was not given."""
    for name, value in vars(options).items():
        if "" in (value if isinstance(value, list) else [value]):
            raise InputError(
                f"{name.replace('_', '-')}: is empty. Give it a value or leave it out (a shell variable may be unset)."
            )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sair",
        description="Image inpainting benchmark: commands that do not need the workflow. `sair COMMAND --help` explains"
        " one of them; training and tables are run by snakemake.",
    )
    parser.add_argument("--version", action="version", version=f"sair {package_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    inpaint = _command(commands, "inpaint", help="fill the hole in one image with a method")
    inpaint.add_argument("image", help="image to fill, of any size")
    inpaint.add_argument(
        "mask",
        nargs="?",
        help="black-and-white mask of the same size; leave it out to only enlarge the image with --scale",
    )
    inpaint.add_argument("-o", "--output", required=True, help="PNG file to write")
    inpaint.add_argument("--method", help="method of config/methods (default: sair)")
    inpaint.add_argument("--dataset", help="dataset that the method was trained on (default: faces)")
    inpaint.add_argument("--seed", type=int, help="seed of the training run (default: 0)")
    _takes_config(inpaint)
    inpaint.add_argument("--results", help="results folder with the trained checkpoint (default: the config's)")
    inpaint.add_argument("--preset", help="preset of a method that is not trained (default: the config's)")
    inpaint.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="checkpoint file to use instead of --method, --dataset and the other options above; it names its method",
    )
    inpaint.add_argument(
        "--hole", choices=tuple(HOLES), default="white", help="what marks the hole in the mask (default: white)"
    )
    inpaint.add_argument(
        "--size",
        type=int,
        help="shorter side in pixels at which the method sees the image (default: that of its training)",
    )
    inpaint.add_argument("--scale", type=float, default=1.0, help="enlarge the result, for example by 2.5 (default: 1)")
    inpaint.set_defaults(run=actions.run_inpaint)

    _add_evaluate(commands)

    score = _command(
        commands, "score", help="compare a folder of predictions with a folder of ground truth images, paired by name"
    )
    score.add_argument("truth", help="folder of ground-truth images")
    score.add_argument("prediction", help="folder of predictions with the same names")
    score.add_argument(
        "--masks", help="folder of masks with the same names, or one mask for all images; adds scores of the hole alone"
    )
    score.add_argument(
        "--hole", choices=tuple(HOLES), default="white", help="what marks the hole in the masks (default: white)"
    )
    score.add_argument(
        "--prediction-name",
        default="{id}",
        metavar="PATTERN",
        help="file name of the prediction for an image, without ending, for example {id}_fake (default: {id})",
    )
    score.add_argument(
        "--mask-name",
        default="{id}",
        metavar="PATTERN",
        help="file name of the mask for an image, without ending, for example {id}_mask001 (default: {id})",
    )
    score.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="where LPIPS is computed (default: auto, a GPU where there is one)",
    )  # fmt: skip
    score.add_argument(
        "--metrics", type=lambda text: text.split(","), action="extend", default=[], metavar="NAME,...",
        help="optional metrics to measure, too, for example dists,changed (docs/metrics.md lists them)",
    )  # fmt: skip
    score.add_argument("--jobs", type=int, metavar="N", help="threads (default: all cores); scores do not depend on it")
    score.add_argument("-o", "--output", required=True, help="CSV file to write, one row per image")
    score.set_defaults(run=actions.run_score)

    compare = _command(
        commands,
        "compare",
        help="test whether a variant is better or worse than a reference on the same images",
        epilog="Exit status: 2 if a metric got worse, 1 for an error, otherwise 0.",
    )
    compare.add_argument("reference", help="scores.csv of the reference, or a CSV that `sair score` wrote")
    compare.add_argument("variant", help="the same for the variant, with the same images")
    compare.add_argument(
        "--least", metavar="METRIC=VALUE", action="append", default=[],
        help="smallest difference that counts, for example psnr=0.2: how much the metric varies between training seeds."
        " May be given several times (default: the config's `regression.least`; a metric without value is not judged)",
    )  # fmt: skip
    _takes_config(compare)
    compare.set_defaults(run=actions.run_compare)

    _add_budgets(commands)

    convert = _command(
        commands,
        "convert",
        help="convert an authors' checkpoint into a safetensors file, without running its pickle code",
        epilog="Examples: sair convert rfrnet g_350000.pth -o weights/rfrnet.safetensors; with several networks: "
        "sair convert edgeconnect edge=EdgeModel_gen.pth inpaint=InpaintingModel_gen.pth -o weights/ec.safetensors",
    )
    convert.add_argument("method", help="method of config/methods, for example rfrnet")
    convert.add_argument("files", nargs="+", metavar="FILE", help="the authors' file, or NAME=FILE for each network")
    convert.add_argument("-o", "--output", required=True, help="safetensors file to write")
    convert.add_argument("--preset", default="paper", help="preset that defines the network's size (default: paper)")
    convert.set_defaults(run=actions.run_convert)

    new = _command(commands, "new-method", help="write a working skeleton of a new method: YAML file, module and test")
    new.add_argument("name", help="lower-case name, for example my_method")
    new.set_defaults(run=actions.run_new_method)

    doctor = _command(
        commands,
        "doctor",
        help="check that all data, masks and weights of a config are present, and show where to get the rest",
    )
    _takes_config(doctor)
    doctor.set_defaults(run=actions.run_doctor)

    _add_weights(_command(commands, "weights", help="list, fetch or verify pretrained files"))

    verify = _command(commands, "verify", help="check that tables follow from the scores, and scores from the images")
    verify.add_argument("results", nargs="?", metavar="FOLDER", help="results folder (default: the config's)")
    _takes_config(verify)
    verify.add_argument("--lpips", action="store_true", help="also recompute LPIPS, which takes minutes")
    verify.set_defaults(run=actions.run_verify)

    reference = _command(
        commands, "reference", help="store the scores of this run as the reference of later regression checks"
    )
    _takes_config(reference)
    reference.set_defaults(run=actions.run_reference)

    report = _command(
        commands, "report", help="write one HTML page with the finished tables, images, claims and training curves"
    )
    _takes_config(report)
    report.set_defaults(run=actions.run_report)

    methods = _command(commands, "methods", help="list the methods of config/methods, or show all settings of one")
    methods.add_argument(
        "--show", metavar="NAME", help="print the settings of this method as YAML, with the origin of each"
    )
    methods.add_argument("--preset", help="preset of the methods (default: the config's)")
    _takes_config(methods)
    methods.set_defaults(run=actions.run_methods)
    return parser


class _Once(argparse.Action):
    """Stores the value of an option, and refuses a second one, which would silently replace the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given = namespace.__dict__.setdefault("_given", set())
        if option and self.dest in given:
            raise argparse.ArgumentError(self, "is given twice. Give it once.")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    """A parser whose options, and those of its sub-commands, may be given once, unless they collect their values."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register("action", None, _Once)


def _command(commands: Any, name: str, help: str, **more: Any) -> argparse.ArgumentParser:
    """Add a command; its own help page begins with the sentence that the list of commands shows."""
    return commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.", **more)


def _add_evaluate(commands: Any) -> None:
    evaluate = _command(
        commands,
        "evaluate",
        help="compare methods with released weights on your images and masks: a table and a report, without training",
        epilog="Example: sair evaluate --images photos --masks masks --methods lama_big,migan -o results/mine. Exit "
        "status: 1 if a method that --methods names is not in the table.",
    )
    evaluate.add_argument("--images", required=True, metavar="FOLDER", help="folder of images, of any sizes")
    evaluate.add_argument(
        "--masks",
        required=True,
        action="append",
        metavar="PATH",
        help="folder of masks, or one mask for all images. Masks with the images' names belong to them; of others, "
        "each image gets one of every hole ratio. Or families, separated by commas: published ones, and folders of "
        "masks as FOLDER or NAME=FOLDER, such as lama_thin,box,mine=masks",
    )
    evaluate.add_argument(
        "--methods", action="append", metavar="NAME,...", help="methods (default: those of config/published.yaml)"
    )
    evaluate.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder of the results")
    evaluate.add_argument(
        "--hole", choices=tuple(HOLES), default="white", help="what marks the hole in the masks (default: white)"
    )
    evaluate.add_argument(
        "--size", type=int, metavar="N", help="side in pixels to which images are cropped and reduced (default: 256)"
    )
    evaluate.add_argument("--limit", type=int, metavar="N", help="only the first N images, for a quick look")
    evaluate.add_argument(
        "--draw", action="store_true", help="draw masks from the folder even if they have the images' names"
    )
    evaluate.add_argument("--cores", type=int, metavar="N", help="jobs at once (default: all cores)")
    _takes_config(evaluate)
    evaluate.set_defaults(run=actions.run_evaluate)


def _add_budgets(commands: Any) -> None:
    budgets = _command(
        commands,
        "budgets",
        help="compare trained methods at equal steps and at equal compute: a figure and a page of verdicts",
        epilog="Example: sair budgets results/budgets/0.5 results/budgets/1 results/budgets/2 -o results/budgets. "
        "`make budgets` trains what it needs.",
    )
    budgets.add_argument(
        "folders",
        nargs="+",
        metavar="RESULTS",
        help="results folders of runs that differ only in their training budget",
    )
    budgets.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="folder of budgets.md, budgets.csv and budgets.png"
    )
    budgets.add_argument(
        "--methods", action="append", metavar="NAME,...",
        help="methods (default: the trained methods of the config's tables, then the others)",
    )  # fmt: skip
    budgets.add_argument(
        "--pair", action="append", default=[], metavar="FIRST,SECOND",
        help="two methods to compare; may be given several times (default: the first method with each other one)",
    )  # fmt: skip
    budgets.add_argument("--metric", default="psnr", help="column of the score files (default: psnr)")
    budgets.add_argument("--dataset", help="dataset, if the folders have several")
    _takes_config(budgets)
    budgets.set_defaults(run=actions.run_budgets)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listed = _command(
        commands, "list", help="show what each file is for, its size, its licence, and where it is or how to get it"
    )
    listed.set_defaults(run=actions.run_weights_list)

    fetch = _command(commands, "fetch", help="put pretrained files into one folder, so that no network is needed later")
    fetch.add_argument(
        "names", nargs="*", metavar="NAME", help="names of `sair weights list` (default: all that the config needs)"
    )
    _takes_config(fetch)
    fetch.add_argument(
        "--to", metavar="FOLDER", help="folder of weights (default: SAIR_WEIGHTS if it is set, else weights)"
    )
    fetch.add_argument("--archive", metavar="FILE", help="the authors' zip or tar file, already downloaded")
    fetch.set_defaults(run=actions.run_weights_fetch)

    verify = _command(commands, "verify", help="compare pretrained files with their known SHA-256")
    verify.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="folder of weights (default: all places on this machine)"
    )
    verify.set_defaults(run=actions.run_weights_verify)


def _takes_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--configfile", metavar="FILE", action="append", default=[],
        help="YAML file that overrides config/config.yaml, as for snakemake; may be given several times",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
