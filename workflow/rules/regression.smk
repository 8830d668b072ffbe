# `snakemake regression --config variant=NAME`: is it better or worse than the stored reference? Fails if it is worse.
CHECK = config["regression"]
CHECKED = None
if "variant" in config:
    CHECKED = f"{RESULTS}/regression/{config['variant']}"


rule regression:
    """Succeed only if the variant is not worse."""
    input:
        [f"{CHECKED}.csv", f"{CHECKED}.md"] if CHECKED else [],
    log:
        f"{RESULTS}/logs/regression/verdict.log",
    conda:
        "../envs/sair.yaml"
    script:
        "../scripts/regression.py"


rule regression_report:
    """Compare a variant with the reference, image by image."""
    input:
        scores=lambda w: [
            f"{project.run_folder(CHECK['dataset'], w.method, seed)}/scores.csv"
            for seed in project.seeds(w.method)
        ],
        manifest=f"{RESULTS}/{CHECK['dataset']}/manifest.csv",
        named=lambda w: named(driver.one_line()(project.reference)(w.method)),
    output:
        markdown=f"{RESULTS}/regression/{{method}}.md",
        csv=f"{RESULTS}/regression/{{method}}.csv",
        grid=f"{RESULTS}/regression/{{method}}.png",
    log:
        f"{RESULTS}/logs/regression/{{method}}.log",
    conda:
        "../envs/sair.yaml"
    params:
        against=lambda w: project.against(w.method),
        reference=CHECK["reference"],
        content=lambda w: digests(project.reference(w.method)),
        least=CHECK["least"],
        code=project.code_fingerprint("regression_report"),
    script:
        "../scripts/regression_report.py"
