from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.inputs import ReportInputs
    from sair.reporting.report import write_report

    inputs = ReportInputs(**snakemake.params.inputs)
    write_report(inputs, snakemake.params.config, snakemake.params.methods, snakemake.output[0])
