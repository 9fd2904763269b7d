# Everything is set up on demand: `make demo` and `make test` need Python 3.11 and
# a network, nothing else. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO_VENV := .venv-proto
# Without a home that can be written, uv has no place for its cache.
UV_CACHE := $${UV_CACHE_DIR:-$${XDG_CACHE_HOME:-$$HOME/.cache}/uv}
UV := $(shell mkdir -p "$(UV_CACHE)" 2>/dev/null || echo UV_NO_CACHE=1) $(BIN)/uv

PROTOS := $(sort $(shell find protos/forebay -name '*.proto'))
PROTO_FILES := $(PROTOS:protos/%=%)
SERVICE_FILES := forebay/compute/v1/compute.proto forebay/v1/calls.proto
GATEWAY_PROTOS := forebay_gateway/load_reports/orca.proto
# The comments of our own services, for /openapi.json: generated code has none.
COMMENTS := gateway/forebay_gateway/web/openapi/descriptions.binpb
SCALER_PROTO := forebay_gateway/scaling/externalscaler.proto
TEST_PROTOS := tests/echo/v1/echo.proto tests/survival/v1/survival.proto \
  tests/servicers/helloworld.proto tests/servicers/route_guide.proto \
  tests/plain/v1/plain.proto tests/reports/v1/reports.proto
TUTORIAL := examples/tutorial
GENERATED := .

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-variants soak mutants check docs reference proto proto-check lock build bench bench-quick node clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# `setup` may be interrupted at any moment, and run twice at once: the second waits for the first.
setup: ## Make the environment in .venv.
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Forebay needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv)"; exit 1; }
	@$(PYTHON) requirements/locked.py $(VENV).lock $(MAKE) --no-print-directory environment

.PHONY: environment
environment: $(VENV)/.ready
	@:

# An environment without .ready was interrupted, and is made anew: what it has may be in part.
# uv comes by pip, with its hash checked; it then installs the rest likewise.
$(VENV)/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $@
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --compile-bytecode --require-hashes --requirement requirements/dev.txt
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Run the tutorial's three calls, from nothing to nothing.
	$(BIN)/python examples/demo.py

# Six at a time on any machine: most of their time is waiting. They start hundreds of
# processes, so bytecode is written whatever the environment says.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 6 --dist loadgroup --no-loadscope-reorder

test: setup ## Run all tests but further variants, on the front native.
	$(PYTEST) -m "not variant"

# What shows differences between the fronts: all kinds of calls, metadata, deadlines, errors, health,
# reflection, draining, several processes, slow and broken callers, bytes that are not gRPC.
ON_GRPC := $(addprefix tests/e2e/test_,$(addsuffix .py,calls calls_as_grpcs calls_as_grpcs_aio \
  extreme_deadlines health lame_duck long_statuses pings processes reflection stalled_callers)) \
  $(addprefix tests/faults/test_,$(addsuffix .py,fuzzing_connections gateway_ending)) \
  $(addprefix tests/contract/test_,$(addsuffix .py,calls resumption))

# With TLS, a tenant's quotas and signed messages: by API keys, or by JWTs and client certificates.
# Left out is what sends `authorization` itself, what speaks in plain text (raw HTTP/2, grpcurl, a
# grpc.server to compare with), and what tests a gateway without identity. Of the faults:
# - descriptors, fuzzing_connections and rolling_restart open connections in plain text
# - worker_queues runs `celery control`, which signing keys turn off
# - fuzzing and garbage write messages without signatures, which workers with keys refuse unread;
#   tests/contract/test_signed_messages.py has those
# - the others fail the servers behind the gateway, and take too long to be run twice more
WITH_KEYS := $(addprefix tests/e2e/test_,$(addsuffix .py,asyncio_operations calls compute \
  long_statuses operation_commands operation_gateways operation_methods operations resuming_cancel \
  resuming_uploads stalled_callers)) \
  $(addprefix tests/faults/test_,$(addsuffix .py,gateway_ending handler_exits lost_workers \
  start_after_outage)) \
  tests/contract/test_calls.py
WITH_TOKENS := $(addprefix tests/e2e/test_,$(addsuffix .py,call_service calls_as_grpcs \
  calls_as_grpcs_aio health lame_duck live long_calls processes resuming resuming_aio servicers)) \
  $(addprefix tests/faults/test_,$(addsuffix .py,batches ephemeral_stops live_calls)) \
  tests/contract/test_resumption.py
WITHOUT_IDENTITY := test_metadata_goes_to_the_handler_and_back or test_credentials_are_not_stored \
  or test_calls_can_be_seen_and_ended_on_loopback_only \
  or test_grpcurl_reads_operations_and_their_contents or grpc.server or grpc.aio.server \
  or test_grpcurl_reads_the_declared_messages or test_a_gateway_warns_if_its_operations \
  or test_tenants_have_operations_of_their_own or test_a_full_queue_takes_operations_again

test-variants: setup ## Run further variants of tests: other failovers, longer battles, the front grpc, identity.
	$(PYTEST) -m variant
	FOREBAY_FRONT=grpc $(PYTEST) -m "not variant" $(ON_GRPC)
	TEST_IDENTITY=keys $(PYTEST) -m "not variant" -k "not ($(WITHOUT_IDENTITY))" $(WITH_KEYS)
	TEST_IDENTITY=tokens $(PYTEST) -m "not variant" -k "not ($(WITHOUT_IDENTITY))" $(WITH_TOKENS)

