from sair.methods.spec import UPKEEP, processes
from sair.pipeline.job import job

with job(snakemake, gpus=processes(snakemake.params.spec)):
    from sair.pipeline.train import train

    train(
        snakemake.threads,
        snakemake.params.spec,
        upkeep={key: snakemake.resources[key] for key in UPKEEP},
        images=snakemake.input.images,
        masks=snakemake.input.masks,
        seed=snakemake.params.seed,
        output=snakemake.output.checkpoint,
        log=snakemake.output.log,
        encoder=snakemake.input.get("encoder") or None,
        over=snakemake.input.get("over") or None,
        device=snakemake.params.device,
        code=snakemake.params.code,
        content=snakemake.params.content,
        keep_state=True,  # until the driver has accepted the checkpoint: sair.pipeline.follow
    )
