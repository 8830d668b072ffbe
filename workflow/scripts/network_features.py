from sair.pipeline.job import job

with job(snakemake):
    from sair.evaluation.fid import write_network_features

    write_network_features(
        snakemake.input.manifest,
        snakemake.input.predictions,
        snakemake.output.features,
        snakemake.params.device,
        snakemake.params.network,
    )
