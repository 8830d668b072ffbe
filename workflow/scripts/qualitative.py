from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.figures import qualitative

    columns = dict(zip(snakemake.params.titles, snakemake.input.predictions, strict=True))
    qualitative(snakemake.input.manifest, columns, snakemake.output)
