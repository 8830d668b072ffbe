"""Evaluate released checkpoints on a user's images and masks: write a config, and run the ordinary workflow with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sair.commands.missing import missing_parts
from sair.common.errors import InputError, near, refuse
from sair.common.files import read_mapping, write_text
from sair.common.images import read_mask, stored_size
from sair.common.listing import images_by_id, list_images
from sair.common.progress import progress
from sair.common.signals import on_sigterm
from sair.data.buckets import Bucket, bucket_of, families_of
from sair.data.families.registry import NAMES, OBJECTS
from sair.data.paired import size_fault
from sair.methods.origins import merge
from sair.pipeline.config import DEFAULT, check_config, load_config
from sair.pipeline.driver import PARENT, refuse_locked
from sair.pipeline.pages import report_inputs
from sair.pipeline.project import Project
from sair.reporting.inputs import optional_weights
from sair.weights.sources import ALWAYS, entry, how_to_get, local

PUBLISHED = Path("config/published.yaml")
TABLE, DATASET, MASKS = "evaluation", "images", "masks"  # their names in PUBLISHED
WHOLE: list[list[float]] = [[0, 100]]  # the only bucket of masks that belong to certain images
DECIDED = ("source", "images", "test_images", "masks", "path", "hole", "family", "train", "validation", "test")
KEPT = ("seed", "shrink")  # of the mask set; options decide the other keys
KNOWN = frozenset(NAMES) - {OBJECTS}  # families that an option can name
GRIDS = 3  # images that the grid below the table shows
SCORING = tuple(name for name in ALWAYS if name != "vgg16")  # vgg16 is needed in training only


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        images: folder of images.
        masks: folder of masks, one mask for all images, or families separated by commas: names of published ones, and
            folders of masks as ``path`` or ``name=path``.
        output: folder of the results.
        methods: names of methods; empty for those of ``config/published.yaml``.
        hole: what marks the hole in the masks (``sair.common.images.read_mask``).
        size: side of the evaluated images in pixels; None for that of ``config/published.yaml``.
        limit: number of images, the first ones; None for all.
        draw: whether masks are drawn from the folder even if they have the images' names.
        configfiles: further files that override the config, such as weights of other methods.
    """

    images: str
    masks: str
    output: str
    methods: Sequence[str] = ()
    hole: str = "white"
    size: int | None = None
    limit: int | None = None
    draw: bool = False
    configfiles: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """What is evaluated.

    Attributes:
        project: the plan of the workflow.
        file: the config that was written.
        wanted: names of the methods that the user asked for.
        missing: method -> what it lacks and where to get it, one line each.
        about: what is evaluated, in one sentence.
    """

    project: Project
    file: Path
    wanted: list[str]
    missing: dict[str, list[str]]
    about: str

    @property
    def ready(self) -> list[str]:
        """Return the methods that lack nothing."""
        return [name for name in self.wanted if name not in self.missing]


def plan(request: Request) -> Plan:
    """Check the images, masks and methods of a request, and write the config of its run to the output folder.

    Raises:
        InputError: a folder or a mask is wrong, a method is unknown, none of the methods can run, or another run writes
            to the output folder.
    """
    published = _published(request.configfiles)
    files: list[str | Path] = [DEFAULT, PUBLISHED, *request.configfiles]
    check_config(published, files=files)
    _refuse_unread(published)
    config, about = _config(request, published)
    project = Project(config, files=files)
    wanted = list(request.methods) or list(published["tables"][TABLE]["methods"])
    missing = {name: lines for name in wanted if (lines := missing_parts(project.method(name)))}
    ready = [name for name in wanted if name not in missing]
    if not ready:
        listed = "\n".join(listing(missing))
        raise InputError(f"none of the methods can run on this machine:\n{listed}")
    _refuse_without_scores(config)
    config = merge(config, _rows(ready, config["datasets"][DATASET]["test"]))
    project = Project(config, files=files)
    refuse_locked(project.results)  # before the config of a run that goes on is replaced
    file = Path(request.output) / "evaluate.yaml"
    _write(file, config)
    return Plan(project, file, wanted, missing, about)


