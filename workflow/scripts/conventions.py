from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.conventions import write_conventions

    write_conventions(
        snakemake.params.config,
        snakemake.params.methods,
        snakemake.params.measured,
        snakemake.input.manifest,
        snakemake.output.markdown,
        snakemake.output.csv,
    )
