# The door to everything. Each target makes what it needs; from a fresh clone `make demo` or `make check` is enough.

PYTHON ?= python3
# Another Python beside the usual one: make check PYTHON=python3.13 VENV=.venv313
export VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PACKAGE := $(VENV)/.package-installed
DEV := $(VENV)/.dev-installed
CLIENTS := tests/clients/node_modules/.installed
CLIENT_JS := tests/client_js/node_modules/.installed
PROXIES := $(VENV)/.proxies-installed
PAGES := tests/pages/node_modules/.installed

# Tests wait more than they work: one process more than there are cores. A file's tests share their servers.
PYTEST = $(BIN)/python -m pytest -n $$(($$(nproc) + 1)) --dist loadfile

# Node.js may live there, see tests/clients/install.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# The tests start hundreds of processes: what those import is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check chaos bench screenshots format clean

help: ## what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: $(PACKAGE) ## a virtual environment with the package in it

demo: $(PACKAGE) ## the server with a demo database and a simulated router
	$(BIN)/wellnet-sse demo $(ARGS)

test: $(DEV) $(CLIENTS) $(CLIENT_JS) ## the fast tests; ARGS="-k outbox -x" goes to pytest
	@marks="not chaos and not slow"; tests/deploy/install && tests/pages/install || { marks="$$marks and not system"; \
		echo "Without them, the tests that need them are left to 'make check'."; }; \
	set -x; $(PYTEST) -m "$$marks" $(ARGS)

check: $(DEV) $(CLIENTS) $(CLIENT_JS) $(PROXIES) $(PAGES) ## what CI runs: lint, format, types, all but the long tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYTEST) $(ARGS)

chaos: $(DEV) $(CLIENTS) $(CLIENT_JS) $(PAGES) ## the long tests: kills, stalls, storms
	$(BIN)/python -m pytest -m chaos $(ARGS)

bench: $(DEV) ## measure speed; ARGS goes to bench/run
	bench/run $(ARGS)

screenshots: $(DEV) $(PAGES) ## take the pictures of docs/screenshots anew
	$(BIN)/python -m tests.pages.screenshots

format: $(DEV) ## lay out the code as `check` wants it
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean: ## remove everything that was made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	rm -rf tests/clients/node_modules tests/client_js/node_modules tests/client_js/build tests/pages/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A half-made environment is never taken for a whole one: the stamps come last.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "wellnet-sse needs Python 3.11 or later: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(PACKAGE): pyproject.toml | $(BIN)/python
	$(PIP) install --editable .
	@touch $@

# --group is known to pip since 25.1; a new environment may hold an older one.
$(DEV): pyproject.toml | $(BIN)/python
	$(PIP) install --upgrade "pip>=25.1"
	$(PIP) install --editable . --group dev
	@touch $(PACKAGE) $@

$(CLIENTS): tests/clients/package-lock.json tests/clients/install | $(DEV)
	tests/clients/install
	@touch $@

$(CLIENT_JS): tests/client_js/package-lock.json | $(CLIENTS)
	tests/client_js/install
	@touch $@

$(PROXIES): tests/deploy/install | $(BIN)/python
	tests/deploy/install
	@touch $@

$(PAGES): tests/pages/package-lock.json tests/pages/install | $(CLIENTS)
	tests/pages/install
	@touch $@
