from sair.pipeline.job import job

with job(snakemake):
    from sair.inference.predict import gather

    gather(snakemake.input.shards, snakemake.output[0])
