from sair.pipeline.job import job

with job(snakemake):
    from sair.inference.predict import predict

    predict(
        snakemake.params.spec,
        snakemake.input.manifest,
        snakemake.output[0],
        weights=snakemake.input.get("weights") or None,
        device=snakemake.params.device,
        shard=snakemake.wildcards.get("scatteritem"),
    )
