#!/usr/bin/env bash
# Snakemake runs a job again if its params have changed. Which types of values take part?
# Seen with snakemake 9.27.1, numpy 2.4.6: only built-in types, their subclasses (numpy.float64 is one of float) and
# pandas objects. A dataclass, an Enum, a Path, a numpy.int64, a numpy.float32 and an array are left out without a
# warning, so a new value runs nothing; inside a list or a dict each of them is compared by its repr. The repr of an
# array of more than 1000 values is shortened, so that a change in its middle runs nothing there either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_CACHE_HOME="$folder/cache"
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check snakemake==9.27.1 numpy==2.4.6
cd "$folder"
cat >Snakefile <<'SNAKEFILE'
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np


@dataclass
class Settings:
    rate: int


Choice = Enum("Choice", {"one": 1, "two": 2})
value = int(Path("value").read_text())
long = np.zeros(2001, int)
long[1000] = value
VALUES = {
    "int": value,
    "dataclass": Settings(value),
    "enum": Choice(value),
    "path": Path(str(value)),
    "int64": np.int64(value),
    "float32": np.float32(value),
    "float64": np.float64(value),
    "array": np.array([value]),
}
VALUES |= {f"{name}_in_list": [VALUES[name]] for name in ("dataclass", "enum", "path", "int64", "array")}
VALUES["long_array_in_list"] = [long]


rule all:
    input: expand("{name}.txt", name=VALUES)

for name in VALUES:
    rule:
        name: name
        output: f"{name}.txt"
        params: VALUES[name]
        shell: "cp value {output}"
SNAKEFILE
for value in 1 2; do
  echo "$value" >value
  venv/bin/snakemake --cores 1 --quiet all >log 2>&1 || { cat log; exit 1; }
done
names() { sed 's/.txt$//' | LC_ALL=C sort | tr '\n' ' '; }
noticed=$(grep -l 2 -- *.txt | names)
missed=$(grep -L 2 -- *.txt | names)
echo "a changed value runs the job again: $noticed"
echo "a changed value runs nothing: $missed"
test "$missed" = "array dataclass enum float32 int64 long_array_in_list path "
echo "as seen before"
