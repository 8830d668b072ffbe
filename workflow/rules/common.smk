SEGMENTATION_CODE = (
    "data",
    "files",
    "methods",
    "models",
    "segmentation",
    "evaluation/segmentation",
)
TABLE_CODE = ("reporting", "evaluation")


def encoder_of(method):
    """Checkpoint of the semantic encoder that a method needs, if any."""
    name = project.method(method)["semantics"]
    return (
        f"{RESULTS}/{config['semantics']['dataset']}/{name}/checkpoint.safetensors"
        if name
        else []
    )


def checkpoint_of(method, dataset, seed):
    """A method's weights: trained here, or the file that it names; none for what has no weights."""
    if method is None:
        return []
    if project.learns(method):
        return f"{RESULTS}/{dataset}/{method}/seed{seed}/checkpoint.safetensors"
    return project.method(method)["weights"] or []


def scores_of(dataset, methods):
    """Score files of every method and seed; a method that learns nothing has one seed."""
    return {
        method: expand(
            f"{RESULTS}/{dataset}/{method}/seed{{seed}}/scores.csv",
            seed=SEEDS if project.learns(method) else SEEDS[:1],
        )
        for method in methods
    }


def segmentations_of(dataset, methods):
    """How every method's first seed segments."""
    return {
        method: f"{RESULTS}/{dataset}/{method}/seed{SEEDS[0]}/segmentation.csv"
        for method in methods
    }


def dataset_of(table):
    return config["tables"][table]["dataset"]


def specifications(table):
    return {name: project.method(name) for name in project.rows(table)}


def figure(kind, dataset):
    """Files of one of the config's figures, if it is drawn on this dataset."""
    settings = config["figures"].get(kind)
    if settings is None or settings["dataset"] != dataset:
        return []
    numbers = (
        [f"_{n}" for n in range(1, settings["pictures"] + 1)]
        if kind == "qualitative"
        else [""]
    )
    return [f"{RESULTS}/figures/{kind}_{dataset}{number}.png" for number in numbers]


def measured_of_tables():
    """Score files, or segmentations, of every method of every table."""
    measured = {
        table: scores_of(dataset_of(table), project.rows(table))
        for table in project.tables("quality")
    }
    for table in project.tables("segmentation"):
        measured[table] = segmentations_of(dataset_of(table), project.rows(table))
    return measured


def all_measured_files():
    for methods in measured_of_tables().values():
        for files in methods.values():
            yield from [files] if isinstance(files, str) else files
