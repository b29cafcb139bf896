# Every target does its own set-up. Needed beforehand: Python 3.11 or newer, git, make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TASKCAT_VENV := .taskcat-venv
NODE_VENV := .node-venv
BENCHMARK_NPM := .cache/npm/benchmarks
BENCHMARK_ARGS ?=
ONLY ?=
SERVER ?= generated
PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=
FAULT_SEQUENCES ?= 2000
STAGE ?= prod

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: demo
demo: $(VENV)/ready ## Scaffold, deploy, call and tear down on the local cloud; KEEP=1 leaves it up
	@$(BIN)/python -m local_cloud.demo $(if $(KEEP),--keep)

.PHONY: demo-down
demo-down: $(VENV)/ready ## Tear down what `make demo KEEP=1` left up
	@$(BIN)/python -m local_cloud.demo --down

.PHONY: test
test: lint $(TASKCAT_VENV)/ready ## Run every automatic check
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup $(PYTEST_ARGS)

.PHONY: test-faults
test-faults: $(VENV)/ready ## Put every custom resource through thousands of failing sequences; FAULT_RANDOM=1 draws others
	FAULT_SEQUENCES=$(FAULT_SEQUENCES) $(BIN)/python -m pytest -n $(PYTEST_WORKERS) tests/custom_resources/faults $(PYTEST_ARGS)

.PHONY: test-mutants
test-mutants: $(VENV)/ready ## Break the custom resources in many ways and see their tests notice
	$(BIN)/python -m tests.custom_resources.mutation --workers $(PYTEST_WORKERS)

.PHONY: test-stages
test-stages: $(VENV)/ready ## Create, change, roll back and delete every stage on the local cloud; ONLY=dev for one
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup tests/stages $(addprefix -k ,$(ONLY)) $(PYTEST_ARGS)

.PHONY: test-container
test-container: $(VENV)/ready ## Build the image and run it as Fargate does; needs Linux, root, buildah, podman
	$(BIN)/python -m pytest tests/container $(PYTEST_ARGS)

.PHONY: test-network
test-network: $(VENV)/ready ## Call and replace tasks behind haproxy; needs Linux, root, haproxy, iproute2
	$(BIN)/python -m pytest tests/network $(PYTEST_ARGS)

.PHONY: conformance
conformance: $(VENV)/ready .cache/npm/conformance/ready ## Run the official MCP conformance suite against a generated server
	$(BIN)/python -m pytest tests/conformance $(PYTEST_ARGS)

.PHONY: benchmark
benchmark: $(VENV)/ready $(BENCHMARK_NPM)/ready ## Measure the server beside others; ONLY=calls for one part, RECORD=1 to keep it
	@$(BIN)/python -m benchmarks $(addprefix --only ,$(ONLY)) $(if $(RECORD),--record) $(BENCHMARK_ARGS)

.PHONY: profile
profile: $(VENV)/ready ## Show where the server's processor time goes under load; SERVER=defaults or lowlevel for others
	@$(BIN)/python -m benchmarks --profile $(SERVER)

.PHONY: lint
lint: $(VENV)/ready ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd '{{cookiecutter.project_slug}}' && ../$(BIN)/mypy --cache-dir ../.mypy_cache/ops --config-file ../pyproject.toml ops

.PHONY: format
format: $(VENV)/ready ## Rewrite sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: reference
reference: $(VENV)/ready ## Write the custom resources' reference pages from their code and the templates
	$(BIN)/python -m tests.custom_resources.reference

.PHONY: docs
docs: $(VENV)/ready ## Write the pages in docs that are made from the templates
	$(BIN)/python -m tests.infrastructure.critical_path --docs
	$(BIN)/python -m tests.operations.pages
	$(BIN)/python -m tests.infrastructure.permissions

.PHONY: critical-path
critical-path: $(VENV)/ready ## Show what a first deploy waits for and how long; STAGE=dev for another than prod
	@$(BIN)/python -m tests.infrastructure.critical_path --stage $(STAGE)

