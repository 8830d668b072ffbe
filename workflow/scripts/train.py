from sair.runtime import job
from sair.training.loop import train

with job(snakemake.threads, snakemake.log[0]):
    train(
        snakemake.params.spec,
        snakemake.input.pictures,
        snakemake.input.masks,
        snakemake.params.seed,
        snakemake.output.checkpoint,
        snakemake.output.log,
        semantics=snakemake.input.get("semantics") or None,
        device=snakemake.params.device,
    )
