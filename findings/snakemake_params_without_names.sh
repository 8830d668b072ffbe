#!/usr/bin/env bash
# Snakemake runs a job again if its params have changed. What does it compare?
# Seen with snakemake 9.27.1, pandas 3.1.1: the set of their values, without names and without repeats. Swapping the
# values of two params runs nothing, nor does setting one of three params to the value of another: the files keep what
# the old settings made. Of a DataFrame only the cells and the index are compared, so renaming a column runs nothing. A
# dict keeps names and values together, and its change is noticed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_CACHE_HOME="$folder/cache"
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check snakemake==9.27.1 pandas==3.1.1
cd "$folder"
cat >Snakefile <<'SNAKEFILE'
import pandas as pd

low, high = config["low"], config["high"]


rule all:
    input: "two.txt", "three.txt", "frame.txt", "dict.txt"

rule two:
    output: "two.txt"
    params: low=low, high=high
    shell: "echo low={params.low} high={params.high} > {output}"

rule three:
    output: "three.txt"
    params: a=1, b=low, c=2
    shell: "echo a={params.a} b={params.b} c={params.c} > {output}"

rule frame:
    output: "frame.txt"
    params: table=pd.DataFrame({f"column{low}": [7]})
    run:
        with open(output[0], "w") as stream:
            print(*params.table.columns, file=stream)

rule dict:
    output: "dict.txt"
    params: limits={"low": low, "high": high}
    shell: "echo low={params.limits[low]} high={params.limits[high]} > {output}"
SNAKEFILE
show() { for file in two three frame dict; do echo "$file: $(cat "$file.txt")"; done; }
venv/bin/snakemake --cores 1 --quiet all --config low=1 high=2 >log 2>&1 || { cat log; exit 1; }
echo "low=1 high=2" && show
venv/bin/snakemake --cores 1 --quiet all --config low=2 high=1 >log 2>&1 || { cat log; exit 1; }
echo "then low=2 high=1" && show | tee after.txt
diff after.txt - <<'EXPECTED'
two: low=1 high=2
three: a=1 b=1 c=2
frame: column1
dict: low=2 high=1
EXPECTED
echo "as seen before"
