# Every target sets itself up: a machine needs Python 3.11 to 3.13 and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup reproduce reproduce-all demo docs bench test test-fast test-servers test-data test-wheel format lint ui clean
PYTEST = $(BIN)/python -m pytest --numprocesses 2 --dist worksteal
# Everything of the course on Fashion-MNIST, MNIST and the line, and how images are shuffled; horse_or_human needs images
# that nobody serves.
ABLATIONS := filter_count dense_vs_conv layer_count pooling dense_size scaling epochs remedies mnist_ladder depth stop_callback uniform_pictures line shuffling course_grid
# Numbers of seeds at which these are judged. More than 8 decide a few claims more, and cost more than five seeds of everything.
LOOKS := 3,5,8

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed ## create .venv and install everything in its pinned version (about two minutes)

.venv/installed: pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else f"convsweep needs Python 3.11 to 3.13, {sys.executable} is {v[0]}.{v[1]}; choose one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt
	@touch $@

reproduce: setup ## train the course's 16, 32 and 64 filters on Fashion-MNIST beside its published numbers
	$(BIN)/convsweep ablate filter_count

reproduce-all: setup ## every ablation on Fashion-MNIST and MNIST, with verdicts, and an index page (two hours; LOOKS=3 for less, LOOKS=3,5,8,13,21 for all that seeds can decide)
	$(BIN)/convsweep ablate $(ABLATIONS) 'statistics.looks=[$(LOOKS)]'

demo: setup ## the same in small, on scikit-learn's digits: no download, under a minute
	$(BIN)/convsweep ablate demo

docs: setup ## build the documentation as a site that works without a network: build/docs/index.html
	$(BIN)/python docs/scripts/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup ## time the same work by the course's script, Optuna + MLflow, KerasTuner, Ray Tune and convsweep (an hour; ROUNDS=1 for 20 minutes)
	$(BIN)/python benchmarks/filters.py $(or $(ROUNDS),3)
	$(BIN)/python benchmarks/epoch_extension.py $(or $(ROUNDS),3)
	$(BIN)/python benchmarks/search.py $(or $(ROUNDS),3)
	$(BIN)/python benchmarks/own_model.py $(or $(ROUNDS),3)

test: setup ## run all tests that need no files of yours and no PostgreSQL
	$(PYTEST) -m 'not real_data and not servers'

test-fast: setup ## nine tests in ten: no training in other processes, no files (about a minute)
	$(PYTEST) -m 'not slow and not real_data and not servers'

test-data: setup ## the tests on the real MNIST, horses and humans, under CONVSWEEP_DATA_DIR
	$(PYTEST) -m real_data

test-servers: setup ## the tests on PostgreSQL and MLflow's server, which they start; PostgreSQL must be installed
	$(PYTEST) -m servers

test-wheel: setup ## install the wheel in a new environment; in an empty folder run convsweep init and its example (about four minutes)
	.ci/wheel

format: setup ## mend what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: setup ## check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

ui: setup ## open MLflow's pages on what was tracked here
	$(BIN)/convsweep ui

clean: ## remove both environments, caches and build output; results in mlruns/ stay
	rm -rf .venv .venv-peers build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
