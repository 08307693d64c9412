# liuyan：`make help` lists what can be done. Everything runs in .venv, made from the lock file (hashes checked).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

.DEFAULT_GOAL := help
.PHONY: help run run-kafka test test-chaos test-fast check lint types contracts format docs bench lock clean

help:  ## Lists the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %d.%d: make PYTHON=python3.12 …" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(READY_DEV): $(READY) requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

run: $(READY)  ## Installs (once) and starts the demonstration: liuyan standalone --demo
	$(BIN)/liuyan standalone --demo

run-kafka: $(READY_DEV)  ## The same through Kafka, the three services and PostgreSQL, on this machine: liuyan demo-kafka
	$(BIN)/liuyan demo-kafka

test: $(READY_DEV)  ## Installs what tests need and runs them all
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-chaos: $(READY_DEV)  ## Faults under load for an hour: long outages, a long random schedule (CHAOS_SEED=… replays one)
	CHAOS_LONG=1 $(BIN)/python -m pytest -s tests/chaos

test-fast: $(READY_DEV)
	$(BIN)/python -m pytest -m "not slow" --cov --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=98

check: lint types contracts test-fast  ## Lint, types, import contracts, fast tests with coverage of the core, docs tests

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY_DEV)
	$(BIN)/mypy

contracts: $(READY_DEV)
	$(BIN)/lint-imports --no-logo

format: $(READY_DEV)  ## Formats the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

docs: $(READY)  ## Regenerates the generated pages under docs/
	$(BIN)/python -m docs.generate

bench: $(READY_DEV)  ## Measures against named alternatives in the same run and prints ratios
	$(BIN)/python -m bench

lock: $(READY_DEV)  ## Resolves the lock files anew (needs uv: pip install uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate pyproject.toml --extra build -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --no-strip-extras pyproject.toml --all-extras -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate pyproject.toml --extra build --extra kafka --extra oidc --extra postgres --extra faust -c requirements-dev.lock -o requirements-distributed.lock

clean:  ## Removes the environment and caches
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
