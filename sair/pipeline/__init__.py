"""Check the config, plan a run and frame every job: the part of the package that Snakemake drives."""
