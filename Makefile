# Every target makes its own virtual environment first; none needs another to have run.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# More arguments for pytest: make test ARGS="-k stages"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv and install everything into it

demo: $(STAMP)  ## the whole pipeline on the embedded shop, into runs/demo
	@$(BIN)/shelftalk run experiments/configs/demo.yaml --out runs/demo
	@find runs/demo -maxdepth 2 -name report.html -exec echo "The report is {}" \;

# One thread a process: several processes with spinning threads starve each other.
test bench: export OMP_NUM_THREADS ?= 1
# Two workers of one thread each; the tests of one file share its fixtures, so they stay together.
test: $(STAMP)  ## every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(STAMP)  ## formatting, lint rules and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(STAMP)  ## the measured figures
	@$(BIN)/shelftalk bench all

# The stamp is touched last, so an install that broke off is done again.
# A candidate is asked for its version, because a pyenv shim can exist and not run.
$(STAMP): pyproject.toml constraints.txt
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		found=; \
		for candidate in python3.13 python3.12 python3.11 python3; do \
			if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
			then found=$$candidate; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "shelftalk needs Python 3.11 or newer; python3 here is: $$(python3 -V 2>&1 | head -n 1)." \
				"Install one and put it on PATH." >&2; exit 1; \
		fi; \
		echo "Making $(VENV) with $$($$found -V)"; \
		$$found -m venv $(VENV); \
	fi
	@echo "Installing into $(VENV) (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
		-c constraints.txt -e '.[dev]'
	@touch $@
