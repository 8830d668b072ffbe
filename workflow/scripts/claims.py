from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.claims import write_orderings

    write_orderings(
        snakemake.params.config,
        snakemake.params.methods,
        snakemake.params.measured,
        snakemake.input.clip,
        snakemake.output.markdown,
        snakemake.output.csv,
    )
