from sair.evaluation.score import score_predictions
from sair.runtime import job

with job(snakemake.threads, snakemake.log[0]):
    score_predictions(snakemake.input.manifest, snakemake.input.predictions, snakemake.output[0])
