from sair.pipeline.job import job

with job(snakemake):
    from sair.evaluation.fid import write_fid

    write_fid(
        snakemake.input.manifest,
        snakemake.input.predictions,
        snakemake.input.truth,
        snakemake.output.features,
        snakemake.output.distances,
        snakemake.params.device,
    )
