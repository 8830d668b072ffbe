from sair.pipeline.job import job

with job(snakemake):
    from sair.data.checks import check_sets
    from sair.data.freeze import write_pictures

    # Not a parameter of the rule: other masks or buckets change no image.
    config, dataset = snakemake.config, snakemake.params.dataset
    check_sets(dataset, config["masks"][dataset["masks"]], snakemake.params.size, config["buckets"])
    write_pictures(dataset, snakemake.params.size, snakemake.output.table, snakemake.threads)
