# You need Python 3.11 or newer, pip and make. pip installs uv into .uv, and uv creates .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test long-test cluster-test crash-test gpu-test lint setup pin audit clean

demo: setup ## run the study of handwritten digits
	$(BIN)/python -m study.run digits

test: setup lint ## run lint and the test suite
	$(BIN)/python -m pytest $(PYTEST)

long-test: setup ## run the README's commands, the published configurations, the race against other tools
	$(BIN)/python -m pytest -m long

cluster-test: setup ## run studies on three machines (root on Linux), in an object store, with two workers per trial
	$(BIN)/python -m pytest --numprocesses 0 -m cluster -rs -s

crash-test: setup ## disturb a study in one way of each kind and resume it; python -m tests.crashes has all ways
	$(BIN)/python -m tests.crashes --short

# Without setup, because a machine with a GPU may have no network.
gpu-test: ## check and measure everything on a GPU, in at most eight minutes; the tables are in runs/gpu/gpu.md
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m tests.gpu --out runs/gpu

# --project: otherwise a pyrightconfig.json in a folder above this one would count.
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --project pyproject.toml

setup: .venv/.installed

# --compile-bytecode: otherwise every Ray worker compiles torch and timm again, 10 s each.
.venv/.installed: requirements.txt pyproject.toml | .uv/bin/uv
	.uv/bin/uv venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	.uv/bin/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	.uv/bin/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

.uv/bin/uv:
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --target .uv uv

pin: .uv/bin/uv ## resolve the exact versions again, into requirements.txt
	.uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header \
		--no-annotate --extra weights --extra dev pyproject.toml --output-file requirements.txt

# Asks the advisory database about every pinned version, in a separate environment.
audit: .uv/bin/uv ## list known vulnerabilities of the pinned versions
	.uv/bin/uv tool run pip-audit --requirement requirements.txt --no-deps --disable-pip

clean:
	rm -rf .venv .uv *.egg-info
