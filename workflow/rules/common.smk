SEGMENTATION_CODE = (
    "data",
    "files",
    "methods",
    "models",
    "segmentation",
    "evaluation/segmentation",
)
DISTANCE_CODE = ("evaluation/fid", "data/manifest", "files", "weights/networks")
TABLE_CODE = ("reporting", "evaluation")
PAGE = [f"reporting/page/{name}" for name in ("page.html", "style.css", "script.js")]


def dataset_of(table):
    return config["tables"][table]["dataset"]


def specifications(table):
    return {name: project.method(name) for name in project.rows(table)}


def distances(table):
    return project.distances(table) if project.has_distances else {}
