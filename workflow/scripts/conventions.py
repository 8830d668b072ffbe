from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.conventions import write_conventions
    from sair.reporting.inputs import ConventionsInputs

    inputs = ConventionsInputs(**snakemake.params.inputs)
    write_conventions(inputs, snakemake.params.config, snakemake.params.methods, snakemake.output)
