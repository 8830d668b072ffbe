from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.report import Sources, write_report

    write_report(
        snakemake.params.config, snakemake.params.methods, Sources(**snakemake.params.sources), snakemake.output[0]
    )
