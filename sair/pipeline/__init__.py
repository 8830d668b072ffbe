"""What Snakemake drives: the checked config, the plan of a run, and the frame of every job."""
