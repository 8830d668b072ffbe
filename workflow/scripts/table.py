from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.inputs import TableInputs
    from sair.reporting.tables import write_table

    write_table(
        snakemake.wildcards.table,
        TableInputs(**snakemake.params.inputs),
        snakemake.params.config,
        snakemake.params.methods,
        snakemake.output,
    )
