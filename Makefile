# The only door for verbs: here, in CI and on a user's machine alike. `make help` lists them.
# Needs Python from 3.11 on and make; everything else comes from the lock files in locks/.

PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11, \
            $(shell $(p) -c 'import sys; print("$(p)") if sys.version_info >= (3, 11) else None' 2>/dev/null)) python3)
BIN := .venv/bin
THERE := test -x $(BIN)/pgannex || { echo 'nothing is set up yet: make up'; exit 0; };

.PHONY: help demo up down psql reset test check bench native fuzz asan clean runtime dev format

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: runtime ## set up, embed all of pg_description, ask twelve questions, then break things
	@$(BIN)/pgannex demo

up: runtime ## set up, start Postgres and the server, print how to connect
	@$(BIN)/pgannex up

down: ## stop both; the data stay
	@$(THERE) $(BIN)/pgannex down

psql: ## a prompt in the embedded Postgres
	@$(THERE) $(BIN)/pgannex psql

reset: ## stop both and delete the data
	@$(THERE) $(BIN)/pgannex reset --yes

test: dev ## every test that can run on this machine; the last lines name what could not
	@$(BIN)/python tools/test.py $(ARGS)

check: dev ## ruff, mypy, import contracts, house rules
	@$(BIN)/python tools/check.py

format: dev ## let ruff write the layout of the code
	@$(BIN)/ruff format server wire fdw tests tools bench
	@$(BIN)/ruff check --fix --quiet server wire fdw tests tools bench

bench: dev ## the bars, as ratios inside one run; results go to bench/results
	@$(BIN)/pgannex bench $(ARGS)

native: runtime ## build the C extension for each Postgres there is, warnings are errors
	@$(BIN)/pgannex build --werror

fuzz: dev ## feed the C decoder broken frames; ends in a line of counts
	@$(BIN)/python tools/native_checks.py fuzz $(ARGS)

asan: dev ## the fuzzer under address and undefined-behaviour sanitizers; ends in a line of counts
	@$(BIN)/python tools/native_checks.py asan $(ARGS)

runtime:
	@$(PYTHON) tools/bootstrap.py run

dev:
	@$(PYTHON) tools/bootstrap.py dev

clean: ## stop what runs and remove everything that make created
	@$(PYTHON) tools/clean.py
