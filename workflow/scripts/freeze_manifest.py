from sair.pipeline.job import job

with job(snakemake):
    from sair.data.freeze import freeze_manifest

    freeze_manifest(
        snakemake.input.images,
        snakemake.params.masks,
        snakemake.params.buckets,
        snakemake.output.manifest,
        snakemake.output.training_masks,
        snakemake.input.get("trained_on") or None,
    )
