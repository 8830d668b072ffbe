from sair.pipeline.job import job

with job(snakemake):
    from sair.inference.segmentation import segment

    segment(
        snakemake.input.clip,
        snakemake.input.images,
        snakemake.input.manifest,
        snakemake.output[0],
        method=snakemake.input.get("method"),
        device=snakemake.params.device,
    )
