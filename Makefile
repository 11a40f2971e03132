# Everything runs in .venv, made by the first command that needs it. `make docs` adds its own packages.
# After that nothing needs the network.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
READY := $(VENV)/.ready
# To compile all that is installed takes as long as to install it; what is imported is compiled then.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint $(CONSTRAINTS)
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint format docs oldest clean

demo: $(READY)
	$(BIN)/python examples/demo.py

test: lint
	$(BIN)/python -m pytest -n auto

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# The oldest supported versions, in an environment of their own; on Linux x86-64 this torch brings CUDA along.
oldest:
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --editable ".[test]"
	$(BIN)/python -c "import matplotlib.pyplot, sklearn_vae"
	touch $@

$(VENV)/.docs: $(READY)
	$(INSTALL) --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) .venv-oldest docs/_build docs/auto_examples docs/api/generated build *.egg-info
