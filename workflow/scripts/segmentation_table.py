from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.tables import write_segmentation_table

    write_segmentation_table(
        snakemake.wildcards.table,
        snakemake.params.config,
        snakemake.params.methods,
        snakemake.params.measured,
        snakemake.input.manifest,
        snakemake.input.clip,
        snakemake.input.figures,
        snakemake.output,
    )
