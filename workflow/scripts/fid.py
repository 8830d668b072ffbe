from sair.pipeline.job import job

with job(snakemake):
    from sair.evaluation.fid import write_distances, write_method_features

    manifest, features = snakemake.input.manifest, snakemake.output.features
    write_method_features(manifest, snakemake.input.predictions, features, snakemake.params.device)
    write_distances(manifest, snakemake.input.truth, features, snakemake.output.distances)
