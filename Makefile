# Two commands for a fresh machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PLUGINS := $(sort $(dir $(wildcard plugins/*/pyproject.toml)))
INSTALLED := $(VENV)/.installed
SOURCES := pyproject.toml $(wildcard plugins/*/pyproject.toml)

# Tests are spread over the cores; each process computes with one thread.
WORKERS ?= auto
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

.PHONY: install demo test test-slow fuzz mutants coverage lint format docs docs-serve bench bump address release-check clean

install: $(INSTALLED)

$(INSTALLED): $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e ".[all,test,lint,docs]" $(addprefix -e ,$(PLUGINS))
	touch $@

demo: install
	rm -rf demo-output
	$(BIN)/audiotag demo --output demo-output

test: install
	$(PYTEST) -m "not slow"

test-slow: install
	$(PYTEST) -m slow

# Ten thousand damaged files of every kind; see tests/fuzz/run.py.
fuzz: install
	$(BIN)/python tests/fuzz/run.py

# Small changes to the numerical core that the tests must notice; CONTRIBUTING.md has the score.
mutants: install
	$(BIN)/pip install --quiet "mutmut>=3.8"
	OMP_NUM_THREADS=1 AUDIOTAG_ASSETS=$(abspath $(or $(AUDIOTAG_ASSETS),../shared)) $(BIN)/python -m mutmut run
	$(BIN)/python -m mutmut results
	$(BIN)/python tests/mutants.py

coverage: install
	$(PYTEST) -m "not slow" --cov --cov-report=term:skip-covered --cov-report=html

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	$(BIN)/python docs/generate_formats.py
	$(BIN)/python docs/generate_models.py
	$(BIN)/python docs/generate_settings.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

bench: install
	for benchmark in benchmarks/*.py; do $(BIN)/python $$benchmark || exit 1; done

# make bump VERSION=0.2.0, make address URL=https://HOST/NAME, make release-check: see tools/release.py.
bump: install
	$(BIN)/python tools/release.py bump "$(VERSION)"
	$(MAKE) docs

address: install
	$(BIN)/python tools/release.py address "$(URL)"

release-check: install
	$(BIN)/pip install --quiet "build>=1.2" "twine>=6"
	$(BIN)/python tools/release.py check --tag "$(TAG)"

clean:
	rm -rf $(VENV) demo-output build dist site htmlcov .coverage
