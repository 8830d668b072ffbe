from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.figures import training_curves

    training_curves(snakemake.params.logs, snakemake.output[0])
