# make demo   set up, restore photos and a guitar, rebuild a portrait from 512 numbers, design molecules
# make serve  set up, open the page in the browser: http://127.0.0.1:8642
# make test   set up, then lint, types, tests, docstring examples, README and documentation
# make docs   set up, build the site with its gallery into build/docs
# make bench  the benchmarks that need no data set (the others: see benchmarks/README.md)

PYTHON ?= python3
BIN := .venv/bin

MADE := build/docs docs/generated docs/auto_examples docs/api/generated  # by former builds of the site

.PHONY: demo serve test docs bench clean

demo: .venv/all
	$(BIN)/headwater demo

serve: .venv/all
	$(BIN)/headwater serve --browser

test: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup

docs: .venv/docs
	rm -rf $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

bench: .venv/dev
	$(BIN)/python benchmarks/lbfgs_batch.py
	$(BIN)/python benchmarks/engine_overhead.py
	$(BIN)/python benchmarks/memory.py

.venv/%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$*]'
	touch $@

clean:
	rm -rf .venv build dist demo-output $(MADE)
