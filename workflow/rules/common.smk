def named(paths):
    """Return files that a config or a method file names, as inputs. Jobs run again when their content, a parameter, changes."""
    return [ancient(path) for path in paths]