def listing(missing: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the lines that tell a user what is missing."""
    return [line for name, lines in missing.items() for line in (f"  {name}:", *(f"    - {line}" for line in lines))]


def run(chosen: Plan, cores: int | None) -> list[str]:
    """Run the workflow for a plan, and write the report; return the methods that failed.

    Each method is run even if another one fails. The table is then made of those that have scores.

    Args:
        chosen: what ``plan`` returned.
        cores: number of jobs at once; None for all cores.

    Raises:
        InputError: no method could be evaluated, or the table could not be made.
    """
    from sair.reporting.report import write_report

    project = chosen.project
    table = f"{project.results}/{TABLE}.md"
    failed: list[str] = []
    if _snakemake(chosen.file, cores, [table]) != 0:
        failed = [name for name in chosen.ready if not _is_scored(project, name)]
        left = [name for name in chosen.ready if name not in failed]
        if not left or not failed:
            raise InputError(
                f"{project.results}: the evaluation failed; see the error above. Run it again to continue."
            )
        config = merge(project.config, _rows(left, project.config["datasets"][DATASET]["test"]))
        _write(chosen.file, config)
        project = Project(config, files=[chosen.file])
        if _snakemake(chosen.file, cores, [table]) != 0:
            raise InputError(f"{table}: the table could not be made; see the error above.")
    write_report(report_inputs(project), project.config, project.methods, f"{project.results}/report.html")
    return failed


def _is_scored(project: Project, name: str) -> bool:
    folder = Path(project.run_folder(DATASET, name, project.seeds(name)[0]))
    return (folder / "predictions").is_dir() and (folder / "scores.csv").is_file()


def _snakemake(file: Path, cores: int | None, targets: Iterable[str]) -> int:
    """Run the workflow quietly; jobs show their progress, and print an error in one line. It ends with this process."""
    words = [sys.executable, "-m", "snakemake", "--cores", str(cores or "all"), "--keep-going", "--quiet", "all"]
    words += ["--configfile", str(file), "--", *targets]
    process = subprocess.Popen(words, env={**os.environ, PARENT: str(os.getpid())})
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        process.terminate()

    with on_sigterm(stop):
        try:
            process.wait()
        except KeyboardInterrupt:
            stop()
            process.wait()
    if stopped:
        raise InputError("stopped. Run the same command again to continue.")
    return process.returncode


# --------------------------------------------------------------------------------------------------------------------
# The config


def _published(configfiles: Sequence[str]) -> dict[str, Any]:
    """Return the default config under ``PUBLISHED`` and further files, which may be files that this command wrote.

    If a file gives the masks another source, such as families instead of a folder, keys of the former one are dropped.
    """
    config = load_config([PUBLISHED])
    for file in configfiles:
        given = read_mapping(file)
        if _source(given) not in (None, _source(config)) and _source(config) is not None:
            config["masks"] = {**config["masks"], MASKS: _kept(config)}
        config = merge(config, given)
    return config


def _source(config: Mapping[str, Any]) -> Any:
    """Return the source of the masks that a config names, None if it names none; the config was not checked yet."""
    sets = config.get("masks")
    masks = sets.get(MASKS) if isinstance(sets, Mapping) else None
    return masks.get("source") if isinstance(masks, Mapping) else None


def _config(request: Request, published: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the whole config of a request, and a sentence on its images and masks."""
    if request.limit is not None and request.limit < 1:
        raise InputError(f"--limit {request.limit}: expected at least 1 image. Leave it out for all of them.")
    size = published["image_size"] if request.size is None else request.size
    images = images_by_id(request.images)
    names = list(images)[: request.limit]
    _refuse_small([images[name] for name in names], size)
    masks, buckets, about = _masks(request, {name: images[name] for name in names}, published["buckets"])
    dataset = {"source": "folder", "images": request.images, "test_images": request.images, "masks": MASKS}
    changes: dict[str, Any] = {
        "results": request.output.rstrip("/") or request.output,
        "image_size": size,
        "buckets": buckets,
        "datasets": {DATASET: {**dataset, "train": 0, "validation": 0, "test": len(names)}},
        "masks": {MASKS: {**masks, **_kept(published), "train": 0}},
    }
    config = merge(published, changes)
    config["datasets"][DATASET] = changes["datasets"][DATASET]
    config["masks"][MASKS] = changes["masks"][MASKS]
    return config, f"{len(names)} image{'s' * (len(names) != 1)} at {size} pixels, {about}"


def _kept(published: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the mask set that no option decides."""
    return {key: value for key, value in published["masks"][MASKS].items() if key in KEPT}


def _refuse_unread(published: Mapping[str, Any]) -> None:
    """Refuse keys of the dataset and of the mask set that would have no effect, as options decide these two."""
    for place, name, known in (("datasets", DATASET, DECIDED), ("masks", MASKS, (*DECIDED, *KEPT))):
        if unread := sorted(set(published[place][name]) - set(known)):
            raise InputError(
                f"config, {place}.{name}.{unread[0]}: has no effect here, as the options of `sair evaluate` decide "
                "the images and masks. Remove it, or write a config of your own and run snakemake (docs/tutorial.md)."
            )


def _rows(methods: Sequence[str], count: int) -> dict[str, Any]:
    """Return the parts of the config that name the methods which are shown."""
    figure = {"dataset": DATASET, "methods": list(methods), "images": min(GRIDS, count)}
    return {"tables": {TABLE: {"methods": list(methods)}}, "figures": {"qualitative": figure}}


def _refuse_small(images: Sequence[Path], size: int) -> None:
    for path in images:
        height, width = stored_size(path)
        if min(height, width) < size:
            raise InputError(
                f"{path}: {width}x{height} pixels, but images are evaluated at {size}. Give a --size of at most "
                f"{min(height, width)}, or leave the image out."
            )


def _refuse_other_sizes(masks: Mapping[str, Path], images: Mapping[str, Path], is_only: bool) -> None:
    """Refuse masks of another size than their images at once, and not only in the job that reads them."""
    faults = []
    for name, image in images.items():
        hole, shape = stored_size(masks[name]), stored_size(image)
        if sorted(hole) != sorted(shape):  # a camera's rotation flag, which the job applies, may exchange the sides
            faults.append(size_fault(masks[name], hole, image, shape, is_only))
    refuse(faults)


def _masks(
    request: Request, images: Mapping[str, Path], buckets: list[list[float]]
) -> tuple[dict[str, Any], list[list[float]], str]:
    """Return the mask set of a request, those of the config's buckets that it has, and a sentence on the masks."""
    path = Path(request.masks).expanduser()
    if families := _families(request):
        masks = {"source": "family", "family": families}
        return masks, buckets, f"each under a mask of {', '.join(families_of(masks))}"
    paired = {"source": "paired", "path": request.masks, "hole": request.hole}
    if path.is_file():
        if request.draw:
            raise InputError(
                f"--draw: draws masks from a folder, but {request.masks} is one mask, which all images share. Leave "
                "--draw out, or name a folder that contains the mask."
            )
        _refuse_other_sizes(dict.fromkeys(images, path), images, is_only=True)
        return paired, WHOLE, f"all under the mask {request.masks}"
    if not path.exists():
        raise InputError(_no_masks(request.masks))
    found = images_by_id(path)
    named = [name for name in images if name in found]
    if len(named) == len(images) and not request.draw:
        _refuse_other_sizes(found, images, is_only=False)
        return paired, WHOLE, "each under the mask of its name"
    if named and not request.draw:
        lacking = next(name for name in images if name not in found)
        raise InputError(
            f"{request.masks}: {len(named)} of {len(images)} images have a mask of their name, but {lacking} has none. "
            "Add it, or use --draw to give each image masks that are drawn from the folder."
        )
    if len(found) == 1 and not request.draw:
        [only] = found.values()
        _refuse_other_sizes(dict.fromkeys(images, only), images, is_only=True)
        return {**paired, "path": str(only)}, WHOLE, f"all under the mask {only}"
    buckets = _filled_buckets(found.values(), request, buckets)
    shown = ", ".join(f"{low}-{high} %" for low, high in buckets)
    return {**paired, "source": "folder"}, buckets, f"each under a drawn mask of every hole ratio ({shown})"


def _families(request: Request) -> list[str | dict[str, str]]:
    """Return the families that ``masks`` names, published ones and folders; empty if it is one file or folder.

    Raises:
        InputError: one of several is neither, or a folder has no images.
    """
    items = [item.strip() for item in request.masks.split(",")]
    if Path(request.masks).expanduser().exists() or (len(items) == 1 and items[0] not in KNOWN and "=" not in items[0]):
        return []
    if any(not item.strip("= ") or item.endswith("=") for item in items):
        raise InputError(f"--masks {request.masks}: a name or folder is empty. Remove the comma, or name a folder.")
    return [item if item in KNOWN else _folder(item, request.hole) for item in items]


def _folder(item: str, hole: str) -> dict[str, str]:
    """Return the family that a folder of masks is: its path, or its name and path as ``name=path``."""
    name, _, path = ("", "", item) if "=" not in item or Path(item).expanduser().exists() else item.partition("=")
    name, path = name.strip(), path.strip()
    if not path or not Path(path).expanduser().exists():
        raise InputError(_no_masks(path or item))
    list_images(path)  # refuses a file, and a folder without images
    return {"name": name, "path": path, "hole": hole} if name else {"path": path, "hole": hole}


def _no_masks(masks: str) -> str:
    """Return a message on ``masks`` that are no file, no folder and no families."""
    names = sorted(KNOWN)
    unknown = next((name for name in map(str.strip, masks.split(",")) if name not in names), masks)
    hint = f"`{OBJECTS}` needs label maps, which a config names (docs/masks.md)" if unknown == OBJECTS else ""
    return (
        f"{masks}: no such file or folder, and {unknown!r} is not a family of masks. Check the path or the name. "
        f"{hint or near(unknown, names)}"
    )


def _filled_buckets(masks: Iterable[Path], request: Request, given: list[list[float]]) -> list[list[float]]:
    """Return the hole-ratio buckets of the config that have masks."""
    buckets = [Bucket(low, high) for low, high in given]
    found = set()
    for path in progress(list(masks), desc="read masks", unit="mask"):
        mask = read_mask(path, request.hole)
        found.add(bucket_of(int(mask.sum()), mask.size, buckets))
    kept = [[bucket.low, bucket.high] for bucket in buckets if bucket.label in found]
    if not kept:
        shown = ", ".join(f"{bucket.label} %" for bucket in buckets)
        raise InputError(
            f"{request.masks}: no mask has a hole ratio of {shown} with --hole {request.hole}. Check the polarity, or "
            "name masks like their images."
        )
    return kept


def _write(file: Path, config: Mapping[str, Any]) -> None:
    """Write a config's differences from the default one, over which snakemake reads it, and from ``PUBLISHED``."""
    default = read_mapping(DEFAULT)
    changed = merge(_changed(default, config), _changed(merge(default, read_mapping(PUBLISHED)), config))
    text = yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)
    write_text(file, f"# Written by `sair evaluate`, which reads it again, as do `sair verify` and snakemake.\n{text}")


def _changed(base: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            if inner := _changed(base[key], value):
                found[key] = inner
        elif key not in base or base[key] != value:
            found[key] = value
    return found


def _refuse_without_scores(config: Mapping[str, Any]) -> None:
    """Refuse to start without the weights of LPIPS, which every score needs, and of the config's optional metrics."""
    names = dict.fromkeys((*SCORING, *optional_weights(config)))
    lacking = [f"{name}: {how_to_get(entry(name))}" for name in names if not local(entry(name))]
    if lacking:
        raise InputError(f"scores need pretrained files that are not on this machine. {'; '.join(lacking)}.")
