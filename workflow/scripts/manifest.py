from sair.pipeline.job import job

with job(snakemake):
    from sair.data.freeze import write_manifest

    write_manifest(
        snakemake.input.pictures,
        snakemake.params.masks,
        snakemake.params.buckets,
        snakemake.output.manifest,
        snakemake.output.training_masks,
        snakemake.input.get("learnt") or None,
    )
