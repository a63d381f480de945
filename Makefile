# `make help` lists every target. Each one makes .venv and installs what it needs first.
PYTHON ?= python3
BIN := .venv/bin
PORT ?=
STORE :=

.DEFAULT_GOAL := help
.PHONY: help install demo ui methods docs test test-slow test-gpu test-ui lint format pictures clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed ## make .venv with all that experiments need

demo: .venv/installed ## the main job on built-in phantom images, no download; minutes
	$(BIN)/python scripts/demo.py

ui: .venv/installed ## MLflow's pages over the local runs, on http://127.0.0.1:5000 (PORT=... STORE=file.db)
	@"$(BIN)/python" scripts/ui.py $(if $(PORT),port=$(PORT)) $(if $(STORE),"tracking.uri=$(STORE)")

methods: .venv/installed ## every method: parameters, FLOPs, source
	$(BIN)/python scripts/methods.py

test: .venv/developing ## the tests, two at a time; minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: .venv/developing ## the tests that train on real data, and whole comparisons; an hour
	$(BIN)/python -m pytest -m slow

test-gpu: .venv/developing ## every network on a GPU; minutes. Without one all is skipped, saying why
	$(BIN)/python -m pytest -m gpu tests/gpu

test-ui: .venv/browsing ## MLflow's pages in a real browser; needs Chromium on the PATH
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ui

docs: .venv/developing ## check the pages of docs/: links, files, commands
	$(BIN)/python -m pytest tests/test_docs.py

lint: .venv/developing ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/developing ## rewrite the code as ruff would
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pictures: .venv/browsing ## make the README's pictures again; minutes, needs Chromium
	$(BIN)/python tools/phantom_pictures.py
	$(BIN)/python tools/readme_pictures.py

clean: ## remove .venv, caches and outputs; never runs (mlflow/) or data
	rm -rf .venv .cache outputs .pytest_cache .mypy_cache .ruff_cache

# Exact pins make every machine the same. To try newer releases: pip install -U without -c.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e . -c constraints.txt
	@touch $@

.venv/developing: .venv/installed
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[dev]' -c constraints.txt
	@touch $@

.venv/browsing: .venv/developing
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[dev,ui]' -c constraints.txt
	@touch $@
