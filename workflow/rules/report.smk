rule quality_table:
    """Aggregate the scores of all rows, beside the paper's numbers."""
    input:
        measured=lambda w: flat(project.measured(w.table)),
        manifest=lambda w: f"{RESULTS}/{dataset_of(w.table)}/manifest.csv",
        clip=rules.segmentation_by_clip.output.table,
        distances=lambda w: flat(distances(w.table)),
        figures=lambda w: project.figures("qualitative", dataset_of(w.table)),
    output:
        markdown=f"{RESULTS}/{{table}}.md",
        latex=f"{RESULTS}/{{table}}.tex",
        csv=report(
            f"{RESULTS}/{{table}}.csv",
            caption="../report/table.rst",
            category="Tables",
        ),
    log:
        f"{RESULTS}/logs/{{table}}.log",
    wildcard_constraints:
        table="|".join(project.tables("quality")) or "none",
    conda:
        "../envs/sair.yaml"
    params:
        config=project.deciding,
        measured=lambda w: project.measured(w.table),
        distances=lambda w: distances(w.table),
        methods=lambda w: specifications(w.table),
        code=project.code("quality_table"),
    script:
        "../scripts/quality_table.py"


rule segmentation_table:
    """Does SIR know what is in the hole? mIoU of masked images without it and with it."""
    input:
        measured=lambda w: flat(project.measured(w.table)),
        manifest=lambda w: f"{RESULTS}/{dataset_of(w.table)}/manifest.csv",
        clip=rules.segmentation_by_clip.output.table,
        figures=lambda w: project.figures("semantic_maps", dataset_of(w.table)),
    output:
        markdown=f"{RESULTS}/{{table}}.md",
        latex=f"{RESULTS}/{{table}}.tex",
        csv=report(
            f"{RESULTS}/{{table}}.csv",
            caption="../report/table.rst",
            category="Tables",
        ),
    log:
        f"{RESULTS}/logs/{{table}}.log",
    wildcard_constraints:
        table="|".join(project.tables("segmentation")) or "none",
    conda:
        "../envs/sair.yaml"
    params:
        config=project.deciding,
        measured=lambda w: project.measured(w.table),
        methods=lambda w: specifications(w.table),
        code=project.code("segmentation_table"),
    script:
        "../scripts/segmentation_table.py"


rule qualitative:
    """Draw masked input, methods and truth of a few test images, one row a bucket (the paper's Fig. 3)."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        predictions=lambda w: expand(
            f"{RESULTS}/{w.dataset}/{{method}}/seed{SEEDS[0]}/predictions",
            method=config["figures"]["qualitative"]["methods"],
        ),
    output:
        report(
            expand(
                f"{RESULTS}/figures/qualitative_{{{{dataset}}}}_{{number}}.png",
                number=range(
                    1, config["figures"].get("qualitative", {}).get("images", 0) + 1
                ),
            ),
            caption="../report/qualitative.rst",
            category="Figures",
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
        shown=config["figures"].get("qualitative", {}).get("images", 0),
        code=project.code("qualitative"),
    script:
        "../scripts/qualitative.py"


rule semantic_maps:
    """Draw semantic maps of masked images before and after SIR (the paper's Fig. 5, left)."""
    input:
        clip=lambda w: driver.one_line()(project.map_encoder)(w.dataset),
        images=f"{RESULTS}/{{dataset}}/images.csv",
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        methods=lambda w: [
            project.checkpoint(name, w.dataset, SEEDS[0])
            for name in config["figures"]["semantic_maps"]["methods"]
        ],
    output:
        report(
            f"{RESULTS}/figures/semantic_maps_{{dataset}}.png",
            caption="../report/semantic_maps.rst",
            category="Figures",
        ),
    log:
        f"{RESULTS}/logs/{{dataset}}/semantic_maps.log",
    conda:
        "../envs/sair.yaml"
    threads: 1
    params:
        labels=[
            project.method(name)["label"]
            for name in config["figures"].get("semantic_maps", {}).get("methods", [])
        ],
        shown=config["figures"].get("semantic_maps", {}).get("images", 0),
        code=lambda w: project.code(
            "semantic_maps",
            *config["figures"]["semantic_maps"]["methods"],
            encoder="clip",
        ),
    script:
        "../scripts/semantic_maps.py"


rule training_curves:
    """Draw loss and validation PSNR over the steps (the paper's Fig. 5, right)."""
    input:
        lambda w: expand(
            f"{RESULTS}/{w.dataset}/{{method}}/seed{SEEDS[0]}/train.csv",
            method=config["figures"]["training_curves"]["methods"],
        ),
    output:
        report(
            f"{RESULTS}/figures/training_curves_{{dataset}}.png",
            caption="../report/training_curves.rst",
            category="Figures",
        ),
    log:
        f"{RESULTS}/logs/{{dataset}}/training_curves.log",
    conda:
        "../envs/sair.yaml"
    params:
        labels=[
            project.method(name)["label"]
            for name in config["figures"].get("training_curves", {}).get("methods", [])
        ],
        code=project.code("training_curves"),
    script:
        "../scripts/training_curves.py"


rule claims:
    """Which of the paper's orderings appear: claimed beside measured differences, paired by image."""
    input:
        measured=[flat(project.measured(table)) for table in config["tables"]],
        clip=rules.segmentation_by_clip.output.table,
    output:
        markdown=f"{RESULTS}/claims.md",
        csv=report(
            f"{RESULTS}/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
        ),
    log:
        f"{RESULTS}/logs/claims.log",
    conda:
        "../envs/sair.yaml"
    params:
        config=project.deciding,
        methods=project.methods,
        measured={table: project.measured(table) for table in config["tables"]},
        code=project.code("claims"),
    script:
        "../scripts/claims.py"


rule conventions:
    """How much of a gain is convention? The same images under every published metric convention."""
    input:
        measured=list(project.conventions().values()),
        manifest=f"{RESULTS}/{project.conventions_dataset}/manifest.csv",
    output:
        markdown=f"{RESULTS}/conventions.md",
        csv=f"{RESULTS}/conventions.csv",
    log:
        f"{RESULTS}/logs/conventions.log",
    conda:
        "../envs/sair.yaml"
    params:
        config=project.deciding,
        methods=specifications(config["conventions"]["table"]),
        measured=project.conventions(),
        code=project.code("conventions"),
    script:
        "../scripts/conventions.py"


rule report:
    """Put everything that was measured on one self-contained page."""
    input:
        project.reported(),
    output:
        report(
            f"{RESULTS}/report.html",
            caption="../report/report.rst",
            category="Report",
        ),
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "../envs/sair.yaml"
    params:
        config=project.deciding,
        methods=project.methods,
        sources=project.report(),
        code=project.code("report"),
    script:
        "../scripts/report.py"
