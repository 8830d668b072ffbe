# The two commands of the README, and what both need. PYTHON may name another interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
BUDGETS ?= 0.5 1 2 4

.PHONY: table1 all report budgets test test-fast test-slurm lint docs bench test-gpu bench-gpu clean
.DEFAULT_GOAL := table1

table1: $(VENV)/ready
	$(BIN)/snakemake --cores $(CORES) results/table1.md

all: $(VENV)/ready
	$(BIN)/snakemake --cores $(CORES) all

report: $(VENV)/ready
	$(BIN)/sair report

# A run for each file of config/budgets that BUDGETS names, and the page that compares them. A run that was killed goes on.
budgets: $(VENV)/ready
	for budget in $(BUDGETS); do \
	  $(BIN)/snakemake --cores $(CORES) --configfile config/budgets.yaml config/budgets/$$budget.yaml \
	    -- results/budgets/$$budget/table1.md || exit 1; \
	done
	$(BIN)/sair budgets $(BUDGETS:%=results/budgets/%) -o results/budgets --configfile config/budgets.yaml

test: $(VENV)/ready
	$(BIN)/python -m pytest -n 2

test-fast: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 -m "not slow"

# A real Slurm cluster of two nodes on this machine, and everything that can be killed on it. It needs root and Debian's
# packages of Slurm. FAULTS may be --short, or '--methods mean_fill'.
test-slurm: $(VENV)/ready-slurm
	$(BIN)/python tests/slurm/faults.py $(FAULTS)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint
	$(BIN)/codespell
	$(BIN)/mypy

# The site in site/: open site/index.html. Building and reading it needs no network.
docs: $(VENV)/ready-docs
	$(BIN)/python docs/layers.py
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/python -m mkdocs build --strict --quiet

# `--no-deps`: the lock is complete, and one of its packages is installed for the weights in it, without its own requirements.
$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; call make PYTHON=/path/to/it")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/ready-docs: $(VENV)/ready requirements-docs.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-docs.lock
	touch $@

$(VENV)/ready-slurm: $(VENV)/ready requirements-slurm.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-slurm.lock
	touch $@

bench: $(VENV)/ready
	$(BIN)/python benchmarks/speed.py

# The targets below need a GPU.
test-gpu: $(VENV)/ready
	$(BIN)/python -m pytest -m gpu

bench-gpu: $(VENV)/ready
	$(BIN)/python benchmarks/gpu.py

clean:
	find results -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +
	rm -rf .snakemake
