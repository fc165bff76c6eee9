# What a newcomer types: `make demo`. What a developer types: `make check test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The torch build is yours to choose. On a machine with an NVIDIA GPU leave this as it is: the package index's
# own build brings CUDA. Without a GPU, where that build would be several gigabytes, name PyTorch's CPU wheels:
#   make install TORCH="torch==2.13.0 --index-url <PyTorch's CPU wheel index>"
TORCH ?= torch==2.13.0
DEMO_OUT ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)

export SEALORA_CACHE ?= $(CURDIR)/.cache
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo test test-slow check style bench clean
.DEFAULT_GOAL := demo

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Error: $(PYTHON) is older than Python 3.11: install it, or name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Error: $(PYTHON) cannot make virtual environments: on Debian, apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/sealora-site model fetch smollm2-135m-instruct
	$(BIN)/sealora-site demo-data .cache/demo
	$(BIN)/sealora simulate configs/demo-icd10.yaml --out $(DEMO_OUT)

# Two processes with one thread each: tiny models gain nothing from threads, and threads on shared cores wait.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

style: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Peers that only the benchmarks need (TenSEAL, Opake) are installed here. Each prints one JSON object on a line; all
# together an hour and a half, on a machine with nothing else to do. tests/benchmarks/utility.py, some hours, is run by hand.
bench: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/sealora-site model fetch smollm2-135m-instruct
	$(BIN)/sealora-site demo-data .cache/demo
	$(BIN)/python tests/benchmarks/seal.py --json
	$(BIN)/python tests/benchmarks/round_trip.py --json
	$(BIN)/python tests/benchmarks/dp_step.py --json
	$(BIN)/python tests/benchmarks/coupling.py --json
	$(BIN)/python tests/benchmarks/robust.py --json

clean:
	rm -rf $(VENV) .cache runs .mypy_cache .ruff_cache .pytest_cache
