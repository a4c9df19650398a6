# Two commands: `make demo` evolves a network on real data, `make test` runs the suite. Both make the
# virtual environment first where it is absent. `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= auto
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUN := OMP_NUM_THREADS=1 $(BIN)/python
# Stamps lie inside the environment, so that they vanish with it. Each waits for the one before it:
# no two installs ever run at once.
CORE := $(VENV)/.core-installed
DEV := $(VENV)/.dev-installed
EXTRAS := $(VENV)/.extras-installed
DOCS := $(VENV)/.docs-installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-extras bench lint docs clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(CORE) ## evolve a sparse network on the handwritten digits
	$(BIN)/structure-net demo $(ARGS)

test: $(DEV) ## run the test suite
	$(RUN) -m pytest -q -n $(WORKERS) --maxprocesses 8 --dist worksteal -m "not extras" $(ARGS)

test-extras: $(EXTRAS) ## run the tests of the optional parts
	$(RUN) -m pytest -q -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder -m extras $(ARGS)

bench: $(DEV) ## measure, and print ratios
	$(RUN) -m benchmarks $(ARGS)

lint: $(DEV) ## check style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(DOCS) ## write the guides and the reference to site/
	$(BIN)/python -m mkdocs build --strict $(ARGS)

clean: ## remove the environment and what was built
	rm -rf $(VENV) .cache build dist site *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12 ..." % v)'
	@echo "Making the virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -f $(BIN)/python; exit 1; }

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Structure Net into $(VENV); PyTorch is large, so this takes some minutes"
	@$(PIP) install --constraint constraints.txt setuptools
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable .
	@touch $@

$(DEV): $(CORE)
	@echo "Installing what the tests need"
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

$(EXTRAS): $(DEV)
	@echo "Installing the optional parts"
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[all,dev,docs]'
	@touch $@

$(DOCS): $(DEV)
	@echo "Installing what the pages need"
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[dev,docs]'
	@touch $@
