from sair.job import job

with job(snakemake):
    from sair.data.freeze import write_pictures

    write_pictures(snakemake.params.dataset, snakemake.params.size, snakemake.output.table, snakemake.threads)
