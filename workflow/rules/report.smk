rule table:
    """Aggregate the scores of all rows, beside the paper's numbers."""
    input:
        unpack(table_inputs),
        manifest=lambda w: f"{RESULTS}/{config['tables'][w.table]['dataset']}/manifest.csv",
        segmentation=rules.segmentation.output.table,
    output:
        markdown=f"{RESULTS}/{{table}}.md",
        latex=f"{RESULTS}/{{table}}.tex",
        csv=f"{RESULTS}/{{table}}.csv",
    log:
        f"{RESULTS}/logs/{{table}}.log",
    wildcard_constraints:
        table=r"table\d+",
    conda:
        "../envs/sair.yaml"
    params:
        dataset=lambda w: config["tables"][w.table]["dataset"],
        claims=lambda w: config["tables"][w.table]["claims"],
        config=config,
        scores=lambda w: scores_of(
            config["tables"][w.table]["dataset"], project.rows(w.table)
        ),
        methods=lambda w: {name: project.method(name) for name in project.rows(w.table)},
        code=project.code("reporting", "evaluation/statistics", "evaluation/metrics"),
    script:
        "../scripts/table.py"


rule qualitative:
    """Draw masked input, methods and truth of a few test pictures, one row a bucket."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        predictions=lambda w: expand(
            f"{RESULTS}/{w.dataset}/{{method}}/seed{SEEDS[0]}/predictions",
            method=config["figures"]["qualitative"]["methods"],
        ),
    output:
        expand(
            f"{RESULTS}/figures/qualitative_{{{{dataset}}}}_{{number}}.png",
            number=range(
                1, config["figures"].get("qualitative", {}).get("pictures", 0) + 1
            ),
        ),
    log:
        f"{RESULTS}/logs/{{dataset}}/qualitative.log",
    conda:
        "../envs/sair.yaml"
    params:
        labels=[
            project.method(name)["label"]
            for name in config["figures"].get("qualitative", {}).get("methods", [])
        ],
        code=project.code("reporting", "evaluation/metrics"),
    script:
        "../scripts/qualitative.py"
