from sair.runtime import job
from sair.segmentation import segment

with job(snakemake.threads, snakemake.log[0]):
    segment(snakemake.input.checkpoint, snakemake.input.pictures, snakemake.output[0], device=snakemake.params.device)
