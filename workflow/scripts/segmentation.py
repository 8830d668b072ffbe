from sair.job import job

with job(snakemake.threads, snakemake.log[0], snakemake.params.device):
    from sair.segmentation import segment

    segment(
        snakemake.input.clip,
        snakemake.input.pictures,
        snakemake.input.manifest,
        snakemake.output[0],
        method=snakemake.input.get("method"),
        device=snakemake.params.device,
    )
