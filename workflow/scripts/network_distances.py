from sair.pipeline.job import job

with job(snakemake):
    from sair.evaluation.fid import write_network_distances

    write_network_distances(
        snakemake.input.manifest, snakemake.input.truth, snakemake.input.features, snakemake.output.distances
    )
