from sair.reporting.tables import write_table
from sair.runtime import job

with job(snakemake.threads, snakemake.log[0]):
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
