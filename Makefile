# What a newcomer types: `make demo`. What a developer types: `make check test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The torch build is yours to choose, and the one thing here that is installed without a hash unless you name its lock.
# On a machine with an NVIDIA GPU leave this as it is: the package index's own build brings CUDA. Without a GPU, where
# that build would be several gigabytes, name PyTorch's CPU wheels:
#   make install TORCH="torch==2.13.0 --index-url <PyTorch's CPU wheel index>"
# With hashes: TORCH="--require-hashes -r $(REQUIREMENTS)/torch-cuda.txt", or torch-cpu.txt with that index.
TORCH ?= torch==2.13.0
REQUIREMENTS := deploy/requirements
DIST ?= dist
SPHINX = $(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet --doctree-dir .cache/doctrees docs $(DOCS)
BANDIT = $(BIN)/bandit --quiet --configfile pyproject.toml --recursive common server client
LOCKED := --only-binary :all: --require-hashes
# Libraries that tests alone use, and that come as source: built by the setuptools that is locked.
FROM_SOURCE := --no-build-isolation --no-binary rouge-score,sqlitedict,word2number
GPU_REPORT ?= runs/gpu-report
PART ?=
DOCS ?= runs/docs
DEMO_OUT ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)

export SEALORA_CACHE ?= $(CURDIR)/.cache
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install reference docs pictures demo test test-slow test-gpu check style bench lock audit release clean
.DEFAULT_GOAL := demo

install: $(VENV)/.installed

# What `make demo` needs, and no more.
$(VENV)/.demo: pyproject.toml $(REQUIREMENTS)/build.txt $(REQUIREMENTS)/sim.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Error: $(PYTHON) is older than Python 3.11: install it, or name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Error: $(PYTHON) cannot make virtual environments: on Debian, apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet $(LOCKED) --requirement $(REQUIREMENTS)/build.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet $(LOCKED) --requirement $(REQUIREMENTS)/sim.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@touch $@

# What tests and checks need beside it.
$(VENV)/.installed: $(VENV)/.demo $(REQUIREMENTS)/dev.txt
	$(BIN)/python -m pip install --quiet $(LOCKED) $(FROM_SOURCE) --requirement $(REQUIREMENTS)/dev.txt
	$(BIN)/python -m pip check
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/sealora-site model fetch smollm2-135m-instruct
	$(BIN)/sealora-site demo-data .cache/departments --task departments
	$(BIN)/sealora simulate configs/triage.yaml --out $(DEMO_OUT)

# Two processes with one thread each: tiny models gain nothing from threads, and threads on shared cores wait. What took
# longest is told at the end: CONTRIBUTING.md says what may.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations 10

# Hours, so in parts: make test-slow PART=client, PART=federation/test_operations_walk.py
test-slow: install
	$(BIN)/python -m pytest -m slow --durations 10 tests/$(PART)

# All that there is to check on a GPU, in minutes; GPU_REPORT.md and .json say what held, how fast and in how much memory.
test-gpu: install
	$(BIN)/python -m pytest -m gpu --gpu-report $(GPU_REPORT)

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy deploy/release
	$(BANDIT)
	$(SPHINX)

reference: install
	$(BIN)/python -m sealora_common.recipe.reference > docs/recipe.md
	{ $(BIN)/python -m sealora_server.deployment.reference; $(BIN)/python -m sealora_client.site.reference; } \
		> docs/settings.md
	sed -i '/^## Every name$$/,$$d' docs/python.md
	$(BIN)/python -m sealora.reference >> docs/python.md

# The pages of docs/ as a site that needs nothing but itself: open $(DOCS)/index.html. A broken link ends it.
docs: install
	$(SPHINX)

# docs/pictures, from what real runs wrote: the demo's (RUN) and a comparison of its recipe (WORTH). deploy/release/make_pictures.py
# has the list of them; a page that is being served is named with PAGES="--page NAME=URL".
pictures: install
	$(BIN)/python deploy/release/make_pictures.py $(if $(RUN),--run $(RUN)) $(if $(WORTH),--comparison $(WORTH)) $(PAGES)

style: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Peers that only the benchmarks need (TenSEAL, Opake) are installed here. Each prints one JSON object on a line; all
# together an hour and a half, on a machine with nothing else to do. tests/benchmarks/utility.py, some hours, is run by hand.
bench: install
	$(BIN)/python -m pip install --quiet $(LOCKED) $(FROM_SOURCE) --requirement $(REQUIREMENTS)/bench.txt
	$(BIN)/sealora-site model fetch smollm2-135m-instruct
	$(BIN)/sealora-site demo-data .cache/demo
	$(BIN)/python tests/benchmarks/seal.py --json
	$(BIN)/python tests/benchmarks/round_trip.py --json
	$(BIN)/python tests/benchmarks/many_sites.py --json
	$(BIN)/python tests/benchmarks/dp_step.py --json
	$(BIN)/python tests/benchmarks/coupling.py --json
	$(BIN)/python tests/benchmarks/robust.py --json

# Hashes of the versions in constraints.txt, for Linux. torch and what it brings for CUDA lie in a file of their own, so
# that another build of torch can take its place; torch-cpu.txt comes from PyTorch's own index, and is renewed by hand.
CUDA = $(shell grep -oE '^(torch|triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+)==' constraints.txt | tr -d =)
ELSEWHERE := httpx2-jsfetch # browsers
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --constraint constraints.txt \
	--no-annotate --custom-compile-command "make lock"

lock: install
	for extra in server site data sim dev bench; do \
		$(COMPILE) pyproject.toml --extra $$extra $(CUDA:%=--no-emit-package %) $(ELSEWHERE:%=--no-emit-package %) \
			--output-file $(REQUIREMENTS)/$$extra.txt || exit 1; \
	done
	printf '%s\n' $(CUDA) | $(COMPILE) - --no-deps --output-file $(REQUIREMENTS)/torch-cuda.txt
	printf '%s\n' hatchling pip setuptools | $(COMPILE) - --output-file $(REQUIREMENTS)/build.txt

# Whether a locked version has a known vulnerability: asks the package index's service, and says so where none answers.
# 1 where one is known. Not part of `check`, which says the same of the same commit on every day.
audit: install
	$(BANDIT)
	$(BIN)/python deploy/release/audit.py

# dist/sealora-VERSION: wheel, sdist, lock files, SBOMs and checksums of the last commit, signed if SIGN_KEY names an
# OpenSSH key outside the checkout. docs/supply-chain.md says how to check them.
release: install
	$(BIN)/python deploy/release/make_release.py --out $(DIST) $(if $(SIGN_KEY),--key $(SIGN_KEY))

clean:
	rm -rf $(VENV) .cache runs .mypy_cache .ruff_cache .pytest_cache
