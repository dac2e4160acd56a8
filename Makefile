# Everything from a fresh machine: Python 3.11, Node 20, a C++ compiler and CMake. The first run builds llama.cpp
# (about five minutes); pip keeps the wheel for the next.
PY := .venv/bin/python
export PATH := $(CURDIR)/tools/bin:$(CURDIR)/node_modules/.bin:$(CURDIR)/.venv/bin:$(PATH)
export SOLCX_BINARY_PATH := $(CURDIR)/tools/solc
# Ape keeps nothing of this project outside it.
export APE_DATA_FOLDER := $(CURDIR)/.build/ape

.PHONY: help demo test check bench gas abi lock install clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

demo: install contracts-built ## the whole oracle on a local chain: answer, dispute, refund
	$(PY) -m oracle.cli demo --panel

test: install contracts-built ## all tests
	$(if $(wildcard tests/invariants/*.t.sol),forge test)
	$(PY) -m pytest -p no:ape_test $(wildcard tests/unit tests/exact tests/disputes tests/attestation tests/e2e)
	$(if $(wildcard tests/contracts/test_*.py),ape test tests/contracts)

check: install contracts-built ## linters, types, static analysis
	ruff check .
	ruff format --check .
	mypy
	forge fmt --check contracts tests/invariants
	forge lint --deny notes contracts
	slither . --config-file slither.config.json

bench: install ## speed, memory and accuracy, side by side; writes bench.json
	$(PY) -m bench

gas: install contracts-built ## gas of every step, from receipts; writes gas.json
	ape test tests/contracts/test_gas.py tests/contracts/test_gas_disputes.py tests/contracts/test_gas_attested.py tests/contracts/test_gas_file.py --write-gas

abi: install contracts-built ## what the node knows of the contracts
	$(PY) scripts/export_abi.py

lock: ## pin all dependencies again; torch stays apart, so that each machine gets its own build
	uv pip compile pyproject.toml --extra dev --extra llamacpp --extra hub --python-version 3.11 --no-header \
	    --generate-hashes --no-emit-index-url --no-emit-find-links -o requirements/dev.lock
	uv pip compile pyproject.toml --extra llamacpp --extra hub --python-version 3.11 --no-header \
	    --generate-hashes --no-emit-index-url --no-emit-find-links -o requirements/node.lock

install: .venv/installed node_modules/installed

contracts-built: node_modules/installed .venv/installed
	@forge build contracts

.venv/installed: requirements/dev.lock pyproject.toml $(wildcard setup.py oracle/engines/exact/kernels/*)
	@test -x $(PY) || python3 -m venv .venv
	@echo "Installing Python packages; llama.cpp is compiled once, in about five minutes."
	@$(PY) -m pip install --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(PY) -m pip install --disable-pip-version-check torch==2.13.0
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

node_modules/installed: package-lock.json
	@# Not `npm ci`: it refuses a lock without the binaries of other platforms, which some registries do not carry.
	@npm install --silent --no-save
	@touch $@

clean: ## builds and caches, not the environments
	rm -rf .build .pytest_cache .mypy_cache .ruff_cache .hypothesis
