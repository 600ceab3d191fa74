# Needs python3 (3.11 or newer, with venv) and git; everything else is installed into .venv.

PYTHON ?= python3
PORT ?= 50000
SECONDS ?= 60
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := packages/thenodes-plugin-api packages/thenodes-core packages/thenodes-relay packages/thenodes-cli
PLUGIN := examples/kvstore_plugin
EDITABLE := $(foreach path,$(PACKAGES) $(PLUGIN),-e $(path))
PROJECTS := $(foreach path,$(PACKAGES) $(PLUGIN),$(path)/pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help run demo test soak lint types contracts api fuzz docs screens build clean

help: ## list these verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /make \1	/'

run: $(VENV)/installed ## start a node at its prompt, with the kvstore example loaded; PORT=50000
	@echo 'In a second terminal, start another node that connects to this one:'
	@echo
	@echo '    $(BIN)/thenodes run --port $(shell expr $(PORT) + 1) --state-dir data/second --bootstrap 127.0.0.1:$(PORT) --plugin $(PLUGIN) --prompt'
	@echo
	@echo 'Then type "kvstore put a 1" in one and "kvstore get a" in the other.'
	@echo
	@$(BIN)/thenodes run --port $(PORT) --state-dir data/first --plugin $(PLUGIN) --prompt

demo: $(VENV)/installed ## two nodes as two processes: put a key on one, read it on the other
	@$(BIN)/python examples/demo.py

test: $(VENV)/ready ## set everything up and pass all tests
	$(BIN)/pytest $(ARGS)

soak: $(VENV)/ready ## the tests that take minutes: relays, receivers and databases killed again and again
	$(BIN)/pytest -m soak $(ARGS)

lint: $(VENV)/ready ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready ## mypy --strict
	$(BIN)/mypy

contracts: $(VENV)/ready ## import-linter: who may import whom
	$(BIN)/lint-imports

api: $(VENV)/ready ## take the snapshot of the plugin API, once its numbers and changelog say what changed
	@$(BIN)/python -m thenodes_plugin_api.testing.public_api \
	    packages/thenodes-plugin-api/api.json packages/thenodes-plugin-api/CHANGELOG.md

fuzz: $(VENV)/installed ## fuzz what a peer can send, from the test vectors on; SECONDS=60 of each target
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
	    $(BIN)/pip install --quiet --disable-pip-version-check --only-binary :all: atheris || { \
	    echo "make fuzz needs atheris, whose wheels are for Linux on x86-64 and Python 3.11 to 3.14; this is $$($(BIN)/python -c 'import platform as p; print(p.system(), p.machine(), p.python_version())')." >&2; \
	    exit 1; }
	@$(BIN)/python -m fuzz --seconds $(SECONDS)

docs: $(VENV)/docs ## build the docs site into build/docs, warnings as errors
	@$(BIN)/sphinx-build --fresh-env --fail-on-warning --keep-going --quiet --builder html docs build/docs
	@echo 'Open build/docs/index.html'

screens: $(VENV)/screens ## take the pictures of the prompt that the docs show, from nodes that run
	@$(BIN)/python -m tools.screens docs/screens

build: $(VENV)/ready ## build every package into dist/
	@for package in $(PACKAGES); do \
	    (cd $$package && $(CURDIR)/$(BIN)/hatch build $(CURDIR)/dist) || exit 1; \
	done

clean: ## remove what was built and installed, not data/
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "TheNodes needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12" >&2; \
	    exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "No venv module: on Debian, apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/installed: $(VENV)/python $(PROJECTS)
	@echo 'Installing into $(VENV) …'
	@$(BIN)/pip install --quiet --disable-pip-version-check $(EDITABLE)
	@touch $@

$(VENV)/ready: $(VENV)/installed pyproject.toml
	@echo 'Installing the development tools …'
	@$(BIN)/pip install --quiet --disable-pip-version-check --group dev
	@touch $@

$(VENV)/docs: $(VENV)/installed pyproject.toml
	@echo 'Installing the generator of the docs site …'
	@$(BIN)/pip install --quiet --disable-pip-version-check --group docs
	@touch $@

$(VENV)/screens: $(VENV)/installed pyproject.toml
	@$(BIN)/pip install --quiet --disable-pip-version-check --group screens
	@touch $@
