def dataset_of(table):
    return config["tables"][table]["dataset"]


def specifications(table):
    return {name: project.method(name) for name in project.rows(table)}


def distances(table):
    return project.distances(table) if project.has_distances else {}


def named(paths):
    """What a config or a method file names, as inputs. When to run again their content says, which is a parameter."""
    return [ancient(path) for path in paths]


def flat(files):
    """All files of a mapping from methods, whose names must not become those of inputs."""
    return [file for paths in files.values() for file in paths]
