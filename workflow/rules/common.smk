def dataset_of(table):
    return config["tables"][table]["dataset"]


def specifications(table):
    return {name: project.method(name) for name in project.rows(table)}


def distances(table):
    return project.distances(table) if project.has_distances else {}
