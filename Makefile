# Everything that a contributor and CI run. `make` alone lists the targets. Needs Python 3.11-3.13 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# More pytest arguments: make test ARGS="-k ranking"
ARGS ?=
# The slow tests that CI runs as well, as a pytest -k expression.
SLOW_SUBSET := kill or the_peak or demo or walk or splits or ready_grid or plain_counting or every_preset or fast_gradients or hundred or test_ten_thousand_rows or who_else or (raises_no_flag and 0031) or passes_are_those or from_the_recipe or many_draws or coverage_on_two_thousand or family_wise

# The interpreter's version, e.g. 3.11, and the constraints of that version where there are any.
VERSION_OF := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
VERSION := $(shell $(PYTHON) $(VERSION_OF) 2>/dev/null)
CONSTRAINTS := constraints/ci-py$(subst .,,$(VERSION)).txt
INSTALLED := $(VENV)/.installed-$(VERSION)

# Without --confcutdir pytest imports the root __init__.py once more, under the name of the checkout's folder.
PYTEST := $(BIN)/pytest --confcutdir=tests --durations=15

# One process a core, at most four; each takes a stretch of files, so that most share what their tests share, and then
# from whoever has most left.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist worksteal

# Idle OpenMP threads sleep: two cores are shared with everything else.
export OMP_WAIT_POLICY := passive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo install test test-all test-slow-subset bench lint constraints clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{ printf "make %-18s %s\n", $$1, $$2 }'

install: $(INSTALLED) ## make .venv and install the package and its tools (other targets do this by themselves)

$(INSTALLED): pyproject.toml $(wildcard constraints/*.txt)
	@if [ -z "$(VERSION)" ]; then echo "$(PYTHON) does not run; name another: make PYTHON=python3.12 ..." >&2; exit 1; fi
	@if [ "$$($(BIN)/python $(VERSION_OF) 2>/dev/null)" != "$(VERSION)" ]; then \
		echo "Creating $(VENV) with Python $(VERSION)"; \
		$(PYTHON) -m venv --clear $(VENV); \
	fi
	@if [ -f $(CONSTRAINTS) ]; then pinned="-c $(CONSTRAINTS)"; else pinned=""; fi; \
	echo "Installing robustreid[dev] $${pinned:-without constraints (there are none for Python $(VERSION))}; a minute or two the first time"; \
	$(BIN)/pip install --quiet $$pinned -e '.[dev]'
	@rm -f $(VENV)/.installed-* && touch $@

demo: $(INSTALLED) ## attack five small models on drawn people and make the pages: about a minute once installed
	@$(BIN)/robustreid demo --out runs/demo

test: $(INSTALLED) ## run the tests but the slow ones
	@echo "Running the tests that are not slow"
	@$(PYTEST) $(SIDE_BY_SIDE) -m "not slow" --benchmark-disable $(ARGS)

test-all: $(INSTALLED) ## run every test
	@echo "Running every test"
	@$(PYTEST) --benchmark-disable $(ARGS)

test-slow-subset: $(INSTALLED) ## run the slow tests that CI runs as well
	@echo "Running the slow tests that match '$(SLOW_SUBSET)'"
	@status=0; $(PYTEST) $(SIDE_BY_SIDE) -m slow -k "$(SLOW_SUBSET)" --benchmark-disable $(ARGS) || status=$$?; \
	if [ $$status -eq 5 ]; then echo "Notice: no slow test matches '$(SLOW_SUBSET)' yet"; else exit $$status; fi

bench: $(INSTALLED) ## time the project beside its peers: a table of ratios of CPU time (an hour; less: ARGS="-k cell")
	@$(BIN)/python -c 'from importlib.util import find_spec; exit(None in map(find_spec, ("foolbox", "art")))' || \
		{ echo "Installing the peers: robustreid[bench]"; $(BIN)/pip install --quiet -e '.[dev,bench]'; }
	@echo "Running the benchmarks"
	@mkdir -p .benchmarks
	@$(PYTEST) tests/benchmarks --benchmark-only --benchmark-timer=time.process_time \
		--benchmark-columns=median,iqr,rounds $(ARGS)

lint: $(INSTALLED) ## ruff (rules, format), mypy --strict, import-linter
	@echo "ruff check";          $(BIN)/ruff check .
	@echo "ruff format --check"; $(BIN)/ruff format --check .
	@mkdir -p .typing && ln -sfn .. .typing/robustreid
	@echo "mypy --strict";       $(BIN)/mypy --strict
	@echo "lint-imports";        $(BIN)/lint-imports --no-logo

constraints: ## make the constraints of this Python version anew, with the newest releases that pyproject.toml admits
	@echo "Resolving pyproject.toml for Python $(VERSION) into $(CONSTRAINTS)"
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder/venv"; \
	"$$folder/venv/bin/pip" install --quiet pip-tools; \
	echo 'torch==2.13.0' > "$$folder/torch.txt"; \
	"$$folder/venv/bin/pip-compile" --quiet --extra dev --strip-extras --no-annotate --no-header --no-emit-options \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--constraint "$$folder/torch.txt" --output-file "$$folder/resolved.txt" pyproject.toml; \
	{ echo "# What CI installs on Python $(VERSION). Made anew by: make constraints PYTHON=python$(VERSION)"; \
	  sed -E -e '/^(robustreid|nvidia|cuda|triton)/d' -e '/^[[:space:]]*(#|$$)/d' -e 's/^(torch==[0-9.]+)\+.*/\1/' "$$folder/resolved.txt"; \
	} > $(CONSTRAINTS)

vendor: $(INSTALLED) ## copy the scripts of others into reports/static/vendor, as vendor.json pins them (needs npm)
	@echo "Copying what reports/static/vendor/vendor.json pins"
	@cd reports/static/vendor && $(CURDIR)/$(BIN)/python -c 'from robustreid.reports.vendoring import fetch; fetch()'

clean: ## remove what make made: .venv, builds, caches (runs/ stays)
	rm -rf $(VENV) .typing build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .benchmarks .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
