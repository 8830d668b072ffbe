from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.semantic_maps import semantic_maps

    semantic_maps(
        snakemake.input.clip,
        dict(zip(snakemake.params.titles, snakemake.input.methods, strict=True)),
        snakemake.input.images,
        snakemake.input.manifest,
        snakemake.output[0],
        count=snakemake.params.shown,
    )
