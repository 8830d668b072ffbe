rule table:
    """Aggregate the scores of all rows of a table, beside the paper's numbers if it has a counterpart there."""
    input:
        lambda w: pages.table_inputs(project, w.table).files(),
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
    conda:
        "../envs/sair.yaml"
    params:
        config=project.deciding,
        inputs=lambda w: asdict(pages.table_inputs(project, w.table)),
        methods=lambda w: project.specifications(w.table),
        code=project.code_fingerprint("table"),
    script:
        "../scripts/table.py"


rule qualitative:
    """Draw masked input, predictions and ground truth of a few test images, one row per bucket (the paper's Fig. 3)."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        predictions=lambda w: [
            f"{project.run_folder(w.dataset, name, seed)}/predictions"
            for name, seed in shown_seeds("qualitative", w.seed)
        ],
    output:
        report(
            expand(
                f"{RESULTS}/figures/qualitative_{{{{dataset}}}}_{{number}}{{{{seed}}}}.png",
                number=range(
                    1, config["figures"].get("qualitative", {}).get("images", 0) + 1
                ),
            ),
            caption="../report/qualitative.rst",
            category="Figures",
        ),
    log:
        f"{RESULTS}/logs/{{dataset}}/qualitative{{seed}}.log",
    wildcard_constraints:
        seed="(?:_seed[0-9]+)?",  # none: the first
    conda:
        "../envs/sair.yaml"
    params:
        titles=lambda w: [
            project.title(name, seed)
            for name, seed in shown_seeds("qualitative", w.seed)
        ],
        shown=config["figures"].get("qualitative", {}).get("images", 0),
        code=project.code_fingerprint("qualitative"),
    script:
        "../scripts/qualitative.py"


rule semantic_maps:
    """Draw semantic maps of masked images before and after SIR (the paper's Fig. 5, left)."""
    input:
        clip=lambda w: driver.one_line()(project.map_encoder)(
            w.dataset, project.seed_of("semantic_maps", w.seed)
        ),
        images=f"{RESULTS}/{{dataset}}/images.csv",
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        methods=lambda w: [
            project.checkpoint(name, w.dataset, seed)
            for name, seed in shown_seeds("semantic_maps", w.seed)
        ],
    output:
        report(
            f"{RESULTS}/figures/semantic_maps_{{dataset}}{{seed}}.png",
            caption="../report/semantic_maps.rst",
            category="Figures",
        ),
    log:
        f"{RESULTS}/logs/{{dataset}}/semantic_maps{{seed}}.log",
    wildcard_constraints:
        # Its own dataset first: another may be called as this one with the ending of a seed.
        dataset="|".join(
            map(
                re.escape,
                dict.fromkeys([config["semantics"]["dataset"], *config["datasets"]]),
            )
        ),
        seed="(?:_seed[0-9]+)?",
    conda:
        "../envs/sair.yaml"
    params:
        titles=lambda w: [
            project.title(name, seed)
            for name, seed in shown_seeds("semantic_maps", w.seed)
        ],
        shown=config["figures"].get("semantic_maps", {}).get("images", 0),
        code=lambda w: project.code_fingerprint(
            "semantic_maps",
            *config["figures"]["semantic_maps"]["methods"],
            encoder="clip",
        ),
    script:
        "../scripts/semantic_maps.py"


rule training_curves:
    """Draw loss and validation PSNR over the steps (the paper's Fig. 5, right)."""
    input:
        lambda w: sum(pages.training_logs(project, w.dataset).values(), []),
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
        logs=lambda w: pages.training_logs(project, w.dataset),
        code=project.code_fingerprint("training_curves"),
    script:
        "../scripts/training_curves.py"


CLAIMS = pages.claims_inputs(project)

if CLAIMS:

    rule claims:
        """Judge the orderings that the paper states: claimed and measured differences, paired by image."""
        input:
            CLAIMS.files(),
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
            inputs=asdict(CLAIMS),
            methods=project.methods,
            code=project.code_fingerprint("claims"),
        script:
            "../scripts/claims.py"


rule conventions:
    """Show how much of a gain is convention: the same images under every published metric convention."""
    input:
        pages.conventions_inputs(project).files(),
    output:
        markdown=f"{RESULTS}/conventions.md",
        csv=f"{RESULTS}/conventions.csv",
    log:
        f"{RESULTS}/logs/conventions.log",
    conda:
        "../envs/sair.yaml"
    params:
        config=project.deciding,
        inputs=asdict(pages.conventions_inputs(project)),
        methods=project.specifications(config["conventions"]["table"]),
        code=project.code_fingerprint("conventions"),
    script:
        "../scripts/conventions.py"


rule report:
    """Put everything that was measured on one self-contained page."""
    input:
        pages.report_inputs(project).files(),
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
        inputs=asdict(pages.report_inputs(project)),
        methods=project.methods,
        code=project.code_fingerprint("report"),
    script:
        "../scripts/report.py"
