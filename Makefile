# Everything here needs Python >= 3.11, make, and access to the package index; nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# On two cores: many tests wait for a process or a clock, so that four leave a third of the processors' time unused.
SPREAD := -n 6 --dist worksteal

.PHONY: run install quick test test-all check check-api bench chaos simulate broken mutants lock

run: $(VENV)/.runtime ## serve everything that is configured
	$(BIN)/bob run

install: $(VENV)/.installed ## only make .venv, tests included

quick test: export PYTHONDONTWRITEBYTECODE := # what pytest makes of the tests is kept for the next time
quick: $(VENV)/.installed ## what needs no server, no browser and no other process: after each change (a minute at most)
	$(BIN)/python -m pytest -q -n 2 -m quick --hypothesis-profile=quick

test: $(VENV)/.installed ## whatever guards a promise, on SQLite and on a PostgreSQL that it starts itself
	$(BIN)/python -m pytest $(SPREAD) -m "not thorough" --durations=15

test-all: $(VENV)/.installed ## the whole suite, then what takes hours (tests/README.md)
	$(BIN)/python -m pytest $(SPREAD) --durations=15
	$(MAKE) check-api broken

check: $(VENV)/.installed ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-api: $(VENV)/.installed ## 20,000 requests made up from the API's description
	$(BIN)/python -m tests.check_api

bench: $(VENV)/.installed ## figures, each against a baseline in the same run
	$(BIN)/python -m tests.bench

chaos: $(VENV)/.installed ## the long storms of kills, pauses, cuts and crashes (half an hour)
	$(BIN)/python -m tests.acceptance.chaos

simulate: $(VENV)/.installed ## whole Bob under a virtual clock, one seed after the other, for an hour
	$(BIN)/python -m tests.simulated --seconds 3600

broken: $(VENV)/.installed ## break every promise on purpose, one at a time, and see the suite notice
	$(BIN)/python -m tests.broken

mutants: $(VENV)/.installed ## make small mistakes, one at a time, and count those that the nearest tests notice
	$(BIN)/python -m tests.mutants

lock: $(VENV)/.installed ## choose versions anew, for every Python and platform
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header -q -U \
		pyproject.toml --extra build -o requirements.lock
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header -q -U \
		pyproject.toml --extra build --extra dev -c requirements.lock -o tests/requirements.lock

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Bob needs Python 3.11 or newer.") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/python requirements.lock pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed: $(VENV)/.runtime tests/requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r tests/requirements.lock
	@touch $@
