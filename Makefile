# Bessemer. `make demo` and `make test` set up everything they need; the rest is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-fast lint protos bench clean setup help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(READY)

$(READY): pyproject.toml
	@echo "setting up $(VENV); the first time takes some minutes (PyTorch alone is 200 MB)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is %d.%d. Try: make PYTHON=python3.11 ..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --progress-bar=off --upgrade pip >/dev/null
	@echo "  1/3 PyTorch" && $(BIN)/python -m pip install --quiet --no-compile "torch>=2.9,<2.14"
	@echo "  2/3 libraries, servers and development tools" && $(BIN)/python -m pip install --quiet --no-compile "setuptools>=77" wheel -e ".[all,dev]"
	@echo "  3/3 checking" && $(BIN)/python -c "import grpc, torch, nats, tokenizers"
	@touch $(READY)

demo: $(READY) ## documents -> an owned, served model, and a report (about 15 minutes); ARGS="--documents DIR --minutes N"
	@$(BIN)/bessemer demo $(ARGS)

test: $(READY) ## all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(READY) ## tests without the slow ones
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: $(READY) ## ruff, mypy, import-linter, buf, stubs, tidy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	$(BIN)/python libs/bessemer/api/generate.py --check
	$(BIN)/python -m pytest tests/tidy

protos: $(READY) ## regenerate the stubs
	cd protos && ../$(BIN)/buf format -w
	$(BIN)/python libs/bessemer/api/generate.py

bench: $(READY) ## make bench NAME=x: measure x, write build/bench/x.json
	@test -n "$(NAME)" || { echo "say which: make bench NAME=<one of>"; ls tests/bench/bench_*.py | sed 's/.*bench_\(.*\)\.py/  \1/'; exit 2; }
	@$(BIN)/python tests/bench/bench_$(NAME).py

clean: ## stop the embedded stack, remove what was built; keeps .venv
	@test ! -x $(BIN)/bessemer || $(BIN)/bessemer down 2>/dev/null || true
	rm -rf .bessemer build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
