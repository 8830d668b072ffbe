from sair.reporting.figures import qualitative
from sair.runtime import job

with job(snakemake.threads, snakemake.log[0]):
    columns = dict(zip(snakemake.params.labels, snakemake.input.predictions, strict=True))
    qualitative(snakemake.input.manifest, columns, snakemake.output)
