from sair.job import job

with job(snakemake.threads, snakemake.log[0], snakemake.params.device):
    from sair.training.loop import train

    train(
        snakemake.params.spec,
        snakemake.input.pictures,
        snakemake.input.masks,
        snakemake.params.seed,
        snakemake.output.checkpoint,
        snakemake.output.log,
        semantics=snakemake.input.get("semantics") or None,
        over=snakemake.input.get("over") or None,
        device=snakemake.params.device,
        code=snakemake.params.code,
    )
