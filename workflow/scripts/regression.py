from sair.pipeline.job import job

with job(snakemake):
    import sys

    from sair.reporting.regression import demand

    print(demand(*(snakemake.input or (None, None))), file=sys.stderr)
