# Everything here needs Python >= 3.11 and make, nothing else: each target makes the virtual environment, installs what
# it needs and leaves a stamp, so that a second call is quick.
#
#   make demo                      raw tables -> a MEDS dataset in demo/cohort -> tensors in demo/tensors
#   make test [TESTS=tests/x.py]   the tests
#   make bench [SCALE=1]           speed and memory; 1 is 15 million rows, 0.1 the default; PEERS names other suites,
#                                  as in PEERS="0.1=/opt/meds-0.1/bin newer:newer=/opt/newer/bin"
#   make downstream                other tools read the demo's dataset, each in an environment of its own
#   make lint | docs | clean       style and types; the documentation; back to a fresh clone
#
# PYTHON is the interpreter to start from, VENV the environment's folder, PINS further requirements
# (make test VENV=.venv-polars1 PINS="'polars<2'").
PYTHON ?= python3
VENV ?= .venv
PINS ?=
TESTS ?=
PYTEST_ARGS ?= -n auto --dist loadgroup
SCALE ?= 0.1
# How this suite takes part in the benchmarks (benchmarks/README.md lists the kinds), and who else does.
KINDS ?= floor stages runner no-intermediates
PEERS ?=
BENCH_ARGS ?=

RUN := $(VENV)/bin/python
# Console scripts call each other by name. Quotes are not needed: make passes the value on as it is, spaces and all.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test downstream lint docs bench clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.has-local-parallelism $(VENV)/.has-report
	@bash examples/demo/run.sh demo

test: $(VENV)/.has-tests
	$(RUN) -m pytest $(TESTS) $(PYTEST_ARGS)

downstream: $(VENV)/.has-tests
	MEDS_DOWNSTREAM=1 $(RUN) -m pytest tests/downstream

lint: $(VENV)/.has-dev
	$(VENV)/bin/hadolint Dockerfile
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

docs: $(VENV)/.has-docs
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(RUN) -m mkdocs build --strict

# The floor first, since all ratios are to the first; then this suite by its kinds, then others.
own_peers = $(foreach kind,$(KINDS),--peer $(kind):$(kind)=$(VENV)/bin)
bench: benchmarks/data/.raw-csv-$(SCALE)
	$(RUN) benchmarks/extraction.py --name extraction-$(SCALE) --compare --raw benchmarks/data/raw-csv-$(SCALE) \
	    $(own_peers) $(foreach peer,$(PEERS),--peer $(peer)) $(BENCH_ARGS)
	$(RUN) benchmarks/preprocessing.py --name preprocessing-$(SCALE) --compare \
	    --cohort benchmarks/data/runs/extraction-$(or $(filter stages,$(KINDS)),$(firstword $(KINDS)))/cohort \
	    $(own_peers) $(foreach peer,$(filter-out meds_etl:%,$(PEERS)),--peer $(peer)) $(BENCH_ARGS)

benchmarks/data/.raw-csv-$(SCALE): | $(VENV)/.has-local-parallelism
	rm -rf benchmarks/data/raw-csv-$(SCALE)
	$(RUN) benchmarks/synthetic_tables.py --format csv --scale $(SCALE)
	@touch $@

clean:
	rm -rf .venv .venv-* demo site benchmarks/data build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests docs examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp per extra of pyproject.toml, by its normalized name, which every pip knows; they are made one after the other,
# also under `make -j`.
.NOTPARALLEL:

# Makes datasets of other people's making for the tests. It needs the newest meds: PINS for other versions go without it.
$(VENV)/.has-tests: PINS = meds-testing-helpers

$(VENV)/.has-%: pyproject.toml $(VENV)/.made
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[$*]' $(PINS)
	@touch '$@'

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, \
	this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	@touch '$@'
