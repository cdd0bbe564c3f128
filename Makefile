# make up             start the mesh on the local exchange's own market; make down ends it
# make up VENUE=binance INSTRUMENTS=BTCUSDT,ETHUSDT    record a real venue; several: VENUE="binance kraken" INSTRUMENTS="BTCUSDT BTC/USD"
# make up CAPTURE="a.gz b.gz" SPEED=20    replay raw captures instead (SPEED=0: as fast as the machine can)
# make chaos          200 SIGKILLs and venue faults, judged, then 200 while it trades; KILLS=1000 SEED=7 for other sweeps
# make soak           the default market for HOURS=1 with a kill a minute: what grows; CSV=samples.csv JSON=result.json
# make bench          every benchmark; JSON=run.json keeps the figures, python -m bench.compare A.json B.json sets two runs side by side
# make test bench style types; make fast: what takes a minute
# make peers          other programs of the field against ours (the extra bench), in an environment of their own
# make lock           choose the newest allowed versions of everything, with their hashes
# make docs           the pages of docs/ as a site, run/site/index.html; a broken link is an error
# make extras         what research, plots, exports and training need: duckdb, matplotlib, polars, pyarrow, scikit-learn
SHELL := /bin/bash
.DEFAULT_GOAL := help
# What is not on disk, compiled, each process compiles for itself, in twice the time that it takes to start. A mesh has a dozen.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev
PIP := .venv/bin/python -m pip --disable-pip-version-check install -q --no-compile
IMPORTS := from importlib import import_module as one; from tickmesh.nodes.process_table import NODES; \
	[one(f'tickmesh.nodes.{name}.node') for name in NODES]; [one(name) for name in ('numba', 'uvloop', 'tickmesh.tools.up', 'tickmesh.tools.tap')]
PACKAGES := bus storage nodes research tools
VENUE ?=
INSTRUMENTS ?=
CAPTURE ?=
SPEED ?=
KILLS ?= 200
SEED ?= 1
HOURS ?= 1
CSV ?=
JSON ?=
# Tests without processes and captures, for a quick answer and for other Pythons (.ci/run).
FAST := $(filter-out $(addprefix tests/test_, $(addsuffix .py, pages $(WITHOUT))), $(wildcard tests/test_*.py)) \
	tests/bus/test_wire.py tests/bus/test_layout.py tests/bus/test_config.py tests/nodes/sequencer tests/nodes/venues tests/nodes/executor tests/nodes/orders tests/nodes/backfill tests/nodes/model tests/storage/coverage \
	tests/storage/bars/test_bars.py tests/storage/archive/test_archive.py
.PHONY: help python venv dev extras up down status test fast peers lock chaos bench soak docs style types clean

help:
	@sed -n 's/^# \(make.*\)/  \1/p' Makefile

# Which Python makes the installation.
python:
	@echo "$(PYTHON)"

venv: $(STAMP)
dev: $(DEV_STAMP)

# What the mesh needs to run. Again only when the list of packages has changed; versions and hashes are those of requirements.lock.
# Modules are compiled as they are imported: by one process, before a dozen do it at once.
$(STAMP): setup.cfg pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "tickmesh needs Python 3.11 or newer: none of python3, python3.11 … is; \
	install one, or run make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "installing into .venv with $(PYTHON) (once, about a minute) …"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps -e .
	@.venv/bin/python -c "$(IMPORTS)" >/dev/null
	@touch $@

# What tests, benchmarks and checks need beside it.
$(DEV_STAMP): $(STAMP) requirements-dev.lock
	@echo "installing what tests need (once, another minute or two) …"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

up: $(STAMP)
	@.venv/bin/mesh up $(foreach one,$(VENUE),--venue $(one)) $(foreach one,$(INSTRUMENTS),--instruments $(one)) \
	$(if $(CAPTURE),--capture $(CAPTURE)) $(if $(SPEED),--speed $(SPEED))

# Without an installation there is nothing to stop.
down:
	@if [ -x .venv/bin/mesh ]; then .venv/bin/mesh down; else echo "tickmesh was not running."; fi

status: $(STAMP)
	@.venv/bin/mesh status

# So many at a time on two cores: most tests wait for real processes and for the pace of an exchange rather than work.
WORKERS ?= 3
test: $(DEV_STAMP)
	@.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal

fast: $(DEV_STAMP)
	@.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not mesh and not data" $(FAST)

# Python 3.13 has all of them; with an older one cryptofeed is skipped, with 3.11 nautilus_trader too.
peers:
	@test -x run/peers/bin/python || $(PYTHON) -m venv run/peers
	@run/peers/bin/python -m pip install -q --disable-pip-version-check -e '.[dev,bench]'
	@run/peers/bin/python -m pytest -rs tests/nodes/exchange/test_queue_hftbacktest.py tests/nodes/exchange/test_exchange_peers.py \
		tests/research/backtest/test_hftbacktest.py \
		tests/tools/exporting/test_event_arrays.py tests/tools/exporting/test_nautilus_tables.py

# Development first: a client that tests use pins packages (ccxt: cffi) that what runs needs as well, and both lie in one environment.
COMPILE := -q --upgrade --strip-extras --generate-hashes --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links
lock: $(STAMP)
	@.venv/bin/python -m venv run/lock
	@run/lock/bin/python -m pip install -q --disable-pip-version-check 'pip-tools>=7,<8'
	@run/lock/bin/pip-compile $(COMPILE) --extra dev --output-file requirements-dev.lock setup.cfg
	@run/lock/bin/pip-compile $(COMPILE) -c requirements-dev.lock --output-file requirements.lock setup.cfg
	@rm -rf run/lock

extras: $(STAMP)
	@$(PIP) -e '.[plot,export,research,learn]'

# A mesh of its own in a temporary folder; the one that runs here is not touched.
chaos: $(STAMP)
	@.venv/bin/mesh chaos --kills $(KILLS) --seed $(SEED)
	@.venv/bin/mesh chaos --orders --kills $(KILLS) --seed $(SEED)

bench: $(DEV_STAMP)
	@.venv/bin/python -m bench $(if $(JSON),--json $(JSON))

soak: $(DEV_STAMP)
	@.venv/bin/python -m bench.soak --hours $(HOURS) $(if $(CSV),--csv $(CSV)) $(if $(JSON),--json $(JSON))

DOCS_STAMP := .venv/.installed-docs
$(DOCS_STAMP): $(STAMP)
	@echo "installing what the site needs (once, half a minute) …"
	@$(PIP) -e '.[docs]'
	@touch $@

docs: $(DOCS_STAMP)
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --quiet --strict && echo "run/site/index.html"

style: $(DEV_STAMP)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check $(PACKAGES) tests bench >/dev/null || { echo "ruff format would change files: .venv/bin/ruff format $(PACKAGES) tests bench" >&2; exit 1; }

types: $(DEV_STAMP)
	@.venv/bin/mypy -p tickmesh -p bench

# Everything but data/: the installation, caches, and run/ of a mesh that is down.
clean:
	@$(MAKE) -s down
	rm -rf .venv run build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
