from sair.job import job

with job(snakemake.threads, snakemake.log[0]):
    from sair.segmentation import segment

    segment(snakemake.input.checkpoint, snakemake.input.pictures, snakemake.output[0], device=snakemake.params.device)
