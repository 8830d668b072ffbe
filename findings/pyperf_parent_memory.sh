#!/usr/bin/env bash
# pyperf's peak memory of a benchmark that does nothing. pyperf runs a benchmark in a worker, a process of its own, and
# stores the worker's `mem_max_rss`. Seen with pyperf 2.10.0 and Python 3.11 on Linux: 19 MiB; and 618 MiB if the
# process that starts the worker holds 600 MiB, although the worker allocates none of it. The number is ru_maxrss, and
# Linux hands a new program the largest memory of the process that started it. The line VmHWM of /proc/self/status
# is the program's own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyperf==2.10.0
cat > "$folder/benchmark.py" <<'PYTHON'
import os

import pyperf

runner = pyperf.Runner(processes=1, values=1, warmups=0, loops=1)
in_worker = runner.parse_args().worker
held = b"1" * (int(os.environ["HELD"]) << 20) if not in_worker else b""
runner.bench_func("nothing", len, held)
PYTHON
for held in 0 600; do
    HELD=$held "$folder/venv/bin/python" "$folder/benchmark.py" --quiet --inherit-environ HELD -o "$folder/$held.json" > /dev/null
done
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import pyperf

found = {}
for held in (0, 600):
    benchmark = pyperf.Benchmark.load(f"{sys.argv[1]}/{held}.json")
    found[held] = benchmark.get_metadata()["mem_max_rss"] / 2**20
    print(f"the starting process holds {held} MiB: mem_max_rss of the worker {found[held]:.0f} MiB")
assert found[0] < 60 and 600 < found[600] < 700
print("as seen before")
PYTHON
