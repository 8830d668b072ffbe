from sair.pipeline.job import job

with job(snakemake):
    from sair.evaluation.diversity import write_diversity

    write_diversity(snakemake.input.manifest, snakemake.input.predictions, snakemake.output[0])
