from sair.prediction import predict
from sair.runtime import job

with job(snakemake.threads, snakemake.log[0]):
    predict(
        snakemake.params.spec,
        snakemake.input.manifest,
        snakemake.output[0],
        weights=snakemake.input.get("weights") or None,
        device=snakemake.params.device,
    )
