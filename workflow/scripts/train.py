from sair.job import job

spec = snakemake.params.spec
gpus = spec["training"]["processes"] if spec["training"] else 0

with job(snakemake, gpus):
    from sair.training.launch import train

    train(
        snakemake.threads,
        spec,
        pictures=snakemake.input.pictures,
        masks=snakemake.input.masks,
        seed=snakemake.params.seed,
        output=snakemake.output.checkpoint,
        log=snakemake.output.log,
        semantics=snakemake.input.get("semantics") or None,
        over=snakemake.input.get("over") or None,
        device=snakemake.params.device,
        code=snakemake.params.code,
    )
