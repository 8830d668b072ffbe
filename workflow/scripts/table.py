from sair.job import job

with job(snakemake.threads, snakemake.log[0]):
    from sair.reporting.tables import write_table

    write_table(
        snakemake.wildcards.table,
        snakemake.params.config,
        snakemake.params.methods,
        snakemake.params.scores,
        snakemake.input.manifest,
        snakemake.input.segmentation,
        snakemake.input.get("figures", []),
        snakemake.output,
    )
