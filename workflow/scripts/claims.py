from sair.job import job

with job(snakemake):
    from sair.reporting.orderings import write_orderings

    write_orderings(
        snakemake.params.config,
        snakemake.params.methods,
        snakemake.params.measured,
        snakemake.input.clip,
        snakemake.output.markdown,
        snakemake.output.csv,
    )
