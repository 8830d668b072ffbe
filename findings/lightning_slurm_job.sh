#!/usr/bin/env bash
# Lightning's Fabric, asked for two processes inside a Slurm job of one task, as in a batch script or an interactive shell
# whose program was not started by srun. Seen with lightning 2.6.6 and torch 2.13.0: `devices=2` gives a world of one process,
# without a warning or an error, because Fabric recognises Slurm by its environment variables and takes the number of
# processes from the job instead of from `devices`. Outside a job, or with `plugins=LightningEnvironment()`, it is two.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0 lightning==2.6.6
cat > "$folder/world.py" <<'PYTHON'
import sys
import warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from lightning import Fabric
    from lightning.fabric.plugins.environments import LightningEnvironment

    named = {"plugins": LightningEnvironment()} if sys.argv[1] == "named" else {}
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp", **named)
said = [str(one.message) for one in caught if "slurm" in str(one.message).lower()]
print(fabric.world_size)
if sys.argv[1] == "found" and fabric.world_size == 1:
    assert not said, said
PYTHON
job=(SLURM_JOB_ID=1 SLURM_JOB_NAME=train SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NODELIST=node1)
outside=$("$folder/venv/bin/python" "$folder/world.py" found)
inside=$(env "${job[@]}" "$folder/venv/bin/python" "$folder/world.py" found)
named=$(env "${job[@]}" "$folder/venv/bin/python" "$folder/world.py" named)
echo "processes of Fabric(devices=2): outside a job $outside, in a job of one task $inside, there with LightningEnvironment $named"
[ "$outside $inside $named" = "2 1 2" ]
echo "as seen before"
