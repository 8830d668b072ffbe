from sair.pipeline.job import job

with job(snakemake):
    from sair.inference.predict import gather_predictions

    gather_predictions(snakemake.input.shards, snakemake.output[0])
