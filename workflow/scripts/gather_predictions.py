from sair.job import job

with job(snakemake):
    from sair.prediction import gather

    gather(snakemake.input.shards, snakemake.output[0])
