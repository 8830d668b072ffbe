from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.figures import training_curves

    training_curves(dict(zip(snakemake.params.labels, snakemake.input, strict=True)), snakemake.output[0])
