from sair.pipeline.job import job

with job(snakemake):
    from sair.evaluation.score import gather_scores

    gather_scores(snakemake.input.manifest, snakemake.input.shards, snakemake.output[0])
