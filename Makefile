# Each target makes what it needs: a virtual environment in .venv, then the packages, once per pyproject.toml.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
WORKERS ?= 2
ARGS ?=

.PHONY: help demo test bench soak lint docs packages clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.for-demo ## run a real three-stage study on all cores and export its provenance
	@$(BIN)/python -m compileall -q provrun
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/localization/demo

test: packages lint ## check the code and run the whole suite
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

lint: $(VENV)/.for-test ## ruff, mypy and the import contract
	@$(BIN)/python -m compileall -q provrun
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: packages $(VENV)/.for-test ## measure everything against the machine's own limit
	@$(BIN)/python -m compileall -q provrun
	@$(BIN)/python tests/benchmarks $(ONLY)

soak: packages $(VENV)/.for-test ## kill runs at random, more than 500 times (SEEDS=1-3)
	@$(BIN)/python -m compileall -q provrun
	$(BIN)/python -m pytest -m soak -n $(WORKERS) --dist load $(ARGS)

docs: packages $(VENV)/.for-test ## build the documentation into site/
	@$(BIN)/python .ci/reference-page commands >docs/reference/commands.md
	@$(BIN)/python .ci/reference-page states >docs/reference/states.md
	@$(BIN)/python .ci/reference-page vocabulary >docs/reference/vocabulary.md
	@$(BIN)/python .ci/reference-page context >provrun/export/vocabulary/context.jsonld
	@mkdir -p docs/vocabulary && cp provrun/export/vocabulary/*.ttl provrun/export/vocabulary/*.jsonld docs/vocabulary
	@$(BIN)/python -c 'from provrun.core.states import drawing; print(drawing())' | dot -Tsvg >docs/reference/states.svg
	@$(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

packages:
	@.ci/packages

clean: ## remove what the other targets made
	rm -rf $(VENV) build site dist

$(VENV)/.pip:
	@python=$$(.ci/python) && echo "making $(VENV) with $$python" && "$$python" -m venv $(VENV)
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.for-demo: pyproject.toml | $(VENV)/.pip
	@echo "installing provrun"
	@$(PIP) --editable . --group examples
	@touch $@

$(VENV)/.for-test: pyproject.toml | $(VENV)/.pip
	@echo "installing provrun and what its tests need"
	@$(PIP) --editable '.[mpi,postgres,data,notebook]' --group test --group examples --group docs
	@test -x $(VENV)/validator/bin/python || $(BIN)/python -m venv $(VENV)/validator
	@$(VENV)/validator/bin/python -m pip --disable-pip-version-check install --quiet 'roc-validator>=0.13' responses
	@touch $@ $(VENV)/.for-demo
