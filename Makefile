# Needs make and Python 3.11 or newer, nothing else. `make help` lists what there is.
# Paths are relative throughout, so that the checkout may lie below a folder with a space in its name.

.PHONY: help setup run token test check lint long jumps model mutants bench lock clean
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
VENV_PYTHON := .venv/bin/python
BENCH ?=
ARGS ?=

help:  ## Show this.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: .venv/dev.stamp  ## Create .venv with everything, development tools included.

run: .venv/run.stamp  ## Start the whole system on this machine and say where to look.
	@exec $(VENV_PYTHON) -m project.run

token: .venv/run.stamp  ## Print an API token of the demo customer (USERNAME=staff for another), while `make run` runs.
	@PAYWINDOW_DEMO=1 LOG_LEVEL=WARNING $(VENV_PYTHON) manage.py issue_token $(if $(filter command,$(origin USERNAME)),$(USERNAME),customer)

test: .venv/dev.stamp  ## Run the tests, two files at a time. ARGS="-k name" narrows them, ARGS="-n 0" runs one at a time.
	@$(VENV_PYTHON) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/dev.stamp  ## Check style, types and the direction of imports.
	@$(VENV_PYTHON) -m ruff check
	@$(VENV_PYTHON) -m ruff format --check
	@$(VENV_PYTHON) -m mypy .
	@$(VENV_PYTHON) -c 'from importlinter.cli import lint_imports_command as lint; lint()'

check: lint  ## Everything that must pass: lint, migrations, Django's checks, tests.
	@$(VENV_PYTHON) manage.py makemigrations --check --dry-run
	@$(VENV_PYTHON) manage.py check
	@DJANGO_SETTINGS_MODULE=project.settings.production DJANGO_ALLOWED_HOSTS=shop.example \
		DATABASE_URL=postgresql:///not-asked REDIS_URL=redis://not-asked SANDBOX_API_KEY=made-up \
		DJANGO_SECRET_KEY=made-up-for-this-check-0123456789-abcdefghijklmnopqrstuvwxyz \
		JWT_ALGORITHM=EdDSA JWT_JWKS_URL=https://identity.example/jwks.json \
		$(VENV_PYTHON) manage.py check --deploy --fail-level WARNING
	@$(MAKE) test

long: .venv/dev.stamp  ## Run what the tests leave out for its length: the other kill points, every mutant of the model.
	@$(VENV_PYTHON) -m pytest -m "long and not jumps" $(ARGS)

jumps: .venv/dev.stamp  ## Set the clocks of running processes, a third of the cells; ARGS="-m jumps" tries all 90.
	@$(VENV_PYTHON) -m pytest -m "jumps and not long" tests/jumps $(ARGS)

model: .venv/dev.stamp  ## Check the protocol's model with spin (needs spin and gcc).
	@$(VENV_PYTHON) -m tests.model.spin

mutants: .venv/dev.stamp  ## Break each guard once and see the tests catch it (some minutes). ARGS=word narrows them.
	@$(VENV_PYTHON) -m tests.mutants $(ARGS)

bench: .venv/dev.stamp  ## Run one benchmark: make bench BENCH=name
	@test -n "$(BENCH)" && test -f "tests/benchmarks/$(BENCH:_%=).py" || { \
		echo "There is no benchmark '$(BENCH)'. There are: $$(ls tests/benchmarks 2>/dev/null | sed -n 's/^\([a-z].*\)\.py$$/\1/p' | xargs)" >&2; \
		exit 1; }
	@$(VENV_PYTHON) -m tests.benchmarks.$(BENCH) $(ARGS)

lock:  ## Resolve the dependencies anew (needs uv).
	@for set in "requirements.lock" "requirements-dev.lock --group dev"; do \
		uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header \
			--no-annotate --no-emit-index-url --no-emit-find-links --quiet --output-file $$set || exit 1; \
	done
	@! grep -nE '://|^-|@ |file:' requirements.lock requirements-dev.lock \
		|| { echo "A lock file names a place; it must name versions and hashes alone." >&2; exit 1; }

clean:  ## Stop the embedded servers and remove .venv, caches and the local data.
	@if [ -n "$(PYTHON)" ]; then $(PYTHON) -I project/embedded clean; fi
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build staticfiles
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment. Each stamp says that a lock file, as it is now, was installed.

.venv/run.stamp: requirements.lock
	$(call install,requirements.lock)
	@touch $@

.venv/dev.stamp: requirements-dev.lock
	$(call install,requirements-dev.lock)
	@touch .venv/run.stamp $@  # The larger set holds the smaller one.

define install
@if [ -z "$(PYTHON)" ]; then \
	echo "Paywindow needs Python 3.11 or newer; python3 here is $$(python3 --version 2>&1 || true)." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; fi
@$(VENV_PYTHON) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
@echo "Installing $(1) into .venv"
@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $(1)
endef
