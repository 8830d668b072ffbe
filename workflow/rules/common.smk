def named(paths):
    """Return files that a config or a method file names, as inputs. Jobs run again when their content, a parameter, changes."""
    return [ancient(path) for path in paths]


def shown_seeds(kind, ending):
    """Return the methods of a figure, each with its seed that is nearest to the one of the name's ending."""
    seed = driver.one_line()(project.seed_of)(kind, ending)
    methods = config["figures"].get(kind, {}).get("methods", [])
    return [(name, project.nearest_seed(name, seed)) for name in methods]
