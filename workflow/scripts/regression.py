from sair.pipeline.job import job

with job(snakemake):
    import sys

    from sair.reporting.regression import regression

    print(regression(*(snakemake.input or (None, None))), file=sys.stderr)
