from sair.pipeline.job import job

with job(snakemake):
    from sair.evaluation.score import score_predictions

    score_predictions(
        snakemake.input.manifest,
        snakemake.input.predictions,
        snakemake.output[0],
        metrics=snakemake.params.metrics,
        shard=snakemake.wildcards.get("scatteritem"),
    )
