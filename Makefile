# make run: set up and run the desk on paper.   make test: set up and test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.bulkhead-ready

.PHONY: run setup test test-slow coverage check bench format lock clean

run: $(STAMP)
	exec $(BIN)/bulkhead run

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Bulkhead needs Python 3.11 or newer; name it with: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $(STAMP)

# Who shares the tests out never ends where a process of its own died and was replaced: so none is, and the run fails.
SPREAD := --dist loadfile --max-worker-restart=0

test: $(STAMP)
	$(BIN)/python -m pytest -n 3 $(SPREAD) -o faulthandler_timeout=200 -m "not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(SPREAD) -m slow

# Every branch of what decides about orders and money is taken by a test, or this fails.
BOOKS := desk/order.py,desk/transition.py,desk/portfolio.py,desk/holdings.py,desk/conservation.py,desk/executions.py,desk/reconcile.py,desk/day.py,actors/execution/reconciling.py,actors/execution/wishes.py,actors/tag_rules.py
coverage: $(STAMP)
	$(BIN)/python -m coverage run --branch --data-file=.coverage --include='$(BOOKS)' -m pytest -q -n 0 -m "not slow" tests/desk tests/actors/test_execution_books.py tests/actors/test_execution_in_doubt.py tests/actors/test_tag_rules.py
	$(BIN)/python -m coverage report --data-file=.coverage --show-missing --fail-under=100

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python bench/tick_to_order.py
	$(BIN)/python bench/restart.py
	$(BIN)/python bench/swarm.py
	$(BIN)/python bench/siblings.py
	$(BIN)/python bench/order_path.py
	$(BIN)/python bench/simulation.py
	$(BIN)/python bench/footprint.py
	$(BIN)/python bench/cold_start.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
