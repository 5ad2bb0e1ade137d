# Two commands: make study, make test. `make` alone tells the others.

PRESET  ?= standard
SEED    ?= 0
CORPUS  ?= chorales
OUTPUT  ?= .
SAMPLES ?=
JOBS    ?=
THREADS ?=
FORCE   ?=
DATASET ?= jsb
MODEL   ?= lstm
SEEDS   ?= 3
VENV    ?= .venv

# Compiled once, not in each of the kernels.
unexport PYTHONDONTWRITEBYTECODE

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

# The first Python on the path that TensorFlow has packages for; or say PYTHON=...
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(FITS)' >/dev/null 2>&1 && echo $$p && break; done)
endif

.PHONY: help study benchmark budgets bench test test-long notebooks lab install install-test clean

help:
	@echo "make study      environment, every notebook, results and figures"
	@echo "                PRESET=smoke|standard|classroom|full  SEED=0  CORPUS=chorales or a folder"
	@echo "                OUTPUT=folder  FORCE=1  SAMPLES=n  JOBS=n  THREADS=n"
	@echo "make benchmark  a model on a published set: DATASET=jsb|piano_midi|nottingham|musedata"
	@echo "                MODEL=lstm|vae  SEEDS=3  OUTPUT=folder  (MUSICLIB_DATA names the folder with the files)"
	@echo "make budgets    each model with half and twice the full budget, for the table in 05"
	@echo "make bench      what the study does, timed beside what one would do otherwise"
	@echo "make test       lint, tests, and every notebook with the smoke preset"
	@echo "make test-long  the tests that take longer"
	@echo "make lab        JupyterLab on the notebooks"
	@echo "make notebooks  put the notebooks as last run over notebooks/, ready to commit"
	@echo "make clean      remove the environment and everything that git ignores but data/corpora"

study: install
	@$(BIN)/python -m tools.run_study --preset "$(PRESET)" --seed "$(SEED)" \
		--corpus "$(CORPUS)" --output "$(OUTPUT)" $(if $(SAMPLES),--samples "$(SAMPLES)") \
		$(if $(JOBS),--jobs "$(JOBS)") $(if $(THREADS),--threads "$(THREADS)") \
		$(if $(filter-out 0,$(FORCE)),--force)

# Every run is a look at the test set, and is written down as one.
benchmark: install
	@$(BIN)/python -m tools.run_benchmark --model "$(MODEL)" --dataset "$(DATASET)" --seeds "$(SEEDS)" \
		--output "$(OUTPUT)" $(if $(THREADS),--threads "$(THREADS)")

# Half and twice the full budget, one training each, in folders of their own.
budgets: install
	@for p in half double; do $(BIN)/python -m tools.run_study --preset $$p \
		--corpus "$(CORPUS)" --output "$(OUTPUT)/rendered/budgets/$$p" || exit 1; done
	@$(BIN)/python -m tools.gather_budgets --into "$(OUTPUT)" \
		"$(OUTPUT)/rendered/budgets/half" "$(OUTPUT)/rendered/budgets/double"

# Ratios of one run; seconds hold for this machine.
bench: install
	@$(BIN)/python -m tools.bench --output "$(OUTPUT)"

test: install-test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m pytest

test-long: install-test
	$(BIN)/python -m pytest -m long

notebooks: install-test
	@$(BIN)/python -m tools.commit_notebooks

lab: install
	@$(BIN)/python -m tools.lab

install install-test: python
	@$(PYTHON) tools/install.py --venv "$(VENV)" $(if $(filter install-test,$@),--test)

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 was found; install one" \
		"(Debian, Ubuntu: sudo apt-get install python3 python3-venv), or say PYTHON=..." >&2; exit 1; }

clean:
	rm -rf "$(VENV)" rendered data/prepared data/audio data/checkpoints build dist *.egg-info \
		.pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
