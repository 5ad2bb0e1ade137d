# Two commands: make study, make test. `make` alone tells the others.

PRESET    ?= standard
SEED      ?= 0
CORPUS    ?= chorales
OUTPUT    ?=
SAMPLES   ?=
ONLY      ?=
SEEDS     ?=
JOBS      ?=
THREADS   ?=
FORCE     ?=
PEDAL     ?=
DATASET   ?= jsb
MODEL     ?= lstm
RUN       ?=
VENV      ?= .venv

# A value as it was given, whatever signs a folder's name has: neither make nor the shell reads it.
given = '$(subst ','\'',$(value $(1)))'
# An option, if its variable says something.
option = $(if $(value $(2)),$(1) $(call given,$(2)))

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

.PHONY: help study ladder remeasure release benchmark budgets bench test test-long test-folders lab \
	install install-test clean

help:
	@echo "make study         environment, every notebook, results and figures, into a folder below runs/"
	@echo "                   PRESET=smoke|standard|classroom|plain|full  SEED=0  CORPUS=chorales or a folder"
	@echo "                   OUTPUT=folder  SAMPLES=n  FORCE=1  PEDAL=0|1  JOBS=n  THREADS=n"
	@echo "                   ONLY='02_lstm ...'  SEEDS=n: some notebooks, fewer trainings"
	@echo "make lab           JupyterLab on the notebooks"
	@echo "make test          lint, tests, and every notebook with the smoke preset"
	@echo "make test-long     the tests that take longer"
	@echo "make test-folders  whole smoke studies of all kinds of folders"
	@echo "make benchmark     a model on a published set: DATASET=jsb|piano_midi|nottingham|musedata"
	@echo "                   MODEL=lstm|vae  SEEDS=3  (MUSICLIB_DATA names the folder with the files)"
	@echo "make budgets       each model with half and twice the full budget, for research/budgets_and_ledger"
	@echo "make ladder        the models between plain and refined, for the ladders in 02 to 04"
	@echo "make bench         what the study does, timed beside what one would do otherwise"
	@echo "make remeasure     measure the released pieces anew, into runs/remeasure"
	@echo "make release       put runs over data/, figures/ and the notebooks' outputs: RUN='runs/...'"
	@echo "make clean         remove the environment and all runs, and say what that frees"

RUN_STUDY = $(BIN)/python -m study.runner

study: install
	@$(if $(value PEDAL),MUSICLIB_PEDAL=$(call given,PEDAL)) $(RUN_STUDY) --preset $(call given,PRESET) \
		--seed $(call given,SEED) --corpus $(call given,CORPUS) $(call option,--output,OUTPUT) \
		$(call option,--samples,SAMPLES) $(if $(value ONLY),--only $(ONLY)) \
		$(call option,--seeds,SEEDS) $(call option,--jobs,JOBS) $(call option,--threads,THREADS) \
		$(if $(filter-out 0,$(FORCE)),--force)

# The notebooks that train nothing, on the released pieces.
remeasure: install
	@$(RUN_STUDY) --preset full --remeasure $(call option,--output,OUTPUT) \
		$(if $(filter-out 0,$(FORCE)),--force)

# The models between plain and refined, one change at a time, one training each.
ladder: install
	@$(RUN_STUDY) --preset ladder --seed $(call given,SEED) $(call option,--output,OUTPUT) \
		$(if $(filter-out 0,$(FORCE)),--force)

# The one way from a run into data/, figures/ and the notebooks' outputs.
release: install
	@test -n '$(RUN)' || { echo "Say which run: make release RUN=runs/full-chorales-0" >&2; exit 2; }
	@$(BIN)/python -m study.release $(RUN)

# Every run is a look at the test set, and is written down as one.
benchmark: install
	@$(BIN)/python -m study.bench benchmark --model $(call given,MODEL) --dataset $(call given,DATASET) \
		$(call option,--seeds,SEEDS) $(call option,--output,OUTPUT) $(call option,--threads,THREADS)

# Half and twice the full budget, one training each.
budgets: install
	@for p in half double; do $(RUN_STUDY) --preset $$p || exit 1; done
	@echo "To put them into the table: make release RUN='runs/half-chorales-0 runs/double-chorales-0'"

# Ratios of one run; seconds hold for this machine.
bench: install
	@$(BIN)/python -m study.bench $(call option,--output,OUTPUT)

test: install-test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m pytest

test-long: install-test
	$(BIN)/python -m pytest -m long

test-folders: install-test
	$(BIN)/python -m pytest -m folders

lab: install
	@$(BIN)/python -m study.runner lab

install install-test: python
	@$(PYTHON) study/install.py --venv "$(VENV)" $(if $(filter install-test,$@),--test)

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 was found; install one" \
		"(Debian, Ubuntu: sudo apt-get install python3 python3-venv), or say PYTHON=..." >&2; exit 1; }

clean: python
	@$(PYTHON) study/install.py clean "$(VENV)"
