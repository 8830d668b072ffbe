"""Plan a run: the checked config, its methods, and the paths, inputs and code of every job.

The inputs of the pages (tables, claims, conventions, report) are in ``sair.pipeline.pages``. Nothing here imports
torch, because Snakemake runs it at every start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from sair.common.errors import InputError
from sair.evaluation.metrics.features import NETWORKS
from sair.methods.spec import METHODS, UPKEEP, ancestors, processes, with_parameters
from sair.pipeline.config import DEFAULT, SCHEMA, check_classes, check_config, check_name, read_schema
from sair.pipeline.registry import Registry, Spec
from sair.provenance.code import fingerprint
from sair.provenance.inputs import checkouts, digests, named_inputs
from sair.reporting.inputs import QUALITY, SEGMENTATION, Layout, layout, optional_metrics, training_seeds
from sair.reporting.reference import counterpart, facts_file, score_files
from sair.weights.sources import entry, local

ROOT = Path(__file__).resolve().parents[2]
NOT_DECIDING = ("shards", "gpu_jobs", "variant", "against")  # keys of the config that change no result
FID_NETWORK = "inception"  # whose features are stored for FID and KID in any case
RECIPE = ("name", "class", "semantics", "sees_truth", "parameters", "training")  # decides what a method computes


class Project:
    """A checked config with everything that rules derive from it.

    Args:
        config: Snakemake's config.
        schema: path of config.schema.yaml.
        files: the files that the config was read from, for messages.

    Raises:
        InputError: the config, a method file or an encoder file is wrong.
    """

    def __init__(
        self, config: dict[str, Any], schema: str | Path = SCHEMA, files: Sequence[str | Path] = (DEFAULT,)
    ) -> None:
        check_config(config, schema, files)
        self.config = config
        self.results = config["results"].rstrip("/")
        self.registry = Registry(config, read_schema(schema)["$defs"])
        self._check_names()

    def _check_names(self) -> None:
        """Refuse a config that names a method or table that does not exist."""
        for name in self.config.get("fewest_seeds") or {}:
            check_name("fewest_seeds", name, self.methods)
        if "variant" in self.config:
            check_name("variant", self.config["variant"], self.methods)
        for figure in self.config["figures"].values():
            for name in figure["methods"]:
                self.method(name)
        for table in self.config["tables"]:
            self._check_rows(table)
        self._check_pairs()

    def _check_rows(self, table: str) -> None:
        """Refuse rows that need training images, or semantics, which there are not."""
        dataset, rows = self.layout(table).dataset, self.rows(table)
        trained = [name for name in rows if self.is_trained(name)]
        if trained and self.config["datasets"][dataset]["train"] == 0:
            raise InputError(
                f"config, tables.{table}: {trained[0]} is trained, but {dataset!r} has no training images (`train: 0`)."
                f" Name released weights (`methods: {{{trained[0]}: {{weights: FILE}}}}`), raise `train`, or remove "
                "the method."
            )
        without = [name for name in rows if not self.method(name)["semantics"]]
        if without and self.layout(table).measure == SEGMENTATION:
            raise InputError(
                f"config, tables.{table}: {without[0]} has no `semantics`, by which the methods of a table of "
                "segmentation find classes. Remove it from the table."
            )

    def _check_pairs(self) -> None:
        """Refuse a page of conventions of a table that is not one of images, and pairs that are not among its rows."""
        conventions = self.config["conventions"]
        table = conventions["table"]
        check_name("conventions.table", table, self.tables(QUALITY))
        rows = self.rows(table)
        for name in chain.from_iterable(conventions["pairs"]):
            check_name("conventions.pairs", name, self.methods)
            if name not in rows:
                raise InputError(
                    f"config, conventions.pairs: {name!r} is no row of `{table}`, the table of these pairs "
                    f"(`conventions.table`). Name pairs of its rows: {', '.join(rows)}."
                )

    # ----------------------------------------------------------------------------------------------------------------
    # Methods

    @property
    def methods(self) -> dict[str, Spec]:
        """Specifications of all methods by name."""
        return self.registry.methods

    @property
    def encoders(self) -> dict[str, Spec]:
        """Specifications of all semantic encoders by name."""
        return self.registry.encoders

    def method(self, name: str) -> Spec:
        """Return a method's specification.

        Raises:
            InputError: an unknown name; the message lists the near ones.
        """
        return self.registry.method(name)

    def is_trained(self, name: str) -> bool:
        """Return whether the workflow trains this method."""
        return self.method(name)["training"] is not None

    def seeds(self, name: str) -> list[int]:
        """Return the training seeds of a method; one that is not trained has one for each of its ``samples``."""
        if self.is_trained(name):
            return training_seeds(self.config, name)
        first = self.config["seeds"][0]
        return list(range(first, first + self.method(name)["samples"]))

    def sample(self, name: str, seed: int | str) -> Spec:
        """Return the specification that predicts one sample: of several, each adds its number to parameter ``seed``."""
        spec = self.method(name)
        if spec["samples"] == 1:
            return spec
        number = int(seed) - self.config["seeds"][0]
        return with_parameters(spec, seed=spec["parameters"].get("seed", 0) + number)

    def sampled(self, table: str) -> list[str]:
        """Return the methods of a table of which several samples are drawn."""
        return [name for name in self.rows(table) if self.method(name)["samples"] > 1]

    def diversity(self, dataset: str, method: str) -> str:
        """Return the diversity.csv of a method with several samples."""
        return f"{self.results}/{dataset}/{method}/diversity.csv"

    def training_threads(self, name: str) -> int:
        """Return the number of threads of a method's training: one for each of its processes."""
        return max(1, processes(self.method(name)))

    def upkeep(self, kind: str, name: str, key: str) -> int:
        """Return a setting of a ``method``'s or ``encoder``'s training that decides no weight; 0 without training."""
        return self.registry.upkeep(kind, name, key)

    def predictor(self, name: str) -> Spec:
        """Return the specification that prediction builds a method from; {} if the checkpoint contains everything."""
        return {} if self.is_trained(name) else self.method(name)

    # ----------------------------------------------------------------------------------------------------------------
    # When a job runs again

    @property
    def deciding(self) -> dict[str, Any]:
        """The config without the settings that change no result, for rules that print from it."""
        config = {key: value for key, value in self.config.items() if key not in NOT_DECIDING}
        config["training"] = {key: value for key, value in config["training"].items() if key not in UPKEEP}
        # The changes to methods are already part of the methods' specifications.
        config.pop("methods", None)
        return dict(sorted(config.items()))  # a key of a --configfile comes before those of config.yaml

    def recipe(self, spec: Spec) -> Spec:
        """Return the part of a specification that decides what it computes, without its label and tables."""
        return {key: spec[key] for key in RECIPE}

    def inputs(self, spec: Spec) -> list[str]:
        """Return the files and folders that a specification's parameters name; {} names none."""
        return named_inputs(spec.get("parameters", {}))

    def content(self, spec: Spec) -> dict[str, str]:
        """Return digests of everything that a specification names: inputs, weights and checkouts of foreign code."""
        over = [self.method(spec["over"])] if spec.get("over") else []
        weights = [given["weights"] for given in (spec, *over) if given.get("weights")]
        files = [*self.inputs(spec), *(path for path in weights if Path(path).is_file())]
        return digests(files, checkouts(spec.get("parameters", {})))

    def checkouts(self) -> list[str]:
        """Return the folders of foreign code that the method files name."""
        return sorted({folder for spec in self.methods.values() for folder in checkouts(spec["parameters"])})

    def code_fingerprint(self, script: str, *methods: str, encoder: str | None = None) -> str:
        """Return the fingerprint of a rule's code, so that the rule runs again when that code changes.

        Args:
            script: the rule's script, by its name in ``workflow/scripts``.
            methods: also the classes of these methods, of the methods under them, and of their encoders.
            encoder: also the class of this semantic encoder.
        """
        specs = [self.method(name) for name in methods]
        names = [encoder, *(spec["semantics"] for spec in specs)]
        specs += [self.encoders[name] for name in names if name is not None]
        return fingerprint(ROOT / "workflow/scripts" / f"{script}.py", chain.from_iterable(map(_classes, specs)))

    # ----------------------------------------------------------------------------------------------------------------
    # Paths

    def run_folder(self, dataset: str, method: str, seed: int | str) -> str:
        """Return the folder of one method's results on one dataset with one seed."""
        return f"{self.results}/{dataset}/{method}/seed{seed}"

    def of_every_seed(self, dataset: str, method: str, file: str) -> list[str]:
        """Return a file in the run folders of one method, one per seed."""
        return [f"{self.run_folder(dataset, method, seed)}/{file}" for seed in self.seeds(method)]

    def manifest(self, dataset: str) -> str:
        """Return the manifest.csv of a dataset."""
        return f"{self.results}/{dataset}/manifest.csv"

    def checkpoint(self, name: str | None, dataset: str, seed: int | str) -> str | list[str]:
        """Return a method's weights: trained here, or the file that it names; an empty list if there are none."""
        if name is None:
            return []
        if self.is_trained(name):
            return f"{self.run_folder(dataset, name, seed)}/checkpoint.safetensors"
        return self.method(name)["weights"] or []

    def encoder_folder(self, encoder: str, seed: int | str) -> str:
        """Return the folder of the semantic encoder that goes with a method's training seed.

        An encoder is trained anew for each seed, with that seed. One that is not trained is the same for all.
        """
        of = seed if self.encoders[encoder]["training"] else self.config["seeds"][0]
        return self.run_folder(self.config["semantics"]["dataset"], encoder, of)

    def clip_segmentations(self, methods: Iterable[str]) -> list[str]:
        """Return the segmentation.csv of the CLIP that segments, one for each seed of these methods."""
        seeds = dict.fromkeys(chain.from_iterable(map(self.seeds, methods)))
        folders = dict.fromkeys(self.encoder_folder("clip", seed) for seed in seeds or self.config["seeds"])
        return [f"{folder}/segmentation.csv" for folder in folders]

    def map_encoder(self, dataset: str, seed: int) -> str:
        """Return the checkpoint of the CLIP whose classes a figure of semantic maps compares with labels.

        Raises:
            InputError: the dataset has other classes.
        """
        check_classes(self.config, "figures.semantic_maps.dataset", dataset)
        return f"{self.encoder_folder('clip', seed)}/checkpoint.safetensors"

    def encoder(self, name: str, seed: int | str) -> str | list[str]:
        """Return the checkpoint of the semantic encoder that a method needs; an empty list if it needs none."""
        encoder = self.method(name)["semantics"]
        return f"{self.encoder_folder(encoder, seed)}/checkpoint.safetensors" if encoder else []

    def trained_on(self, dataset: str) -> str | list[str]:
        """Return images.csv of another dataset on which this one's semantic encoders are trained, if there is one.

        Only folders count, as no embedded image is one of another dataset, and encoders that are not pretrained.
        """
        source = self.config["semantics"]["dataset"]
        uses = [(use["dataset"], self.rows(name)) for name, use in self.config["tables"].items()]
        uses += [(use["dataset"], use["methods"]) for use in self.config["figures"].values()]
        encoders = {self.method(name)["semantics"] for on, names in uses if on == dataset for name in names} - {None}
        trained = any(self.encoders[name]["training"] for name in encoders)
        folders = all(self.config["datasets"][name]["source"] == "folder" for name in (dataset, source))
        return f"{self.results}/{source}/images.csv" if trained and folders and dataset != source else []

    def figures(self, kind: str, dataset: str, seeds: Sequence[int] | None = None) -> list[str]:
        """Return the files of one of the config's figures, if it is drawn on this dataset.

        Args:
            kind: its name in the config. Training curves are of all seeds in one figure.
            dataset: its name in the config.
            seeds: those whose images are shown; None for every seed of the config.
        """
        settings = self.config["figures"].get(kind)
        if settings is None or settings["dataset"] != dataset:
            return []
        first, *others = self.config["seeds"] if seeds is None else seeds
        shown = [first] if kind == "training_curves" else [first, *others]
        numbers = [f"_{n}" for n in range(1, settings["images"] + 1)] if kind == "qualitative" else [""]
        folder = f"{self.results}/figures"
        return [f"{folder}/{kind}_{dataset}{n}{self._of_seed(seed)}.png" for seed in shown for n in numbers]

    def _of_seed(self, seed: int) -> str:
        """Return what the names of a seed's figures end with: nothing for the config's first."""
        return "" if seed == self.config["seeds"][0] else f"_seed{seed}"

    def seed_of(self, kind: str, ending: str) -> int:
        """Return the seed of a figure whose name ends so: one of the config, or a further one of its methods.

        Raises:
            InputError: there is no such seed, or another name is that of its figure.
        """
        methods = self.config["figures"].get(kind, {}).get("methods", [])
        seeds = dict.fromkeys(chain(self.config["seeds"], *map(self.seeds, methods)))
        endings = {self._of_seed(seed): seed for seed in seeds}
        if ending not in endings:
            first, *others = endings.values()
            further = "".join(f", `_seed{seed}` for seed {seed}" for seed in others)
            raise InputError(
                f"config, seeds: there is no figure `{kind}` with the ending `{ending}`. It has none for seed "
                f"{first}{further}."
            )
        return endings[ending]

    def nearest_seed(self, name: str, seed: int) -> int:
        """Return a seed of a method for a figure of one seed: this one, or its first if it was not run with it."""
        own = self.seeds(name)
        return seed if seed in own else own[0]

    def title(self, name: str, seed: int) -> str:
        """Return a method's label above its image, with the training or the sample that drew it if it has several."""
        kind = "seed" if self.is_trained(name) else "sample"
        return self.method(name)["label"] + (f", {kind} {seed}" if len(self.seeds(name)) > 1 else "")

    # ----------------------------------------------------------------------------------------------------------------
    # Tables

    @property
    def optional_metrics(self) -> list[str]:
        """The names of the optional metrics that are measured: of the config's ``metrics``, and of its tables."""
        return [metric.name for metric in optional_metrics(self.config)]

    def layout(self, table: str) -> Layout:
        """Return what a table shows."""
        return layout(self.config, table)

    def tables(self, measure: str) -> list[str]:
        """Return the config's tables of one measure: ``quality`` of images, or ``segmentation``."""
        return [name for name in self.config["tables"] if self.layout(name).measure == measure]

    def rows(self, table: str) -> list[str]:
        """Return the methods that a table shows: those that the config names, then those whose files name the table.

        With ``only`` the config names all of them.
        """
        settings = self.config["tables"][table]
        if "only" in settings:
            return list(settings["only"])
        named = settings.get("methods", [])
        return list(dict.fromkeys([*named, *(name for name, spec in self.methods.items() if table in spec["tables"])]))

    def specifications(self, table: str) -> dict[str, Spec]:
        """Return the specifications of the methods that a table shows, in the table's order."""
        return {name: self.method(name) for name in self.rows(table)}

    def captions(self, dataset: str) -> str | list[str]:
        """Return the images.csv of a dataset, if a metric of the config compares predictions with captions."""
        named = [metric for metric in optional_metrics(self.config) if metric.captioned is not None]
        return f"{self.results}/{dataset}/images.csv" if named else []

    def measured(self, table: str) -> dict[str, list[str]]:
        """Return what a table shows of each method: its scores.csv or its segmentation.csv, one per seed."""
        shown = self.layout(table)
        file = "scores.csv" if shown.measure == QUALITY else "segmentation.csv"
        return {method: self.of_every_seed(shown.dataset, method, file) for method in self.rows(table)}

    def distances(self, table: str, file: str = "fid.csv") -> dict[str, list[str]]:
        """Return the fid.csv, or the distances.<network>.csv, of each method of a table of quality, one per seed."""
        dataset = self.layout(table).dataset
        return {method: self.of_every_seed(dataset, method, file) for method in self.rows(table)}

    def network_distances(self, table: str) -> dict[str, dict[str, list[str]]]:
        """Return the distances.<network>.csv of each method of a table, for the networks whose weights are here."""
        return {
            network: self.distances(table, f"distances.{network}.csv")
            for network in self.config.get("distances", ())
            if local(entry(NETWORKS[network].entry))
        }

    def features(self, network: str, dataset: str, method: str | None = None, seed: int | str = 0) -> str:
        """Return the file of a network's features: of the ground truths, or of a method's images."""
        ending = "safetensors" if network == FID_NETWORK else f"{network}.safetensors"
        if method is None:
            return f"{self.results}/{dataset}/truth_features.{ending}"
        return f"{self.run_folder(dataset, method, seed)}/features.{ending}"

    @property
    def has_distances(self) -> bool:
        """Whether the config enables FID and KID, and their network's weights are on this machine."""
        return self.config["fid"] and bool(local(entry("inception")))

    # ----------------------------------------------------------------------------------------------------------------
    # The regression check

    def against(self, variant: str) -> list[str]:
        """Return the methods of the reference that a variant may be compared with, in order of preference."""
        if self.config.get("against"):
            return [self.config["against"]]
        return [variant, *ancestors(variant, METHODS)]

    def reference(self, variant: str) -> list[str]:
        """Return the files of the stored reference that a variant is compared with.

        Raises:
            InputError: there is no reference, or it contains none of those methods.
        """
        folder = self.config["regression"]["reference"]
        files = [facts_file(folder), *score_files(folder, counterpart(self.against(variant), folder))]
        return [str(path) for path in files]


def _classes(value: Any) -> Iterator[str]:
    """Yield every ``class`` that a specification names, its own and those nested in its parameters."""
    if isinstance(value, dict):
        if isinstance(value.get("class"), str):
            yield value["class"]
        yield from chain.from_iterable(map(_classes, value.values()))
    elif isinstance(value, list):
        yield from chain.from_iterable(map(_classes, value))
