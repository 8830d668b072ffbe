from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.regression import write_regression_report

    write_regression_report(
        snakemake.wildcards.method,
        snakemake.params.against,
        snakemake.input.scores,
        snakemake.input.manifest,
        snakemake.params.reference,
        snakemake.params.least,
        snakemake.output,
    )
