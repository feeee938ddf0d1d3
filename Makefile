# A fresh machine needs Python 3.11 or newer with pip, and make. uv is fetched into .uv and makes .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test long-test cluster-test crash-test lint setup pin audit clean

demo: setup ## the embedded default study
	$(BIN)/python -m study.run digits

test: setup lint ## the whole test suite
	$(BIN)/python -m pytest

long-test: setup ## the README's commands, what was published on every data set's layout, the race against peers
	$(BIN)/python -m pytest -m long

cluster-test: setup ## studies on three machines (as root on Linux), in an object store, with two workers a trial
	$(BIN)/python -m pytest --numprocesses 0 -m cluster -rs -s

crash-test: setup ## a study disturbed in one way of each kind, and gone on with; python -m tests.crashes has all
	$(BIN)/python -m tests.crashes --short

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

setup: .venv/.installed

# --compile-bytecode: without it every Ray worker compiles torch and timm again, 10 s each.
.venv/.installed: requirements.txt pyproject.toml | .uv/bin/uv
	.uv/bin/uv venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	.uv/bin/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	.uv/bin/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

.uv/bin/uv:
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --target .uv uv

pin: .uv/bin/uv ## resolve the exact versions again
	.uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header \
		--no-annotate --extra weights --extra dev pyproject.toml --output-file requirements.txt

# Asks the advisory database for every pinned version, in an environment of its own.
audit: .uv/bin/uv ## known vulnerabilities of the pinned versions
	.uv/bin/uv tool run pip-audit --requirement requirements.txt --no-deps --disable-pip

clean:
	rm -rf .venv .uv *.egg-info
