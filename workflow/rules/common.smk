def scores_of(dataset, methods):
    """Score files of every method and seed; a method that learns nothing has one seed."""
    return {
        method: expand(
            f"{RESULTS}/{dataset}/{method}/seed{{seed}}/scores.csv",
            seed=SEEDS if project.learns(method) else SEEDS[:1],
        )
        for method in methods
    }


def table_inputs(wildcards):
    dataset = config["tables"][wildcards.table]["dataset"]
    inputs = scores_of(dataset, project.rows(wildcards.table))
    if "qualitative" in config["figures"]:
        inputs["figures"] = expand(
            f"{RESULTS}/figures/qualitative_{dataset}_{{number}}.png",
            number=range(1, config["figures"]["qualitative"]["pictures"] + 1),
        )
    return inputs
