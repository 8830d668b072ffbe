#!/usr/bin/env bash
# Slurm's commands find a cluster by SLURM_CONF where its configuration is not in /etc/slurm. Does a Snakemake job on such a
# cluster find it?
# Seen with snakemake 9.27.1, snakemake-executor-plugin-slurm-jobstep 0.6.1: no. The variable reaches the job, but the
# plugin starts the job's step by srun without it, and without all other variables that begin with SLURM_ but ten. srun
# then takes /etc/slurm/slurm.conf, which may be that of another cluster, and fails ("Unable to confirm allocation").
# The srun of this script is a program that notes its environment and runs the step; no cluster is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_CACHE_HOME="$folder/cache"
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check snakemake==9.27.1 \
  snakemake-executor-plugin-slurm-jobstep==0.6.1
cd "$folder"
mkdir bin
cat >bin/srun <<'SRUN'
#!/usr/bin/env bash
echo "${SLURM_CONF:-unset}" >srun.txt
while [[ $1 == -* ]]; do shift; done
exec "$@"
SRUN
chmod +x bin/srun
cat >Snakefile <<'SNAKEFILE'
rule step:
    output: "step.txt"
    shell: "echo ${{SLURM_CONF:-unset}} > {output}"
SNAKEFILE
# As in a job: Slurm sets the number of the job, and the user's environment has SLURM_CONF.
export PATH="$folder/bin:$PATH" SLURM_JOB_ID=1 SLURM_CONF="$folder/slurm.conf"
venv/bin/snakemake --executor slurm-jobstep --jobs 1 --quiet all >log 2>&1 || { cat log; exit 1; }
echo "SLURM_CONF of the job: $SLURM_CONF; of srun: $(cat srun.txt); of the step: $(cat step.txt)"
test "$(cat srun.txt)" = unset && test "$(cat step.txt)" = unset
echo "as seen before"
