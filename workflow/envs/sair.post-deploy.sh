#!/usr/bin/env bash
# Run by Snakemake inside the new environment, from the folder in which snakemake was called.
set -euo pipefail
pip install --no-deps -r requirements.lock -e .
