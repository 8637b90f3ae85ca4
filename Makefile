# One command each. A virtual environment is made once in .venv; it is brought up to date when
# pyproject.toml changes. Another Python: `make test PYTHON=python3.13`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test coverage check fast-inside fast-around lint bench docs wheel clean

demo: $(VENV)/.standard
	$(BIN)/atled train digits

test: $(VENV)/.dev
	$(BIN)/python -m pytest

coverage: $(VENV)/.dev
	$(BIN)/python -m pytest --cov --cov-report=term

# Two at a time, on two cores under a minute.
check: $(VENV)/.dev
	@$(MAKE) --no-print-directory --output-sync=target --jobs=2 fast-inside fast-around lint

FAST := $(BIN)/python -m pytest -m "not slow" --backend numpy
INSIDE := tests/backends tests/compile tests/core tests/ops

fast-inside:
	$(FAST) $(INSIDE)

fast-around:
	$(FAST) $(INSIDE:%=--ignore=%) --ignore=tests/test_layers.py

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

bench: $(VENV)/.bench
	$(BIN)/python bench/eager.py
	$(BIN)/python bench/compiled.py
	$(BIN)/python bench/transforms.py

docs: $(VENV)/.dev
	$(BIN)/python tools/generate.py
	$(BIN)/python -m tests.core.numpy_table
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(VENV)/.dev
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf $(VENV) dist site .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.standard: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable ".[standard]"
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable ".[dev]"
	touch $@ $(VENV)/.standard

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable ".[bench]"
	touch $@ $(VENV)/.standard
