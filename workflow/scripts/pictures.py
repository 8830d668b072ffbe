from sair.data.manifest import write_pictures
from sair.runtime import job

with job(snakemake.threads, snakemake.log[0]):
    write_pictures(snakemake.params.dataset, snakemake.params.size, snakemake.output.table)
