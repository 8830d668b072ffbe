from sair.pipeline.job import job

with job(snakemake):
    from sair.evaluation.fid import write_truth_features

    write_truth_features(
        snakemake.input.manifest, snakemake.output[0], snakemake.params.device, snakemake.params.network
    )