soak: setup ## Kill, stop and cut off everything for SOAK_MINUTES (30), with new seeds.
	$(BIN)/python -m tests.faults.nemesis

# MUTANTS="queue_limits --python 1000" tests all mutants of one module; --help lists the options.
mutants: setup ## Change the pure modules and Lua scripts; tests must notice.
	$(BIN)/python -m tests.mutants $(MUTANTS)

check: setup proto-check docs ## Check style, types, the contract and the documentation.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint protos

docs: setup ## Build the documentation into site/, to be read from there.
	$(BIN)/python -m docs.reference --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build --strict

reference: setup ## Make the pages of reference from the sources.
	$(BIN)/python -m docs.reference

proto: proto-setup ## Generate code from the contract.
	@$(MAKE) --no-print-directory generate GENERATED=$(GENERATED)

.PHONY: proto-setup
proto-setup: setup
	@$(PYTHON) requirements/locked.py $(PROTO_VENV).lock $(MAKE) --no-print-directory proto-environment

.PHONY: proto-environment
proto-environment: $(PROTO_VENV)/.ready
	@:

# The generator is older than the runtime on purpose; see requirements/proto.in.
$(PROTO_VENV)/.ready: requirements/proto.txt
	test -e $@ || $(PYTHON) -m venv --clear --without-pip $(PROTO_VENV)
	@rm -f $@
	VIRTUAL_ENV=$(PROTO_VENV) $(UV) pip install --quiet --require-hashes --requirement requirements/proto.txt
	@touch $@

PROTOC := PATH=$(CURDIR)/$(PROTO_VENV)/bin:$$PATH $(PROTO_VENV)/bin/python -m grpc_tools.protoc
MESSAGES = --python_out=$(1) --mypy_out=quiet:$(1)
STUBS = --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1)
OURS = $(GENERATED)/clients/python

.PHONY: generate
generate:
	@mkdir -p $(OURS)
	@$(PROTOC) -Iprotos $(call MESSAGES,$(OURS)) $(PROTO_FILES)
	@$(PROTOC) -Iprotos $(call STUBS,$(OURS)) $(SERVICE_FILES)
	@mkdir -p $(GENERATED)/$(dir $(COMMENTS))
	@$(PROTOC) -Iprotos --include_source_info --descriptor_set_out=$(GENERATED)/$(COMMENTS) $(PROTO_FILES)
	@$(PROTOC) -Igateway $(call MESSAGES,$(GENERATED)/gateway) $(GATEWAY_PROTOS) $(SCALER_PROTO)
	@$(PROTOC) -Igateway $(call STUBS,$(GENERATED)/gateway) $(SCALER_PROTO)
	@google=$$(mktemp -d) && trap 'rm -rf $$google' EXIT && $(BIN)/forebay protos --google $$google >/dev/null && \
	  $(PROTOC) -I. -Iprotos -I$$google $(call MESSAGES,$(GENERATED)) $(call STUBS,$(GENERATED)) $(TEST_PROTOS)
	@mkdir -p $(GENERATED)/$(TUTORIAL)
	@$(PROTOC) -I$(TUTORIAL) -Iprotos $(call MESSAGES,$(GENERATED)/$(TUTORIAL)) \
	  $(call STUBS,$(GENERATED)/$(TUTORIAL)) tutorial.proto

proto-check: proto-setup ## Fail where the generated code is stale.
	@fresh=$$(mktemp -d) && trap 'rm -rf $$fresh' EXIT && \
	  $(MAKE) --no-print-directory generate GENERATED=$$fresh && \
	  cd $$fresh && for file in $$(find . -type f); do \
	    cmp -s $$file $(CURDIR)/$$file || { echo "$$file is stale: make proto"; exit 1; }; done

lock: setup ## Lock the newest versions that fit, without any host's name.
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --no-emit-package forebay --extra all --group dev pyproject.toml --output-file requirements/dev.txt
	grep '^uv==' --after-context=100 requirements/dev.txt | awk 'NR > 1 && /^[a-z]/ {exit} {print}' > requirements/uv.txt
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate requirements/proto.in --output-file requirements/proto.txt
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate requirements/ray.in --output-file requirements/ray.txt

NODE_READY := clients/node/node_modules/.package-lock.json
node: $(NODE_READY) ## Install what the Node client needs.

$(NODE_READY): clients/node/package.json clients/node/package-lock.json
	npm ci --prefix clients/node --silent --no-audit --no-fund
	touch $@

build: setup ## Build the wheel and the source distribution into dist/.
	$(BIN)/python -m build --installer uv

bench: setup ## Measure against the rivals; write bench/results/.
	$(BIN)/python -m bench

bench-quick: setup ## The same in short, without writing results.
	$(BIN)/python -m bench --quick

clean: ## Remove what the other targets made.
	rm -rf $(VENV) $(PROTO_VENV) .venv-ray dist site clients/*/node_modules clients/node/dist clients/node/src/gen clients/go/gen .mypy_cache .pytest_cache .ruff_cache .hypothesis
