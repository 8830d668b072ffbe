from sair.job import job

with job(snakemake.threads, snakemake.log[0], snakemake.params.device):
    from sair.prediction import predict

    predict(
        snakemake.params.spec,
        snakemake.input.manifest,
        snakemake.output[0],
        weights=snakemake.input.get("weights") or None,
        device=snakemake.params.device,
    )
