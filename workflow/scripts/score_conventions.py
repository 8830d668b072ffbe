from sair.pipeline.job import job

with job(snakemake):
    from sair.evaluation.score_conventions import score_conventions

    score_conventions(snakemake.input.manifest, snakemake.input.predictions, snakemake.output[0])
