# Every daily command. `make` lists them; CI calls the same targets.
# On a fresh machine: Python 3.11 or later and make.

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.flowtide-installed
PYTEST_ARGS ?=
# what `make run` keeps belongs to this checkout, not to the installed Flowtide of the same person
export FLOWTIDE_DATA_PATH ?= $(CURDIR)/.flowtide/data

.DEFAULT_GOAL := help
.PHONY: help setup run test check format layers bench simulate fuzz services services-stop image docs schemas clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@deploy/development/make-venv $(VENV)
	@touch $(STAMP)

setup: $(STAMP) ## make .venv (run and test do it themselves)

run: $(STAMP) ## start everything on this machine, with the flows of docs/examples
	@$(BIN)/flowtide server standalone --flow-path docs/examples --script-runner auto

test: $(STAMP) ## run the tests (PYTEST_ARGS="tests/unit -k retry" for some of them)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP) ## formatting, lint, types, layers, documents: what CI demands beside the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/tidy

format: $(STAMP) ## format the code and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

layers: $(STAMP) ## only the test that imports point inwards
	@$(BIN)/python -m pytest -q tests/tidy/test_layers.py

bench: $(STAMP) ## run the benchmarks; results in benchmarks/results (BENCH_ARGS for options)
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

simulate: $(STAMP) ## run the whole system under faults (SIMULATE_ARGS="--seed 42" repeats a failure)
	@$(BIN)/python -m tests.simulation $(SIMULATE_ARGS)

fuzz: $(STAMP) ## look longer for texts and flows that crash (FUZZ_EXAMPLES=10000 of each kind)
	@FLOWTIDE_FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),10000) $(BIN)/python -m pytest --timeout 3600 \
	  tests/unit/expressions/test_grammar_fuzzing.py tests/unit/model/test_source_fuzzing.py \
	  tests/integration/test_api_conformance.py $(PYTEST_ARGS)

services: ## start a real Kafka and Elasticsearch: Docker Compose where Docker runs, else from registry packages
	@deploy/services/services start

services-stop: ## stop them
	@deploy/services/services stop

image: ## build the OCI image flowtide:dev
	@docker build -f deploy/docker/Dockerfile -t flowtide:dev .

docs: $(STAMP) ## write the generated pages of docs/reference anew
	@$(BIN)/python -m flowtide.settings.reference docs/reference/settings.md
	@$(BIN)/python -m flowtide.cli.reference docs/reference/cli.md
	@$(BIN)/python -m flowtide.cli.language docs/reference/language
	@$(BIN)/python -m flowtide.api.permissions docs/reference/permissions.md
	@$(BIN)/python -m flowtide.api.reference docs/reference/api.md
	@$(BIN)/python -m flowtide.api.openapi schemas/openapi.yaml

schemas: $(STAMP) ## write schemas/ anew from the record types
	@$(BIN)/python -m flowtide.cli.schemas

clean: ## remove the environment, caches and the data of `make run`
	@rm -rf $(VENV) .flowtide .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
