"""What the workflow asks the library while it plans: the checked config, the methods, their rows and their code.

Nothing here is heavy (no torch), because Snakemake runs it at every start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from sair.common.errors import InputError, near
from sair.data.sources import classes_of
from sair.methods.spec import METHODS, SEMANTICS, UPKEEP, ancestors, load_spec, method_names, processes, with_parameters
from sair.pipeline.config import DEFAULT, SCHEMA, check_classes, check_config, check_name, check_schema, read_schema
from sair.provenance.code import fingerprint
from sair.provenance.inputs import checkouts, digests, named_inputs
from sair.reporting.paper import all_claims
from sair.reporting.reference import counterpart, facts_file, score_files
from sair.weights.sources import entry, local

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ("name", "class", "semantics", "sees_truth", "parameters", "training")


class Project:
    """A checked config with everything that rules derive from it.

    Args:
        config: Snakemake's config.
        schema: path of config.schema.yaml.
        files: what the config was read from, for messages.
    """

    def __init__(
        self, config: dict[str, Any], schema: str | Path = SCHEMA, files: Sequence[str | Path] = (DEFAULT,)
    ) -> None:
        check_config(config, schema, files)
        self.config = config
        self.results = config["results"].rstrip("/")
        changes = config.get("methods", {})
        for name in changes:
            check_name("methods", name, dict.fromkeys(method_names(METHODS)))
        self.methods = {name: self._load(name, METHODS, changes) for name in method_names(METHODS)}
        self.encoders = {name: self._load_encoder(name) for name in method_names(SEMANTICS)}
        self._check_methods(read_schema(schema)["$defs"])
        classes = list(classes_of(config["datasets"][config["semantics"]["dataset"]]))
        self.encoders = {name: with_parameters(spec, classes=classes) for name, spec in self.encoders.items()}
        for name, spec in self.methods.items():
            if spec["semantics"]:
                check_name(f"{METHODS / name}.yaml, semantics", spec["semantics"], self.encoders)
        if "variant" in config:
            check_name("variant", config["variant"], self.methods)
        for figure in config["figures"].values():
            for name in figure["methods"]:
                self.method(name)
        check_name("conventions.table", config["conventions"]["table"], dict.fromkeys(self.tables("quality")))
        for name in chain.from_iterable(config["conventions"]["pairs"]):
            check_name("conventions.pairs", name, self.conventions())
        self._upkeep = {"method": _take_upkeep(self.methods), "encoder": _take_upkeep(self.encoders)}

    def _check_methods(self, definitions: dict[str, Any]) -> None:
        """Refuse method and encoder files with a name or a training that the schema does not allow."""
        for name in self.methods.keys() & self.encoders.keys():
            raise InputError(
                f"{METHODS / name}.yaml: {SEMANTICS / name}.yaml has that name, too, and their results would share a "
                "folder. Rename one."
            )
        for folder, specs in ((METHODS, self.methods), (SEMANTICS, self.encoders)):
            check_schema(str(folder), specs, {"propertyNames": definitions["method"]})
            for name, spec in specs.items():
                training = {"training": spec["training"] or {}}
                check_schema(f"{folder / name}.yaml", training, {"properties": {"training": definitions["training"]}})

    def _load(self, name: str, folder: Path, changes: dict[str, Any] | None = None) -> dict[str, Any]:
        return load_spec(name, folder, self.config["preset"], self.config["training"], changes)

    def _load_encoder(self, name: str) -> dict[str, Any]:
        spec = self._load(name, SEMANTICS)
        if spec["weights"]:
            raise InputError(
                f"{SEMANTICS / name}.yaml, weights: an encoder's checkpoint is made by the workflow. Name a file of "
                "pretrained weights in `parameters`: `pretrained`."
            )
        return spec

    def method(self, name: str) -> dict[str, Any]:
        """A method's specification.

        Raises:
            InputError: an unknown name; the message lists the near ones.
        """
        if name not in self.methods:
            raise InputError(f"unknown method {name!r}: there is no {METHODS / name}.yaml. {near(name, self.methods)}")
        return self.methods[name]

    @property
    def deciding(self) -> dict[str, Any]:
        """The config without what changes no result, for rules that print from it."""
        config = {key: value for key, value in self.config.items() if key not in ("shards", "variant", "against")}
        config["training"] = _without_upkeep(config["training"])
        # Which method was changed in what way is part of the methods' specifications.
        config.pop("methods", None)
        return dict(sorted(config.items()))  # a key of a --configfile comes before those of config.yaml

    def recipe(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a specification that decides what it computes; its labels and places do not."""
        return {key: spec[key] for key in RECIPE}

    def upkeep(self, kind: str, name: str, key: str) -> int:
        """Return a setting of a ``method``'s or ``encoder``'s training that decides no weight; 0 without training."""
        return self._upkeep[kind][name].get(key, 0)

    def inputs(self, spec: dict[str, Any]) -> list[str]:
        """Return the files and folders that a specification's parameters name; {} names none."""
        return named_inputs(spec.get("parameters", {}))

    def content(self, spec: dict[str, Any]) -> dict[str, str]:
        """Return digests of all that a specification names: its inputs, weights and checkouts of foreign code."""
        over = [self.method(spec["over"])] if spec.get("over") else []
        weights = [given["weights"] for given in (spec, *over) if given.get("weights")]
        files = [*self.inputs(spec), *(path for path in weights if Path(path).is_file())]
        return digests(files, checkouts(spec.get("parameters", {})))

    def checkouts(self) -> list[str]:
        """Return the folders of foreign code that the method files name."""
        return sorted({folder for spec in self.methods.values() for folder in checkouts(spec["parameters"])})

    def predictor(self, name: str) -> dict[str, Any]:
        """Return what prediction builds a method from: its specification, or {} where that is all in its checkpoint."""
        return {} if self.learns(name) else self.method(name)

    def learns(self, name: str) -> bool:
        """Whether a method has to be trained."""
        return self.method(name)["training"] is not None

    def training_threads(self, name: str) -> int:
        """Threads of a method's training: one for each of its processes."""
        return max(1, processes(self.method(name)))

    def rows(self, table: str) -> list[str]:
        """Methods that a table shows."""
        return [name for name, spec in self.methods.items() if table in spec["tables"]]

    def tables(self, measure: str) -> list[str]:
        """The config's tables whose claims are of this measure: ``quality`` of images, or ``segmentation``."""
        return [
            name for name, table in self.config["tables"].items() if all_claims()[table["claims"]]["measure"] == measure
        ]

    def seeds(self, name: str) -> list[int]:
        """Training seeds of a method; one that learns nothing has one."""
        return self.config["seeds"] if self.learns(name) else self.config["seeds"][:1]

    def of(self, dataset: str, method: str, seed: int | str) -> str:
        """Folder of one method's results."""
        return f"{self.results}/{dataset}/{method}/seed{seed}"

    @property
    def clip(self) -> str:
        """Folder of the CLIP that segments, and of its segmentation.csv."""
        return f"{self.results}/{self.config['semantics']['dataset']}/clip"

    def map_encoder(self, dataset: str) -> str:
        """Return the checkpoint of the CLIP whose classes the figure of semantic maps compares with labels.

        Raises:
            InputError: the dataset has other classes.
        """
        check_classes(self.config, "figures.semantic_maps.dataset", dataset)
        return f"{self.clip}/checkpoint.safetensors"

    def encoder(self, name: str) -> str | list[str]:
        """Checkpoint of the semantic encoder that a method needs; an empty list for none."""
        encoder = self.method(name)["semantics"]
        dataset = self.config["semantics"]["dataset"]
        return f"{self.results}/{dataset}/{encoder}/checkpoint.safetensors" if encoder else []

    def learnt_from(self, dataset: str) -> str | list[str]:
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

    def checkpoint(self, name: str | None, dataset: str, seed: int | str) -> str | list[str]:
        """A method's weights: trained here, or the file that it names; an empty list for what has none."""
        if name is None:
            return []
        if self.learns(name):
            return f"{self.of(dataset, name, seed)}/checkpoint.safetensors"
        return self.method(name)["weights"] or []

    def measured(self, table: str) -> dict[str, list[str]]:
        """Return what a table is made from, by method: its score files or its segmentation.csv, one per seed."""
        dataset = self.config["tables"][table]["dataset"]
        file = "scores.csv" if table in self.tables("quality") else "segmentation.csv"
        return {m: [f"{self.of(dataset, m, seed)}/{file}" for seed in self.seeds(m)] for m in self.rows(table)}

    def distances(self, table: str) -> dict[str, list[str]]:
        """FID and KID of a table of qualities by method, a file a seed."""
        dataset = self.config["tables"][table]["dataset"]
        return {m: [f"{self.of(dataset, m, seed)}/fid.csv" for seed in self.seeds(m)] for m in self.rows(table)}

    @property
    def has_distances(self) -> bool:
        """Whether FID and KID are wanted, and their network's weights are on this machine."""
        return self.config["fid"] and bool(local(entry("inception")))

    def against(self, variant: str) -> list[str]:
        """What a variant may be compared with in the reference, in order of preference."""
        if self.config.get("against"):
            return [self.config["against"]]
        return [variant, *ancestors(variant, METHODS)]

    def reference(self, variant: str) -> list[str]:
        """Return the files of the stored reference that a variant is compared with.

        Raises:
            InputError: there is no reference, or it holds none of those methods.
        """
        folder = self.config["regression"]["reference"]
        files = [facts_file(folder), *score_files(folder, counterpart(self.against(variant), folder))]
        return [str(path) for path in files]

    @property
    def conventions_dataset(self) -> str:
        """Dataset whose images the table of conventions is about."""
        return self.config["tables"][self.config["conventions"]["table"]]["dataset"]

    def conventions(self) -> dict[str, list[str]]:
        """Return what the table of conventions is made from, by method: its conventions.csv, one per seed."""
        rows, dataset = self.rows(self.config["conventions"]["table"]), self.conventions_dataset
        return {m: [f"{self.of(dataset, m, seed)}/conventions.csv" for seed in self.seeds(m)] for m in rows}

    def figures(self, kind: str, dataset: str) -> list[str]:
        """Files of one of the config's figures, if it is drawn on this dataset."""
        settings = self.config["figures"].get(kind)
        if settings is None or settings["dataset"] != dataset:
            return []
        numbers = [f"_{n}" for n in range(1, settings["images"] + 1)] if kind == "qualitative" else [""]
        return [f"{self.results}/figures/{kind}_{dataset}{number}.png" for number in numbers]

    def report(self) -> dict[str, Any]:
        """What the report is made from (``sair.reporting.report.Sources``)."""
        dataset, seed = self.config["report"]["dataset"], self.config["seeds"][0]
        tables = self.tables("quality")
        rows = [m for t in tables if self.config["tables"][t]["dataset"] == dataset for m in self.rows(t)]
        methods = [m for m in dict.fromkeys(rows) if not self.method(m)["sees_truth"]]
        maps = self.config["figures"].get("semantic_maps")
        return {
            "tables": {table: f"{self.results}/{table}.csv" for table in self.config["tables"]},
            "claims": f"{self.results}/claims.csv",
            "logs": {m: f"{self.of(dataset, m, seed)}/train.csv" for m in methods if self.learns(m)},
            "maps": self.figures("semantic_maps", maps["dataset"]) if maps else [],
            "images": f"{self.results}/{dataset}/images.csv",
            "manifest": f"{self.results}/{dataset}/manifest.csv",
            "scores": {m: f"{self.of(dataset, m, seed)}/scores.csv" for m in methods},
            "predictions": {m: f"{self.of(dataset, m, seed)}/predictions" for m in methods},
        }

    def reported(self) -> list[str]:
        """Every file and folder that a complete report is made from."""
        files: list[str] = []
        for part in self.report().values():
            files += [part] if isinstance(part, str) else part.values() if isinstance(part, dict) else part
        return files

    def code(self, script: str, *methods: str, encoder: str | None = None) -> str:
        """Return the fingerprint of a rule's code, so that it runs again when what it computes with changed.

        Args:
            script: the rule's script, by its name in ``workflow/scripts``.
            methods: also the classes of these methods, of what they are built over, and of their semantic encoders.
            encoder: also the class of this semantic encoder.
        """
        specs = [self.method(name) for name in methods]
        names = [encoder, *(spec["semantics"] for spec in specs)]
        specs += [self.encoders[name] for name in names if name is not None]
        return fingerprint(ROOT / "workflow/scripts" / f"{script}.py", chain.from_iterable(map(_classes, specs)))


def _take_upkeep(specs: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Take out of specifications what decides no weight, and return it by their names."""
    return {
        name: {key: spec["training"].pop(key) for key in UPKEEP if spec["training"]} for name, spec in specs.items()
    }


def _without_upkeep(training: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in training.items() if key not in UPKEEP}


def _classes(value: Any) -> Iterator[str]:
    """Yield every ``class`` that a specification names, its own and those nested in its parameters."""
    if isinstance(value, dict):
        if isinstance(value.get("class"), str):
            yield value["class"]
        yield from chain.from_iterable(map(_classes, value.values()))
    elif isinstance(value, list):
        yield from chain.from_iterable(map(_classes, value))
