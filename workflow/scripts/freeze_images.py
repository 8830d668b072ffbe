from sair.pipeline.job import job

with job(snakemake):
    from sair.data.checks import check_sets
    from sair.data.freeze import freeze_images

    # Not a parameter of the rule: other masks or buckets change no image.
    config, dataset = snakemake.config, snakemake.params.dataset
    check_sets(dataset, config["masks"][dataset["masks"]], snakemake.params.size, config["buckets"])
    freeze_images(dataset, snakemake.params.size, snakemake.output.table, snakemake.threads)
