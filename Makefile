# Every target sets up what it needs: Python 3.11 with venv, make and a POSIX shell are enough.
.SUFFIXES:

PYTHON = python3
BIN = .venv/bin
STAMP = .venv/.installed
OPA = sidecar/_native/opa
ENGINE = $(wildcard sidecar/native/opa/go.* sidecar/native/opa/*/*.go)

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' Makefile | while IFS=@ read -r name text; do \
		printf '%-20s%s\n' "$$name" "$$text"; done

setup: $(STAMP) ## make .venv, install everything into it, build the policy engine
	@test -x $(OPA) || { rm -f $(STAMP); $(MAKE) $(STAMP); }

$(STAMP): pyproject.toml requirements.lock hatch_build.py $(ENGINE)
	@echo "Installing, and building the policy engine. The first time takes minutes and says nothing meanwhile."
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(STAMP)

run: setup ## run the demo; options in ARGS, as in make run ARGS=--once
	$(BIN)/sidecar demo $(ARGS)

test: setup ## run every test: Python and Rego; options in ARGS
	$(BIN)/python -m pytest $(ARGS)
	$(OPA) test --timeout 60s rego

check: setup ## lint, types, room rules, Rego
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(OPA) fmt --list --fail rego
	$(OPA) check --strict --schema schemas/decision-input.schema.json rego

bench: setup ## measure one governed call beside its peers
	$(BIN)/python -m benchmarks $(ARGS)

fixtures: setup ## build the programs that tests run against
	@$(BIN)/python -m tests.fixtures

conformance: setup ## count how far the engine is OPA: its own cases, and a server beside it
	@$(BIN)/python -m tests.conformance $(ARGS)

leaks: setup ## run canary secrets through the product and look for them everywhere; options in ARGS
	@$(BIN)/python -m tests.leaks $(ARGS)

mutants: setup ## prove that each invariant's test fails when the invariant is broken
	$(BIN)/python -m tests.mutants $(ARGS)

lock: setup ## recompile requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --generate-hashes --universal --python-version 3.11 \
		--no-emit-index-url --no-header --output-file requirements.lock

.PHONY: help setup run test check bench fixtures conformance leaks mutants lock
