"""Read what tests of the workflow need from its output and from the processes that it starts."""

import os
from pathlib import Path


def jobs(output):
    """Job counts of a dry run."""
    counts = {}
    lines = iter(output.splitlines())
    for line in lines:
        if line.startswith("---"):
            for row in lines:
                if not row.strip():
                    return counts
                rule, count = row.split()
                counts[rule] = int(count)
    return counts


def processes_in(folder):
    """Processes that work in ``folder``."""
    found = []
    for process in Path("/proc").iterdir() if Path("/proc").is_dir() else []:
        try:
            if process.name.isdigit() and os.readlink(process / "cwd") == str(folder):
                found.append((process / "cmdline").read_bytes())
        except OSError:
            continue
    return found
