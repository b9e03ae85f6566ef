# `make demo` and `make test` install what they need into .venv first.
PYTHON ?= python3
VENV ?= .venv
# With a GPU, or to take another build: make TORCH="torch --index-url ..." (see README.md).
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin
OUT ?= out/demo

.PHONY: install demo test test-all lint check format nets docs bench clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@

demo: install
	$(BIN)/netspec solve solvers/examples/sample-fcn8s.prototxt --sample --seed 1 --out $(OUT)

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not long"

test-all: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint test

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

nets: install
	$(BIN)/python tools/make_nets.py

docs: install
	$(BIN)/python tools/make_docs.py

bench: $(VENV)/benched
	$(BIN)/python tools/bench.py nets load passes growth

$(VENV)/benched: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -e ".[bench]"
	@touch $@

clean:
	rm -rf $(VENV) out build *.egg-info