.PHONY: bench-functions
bench-functions: $(VENV)/ready ## Measure the functions' start, and what registration adds to the service's own time
	$(BIN)/python -m benchmarks.functions

.PHONY: local-cloud
local-cloud: $(VENV)/ready ## Start the local cloud alone and print what to export
	@$(BIN)/python -m local_cloud

.PHONY: taskcat
taskcat: $(VENV)/ready $(TASKCAT_VENV)/ready ## Test the default project with taskcat in your AWS account
	$(BIN)/python -m tests.taskcat

.PHONY: taskcat-local
taskcat-local: $(VENV)/ready $(TASKCAT_VENV)/ready ## Test the default project with taskcat over two regions of the local cloud
	$(BIN)/python -m tests.taskcat --local

.PHONY: requirements
requirements: $(VENV)/ready $(NODE_VENV)/ready ## Resolve every requirements file anew
	$(BIN)/uv pip compile $(COMPILE) --python-version 3.11 --universal requirements/uv.in -o requirements/uv.txt
	$(BIN)/uv pip compile $(COMPILE) --python-version 3.11 --universal requirements/dev.in -o requirements/dev.txt
	$(BIN)/uv pip compile $(COMPILE) --python-version 3.11 --universal requirements/node.in -o requirements/node.txt
	$(BIN)/uv pip compile $(COMPILE) --python-version 3.11 requirements/taskcat.in -o requirements/taskcat.txt
	cd '{{cookiecutter.project_slug}}' && for name in requirements requirements-dev; do \
	  ../$(BIN)/uv pip compile $(COMPILE) --python-version 3.11 --universal $$name.in -o $$name.txt; done
	$(BIN)/uv pip compile $(COMPILE) --python-version 3.13 --universal custom_resources/requirements.in -o custom_resources/requirements.txt
	cd tests/conformance && PATH="$(CURDIR)/$(NODE_VENV)/bin:$$PATH" npm update --package-lock-only --omit-lockfile-registry-resolved
COMPILE := --quiet --upgrade --generate-hashes --no-header --no-annotate

.PHONY: clean
clean: ## Remove environments, caches and everything built
	rm -rf $(VENV) $(TASKCAT_VENV) $(NODE_VENV) .cache build .pytest_cache .mypy_cache .ruff_cache .hypothesis taskcat_outputs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is newer than the requirements it was made from, so a second call does nothing.
$(VENV)/ready: requirements/uv.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version 2>&1) was found. Set PYTHON=python3.12, say."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@touch $@

$(TASKCAT_VENV)/ready: requirements/taskcat.txt $(VENV)/ready
	@test -x $(TASKCAT_VENV)/bin/python || $(PYTHON) -m venv $(TASKCAT_VENV)
	@$(BIN)/uv pip sync --quiet --python $(TASKCAT_VENV)/bin/python --require-hashes requirements/taskcat.txt
	@touch $@

.cache/npm/conformance/ready: tests/conformance/package-lock.json $(NODE_VENV)/ready
	@mkdir -p $(@D) && cp tests/conformance/package*.json $(@D)
	@PATH="$(CURDIR)/$(NODE_VENV)/bin:$$PATH" npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(NODE_VENV)/ready: requirements/node.txt $(VENV)/ready
	@test -x $(NODE_VENV)/bin/python || $(PYTHON) -m venv $(NODE_VENV)
	@$(BIN)/uv pip sync --quiet --python $(NODE_VENV)/bin/python --require-hashes requirements/node.txt
	@touch $@

# Outside of the tree: Node finds packages beside the module that imports them.
$(BENCHMARK_NPM)/ready: $(addprefix benchmarks/typescript/,package.json package-lock.json server.mjs) $(NODE_VENV)/ready
	@mkdir -p $(@D)
	@cp $(filter benchmarks/%,$^) $(@D)
	@cd $(@D) && PATH=$(CURDIR)/$(NODE_VENV)/bin:$$PATH npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@
