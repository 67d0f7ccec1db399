# make help says what there is. PYTHON names the interpreter that .venv is made with: make demo PYTHON=python3.13

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
DEMO_ARGS ?=
SOAK_ARGS ?=
UNSTEADY_ARGS ?=
BENCH ?= tests.bench

BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
TWO_AT_ONCE := --numprocesses 2 --dist loadfile
# Tests of services wait more than they work. Each of the three has a broker and databases of its own.
# In the order of the files: by default those with few tests, which are the longest here, come last.
THREE_AT_ONCE := --numprocesses 3 --dist loadfile --no-loadscope-reorder
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Parts of requirements/ into an environment, each file checked against its hash; then the project, which has none.
with = --require-hashes $(foreach part,$(1),--requirement requirements/$(part).txt)
PROJECT := --no-deps --no-build-isolation --editable .
RUNS := build collector analyst cluster embedded
TOOLS := build/tools/bin
# What may be newer: UPGRADE='--upgrade-package ray' moves one package, UPGRADE= none.
UPGRADE ?= --upgrade

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# One environment cannot be installed into twice at once, and the checks share its CPUs: -j changes nothing here.
.NOTPARALLEL:

.PHONY: demo
demo: $(VENV)/demo.stamp  ## everything on this machine: broker, database, Ray, a car on the page
	$(BIN)/purple-sector demo $(DEMO_ARGS)

.PHONY: test
test: style types  ## style, types, then all tests
	$(PYTEST) $(TWO_AT_ONCE) tests/unit $(PYTEST_ARGS)
	$(PYTEST) $(THREE_AT_ONCE) tests/contract tests/service $(PYTEST_ARGS)
	$(PYTEST) tests/cluster tests/demo $(PYTEST_ARGS)

.PHONY: unit
unit: $(VENV)/test.stamp  ## the tests that need neither network nor Ray
	$(PYTEST) $(TWO_AT_ONCE) tests/unit $(PYTEST_ARGS)

.PHONY: services
services: $(VENV)/test.stamp  ## fetch now what tests and the embedded services would fetch when first asked for
	$(BIN)/python -m ingest.embedded

.PHONY: style
style: $(VENV)/test.stamp  ## ruff
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: $(VENV)/test.stamp  ## mypy
	$(BIN)/mypy

.PHONY: bench
bench: $(VENV)/test.stamp  ## measure ingest; writes build/bench.json
	$(BIN)/python -m $(BENCH)

.PHONY: bench-live
bench-live: $(VENV)/test.stamp  ## measure how old a frame is at a viewer's socket; writes build/bench-live.json
	$(BIN)/python -m tests.bench.live

.PHONY: soak
soak: $(VENV)/test.stamp  ## kill every kind of process in turn for half an hour, and audit the store; see docs/soak.md
	$(BIN)/python -m tests.soak $(SOAK_ARGS)

.PHONY: unsteady
unsteady: $(VENV)/test.stamp  ## run the service tests on half a CPU, and list what failed (root)
	$(BIN)/python -m tests.unsteady $(UNSTEADY_ARGS)

.PHONY: guards
guards: $(VENV)/test.stamp  ## take the guards of access out one by one: a test has to fail without each
	$(BIN)/python -m tests.guards

.PHONY: figures
figures: $(VENV)/test.stamp  ## print the figures of the house style
	$(BIN)/python -m tests.style

.PHONY: docs
docs: $(VENV)/made.stamp  ## build the documentation as a site, in build/docs
	$(PIP_INSTALL) $(call with,$(RUNS) notebooks dev docs)
	$(PIP_INSTALL) $(PROJECT)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs

.PHONY: reference
reference: $(VENV)/test.stamp  ## write .env.example and the generated parts of docs/reference from the code
	$(BIN)/python -m tests.reference

.PHONY: requirements
requirements: $(VENV)/test.stamp build/tools.stamp  ## write requirements/ anew; see UPGRADE
	PATH="$(CURDIR)/$(TOOLS):$$PATH" $(BIN)/python -m tests.supply.requirements $(UPGRADE)

.PHONY: audit
audit: build/tools.stamp  ## known vulnerabilities of the packages in requirements/; fails if one is found
	$(TOOLS)/python -m tests.supply.audit

.PHONY: sbom
sbom: $(VENV)/demo.stamp build/tools.stamp  ## list what .venv holds as CycloneDX, in build/sbom.json
	$(TOOLS)/cyclonedx-py environment --no-validate --pyproject pyproject.toml --output-reproducible --output-file build/python.json $(BIN)/python
	$(TOOLS)/python -m tests.supply.sbom build/python.json $(VENV) build/sbom.json

.PHONY: proto
proto: $(VENV)/test.stamp  ## generate ingest/telemetry_pb2.py from proto/, and copy the proto for the wheel
	$(BIN)/python -m grpc_tools.protoc --proto_path=proto --python_out=ingest --pyi_out=ingest proto/telemetry.proto
	cp proto/telemetry.proto ingest/

.PHONY: clean
clean:  ## remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find analytics ingest notebooks serve tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: help
help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

# What Debian's python3 lacks without python3-venv is ensurepip; venv itself says so in six lines.
$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "make: $(PYTHON) is not a Python 3.11 or later; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "make: $(PYTHON) cannot make environments: ensurepip is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/made.stamp pyproject.toml $(wildcard requirements/*.txt)
	@echo "installing into $(VENV): a minute or two, once"
	$(PIP_INSTALL) $(call with,$(RUNS))
	$(PIP_INSTALL) $(PROJECT)
	@touch $@

# All that the demo needs and more, hence the demo's stamp too.
$(VENV)/test.stamp: $(VENV)/made.stamp pyproject.toml $(wildcard requirements/*.txt)
	@echo "installing into $(VENV): a minute or two, once"
	$(PIP_INSTALL) $(call with,$(RUNS) notebooks dev)
	$(PIP_INSTALL) $(PROJECT)
	@touch $@ $(VENV)/demo.stamp

# Apart, so that they are no part of what they list and check.
build/tools.stamp: requirements/tools.txt
	$(PYTHON) -m venv --clear build/tools
	$(TOOLS)/python -m pip install --quiet --disable-pip-version-check $(call with,tools)
	@touch $@
