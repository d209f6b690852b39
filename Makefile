# Two commands for everyone: `make demo` and `make test`. The others are for contributors.
# Options: PYTHON=python3.12 chooses the interpreter, WORKERS=8 the number of test processes.

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PYTHON ?=
INPUTS := pyproject.toml constraints.txt tools/install.sh tools/weights.txt
export PYTHON
# One thread per process: two test processes on two cores, and sums that do not depend on the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help demo test long format pages compatibility clean \
	check check-format check-lint check-types check-imports check-structure

help:
	@echo "make demo     train the built-in model with a reward, in under ten minutes, and write a report"
	@echo "make test     run the tests"
	@echo "make long     run the rest of the matrices of which make test tries a part"
	@echo "make check    formatter, linter, types, import rule, size budget, equation index"
	@echo "make format   apply the formatter and the linter's own fixes"
	@echo "make pages    write the generated pages of docs/ anew"
	@echo "make compatibility  run the families' tests with old and new diffusers (half an hour, 4 GB)"
	@echo "make clean    remove the environment and the caches"

demo: $(VENV)/core.stamp
	$(BIN)/scoreward demo

test: $(VENV)/dev.stamp
	@sh tools/programs.sh
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not long"

# Every method in every precision, every recipe on a device, long training: after `make test`, in CI.
long: $(VENV)/dev.stamp
	$(PYTEST) -n $(WORKERS) --dist worksteal -m long

# `make -k check` goes on after the first complaint.
check: check-format check-lint check-types check-imports check-structure

check-format: $(VENV)/dev.stamp
	$(BIN)/ruff format --check --output-format concise .

check-lint: $(VENV)/dev.stamp
	$(BIN)/ruff check --output-format concise .

check-types: $(VENV)/dev.stamp
	$(BIN)/pyright --pythonpath $(BIN)/python

check-imports: $(VENV)/dev.stamp
	$(BIN)/lint-imports --no-logo

check-structure: $(VENV)/dev.stamp
	$(PYTEST) -q -m "not slow" tests/structure

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

pages: $(VENV)/dev.stamp
	$(BIN)/python -m tools.equations_page
	$(BIN)/python -m tools.published_page
	$(BIN)/python -m tools.matrix_page

compatibility: $(VENV)/dev.stamp
	$(BIN)/python -m tools.compatibility

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info

# A stamp is as new as the last successful installation, so a second call starts at once.
$(VENV)/core.stamp: $(INPUTS)
	@sh tools/install.sh $(VENV) .
	@touch $@

$(VENV)/dev.stamp: $(INPUTS)
	@sh tools/install.sh $(VENV) '.[dev]'
	@touch $(VENV)/core.stamp $@
