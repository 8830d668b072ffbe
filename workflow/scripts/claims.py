from sair.pipeline.job import job

with job(snakemake):
    from sair.reporting.claims import write_claims
    from sair.reporting.inputs import ClaimsInputs

    inputs = ClaimsInputs(**snakemake.params.inputs)
    write_claims(inputs, snakemake.params.config, snakemake.params.methods, snakemake.output)
