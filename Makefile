# `make help` tells what there is. Every target prepares what it needs by itself; the second time that is instant.
SHELL := bash
BIN := .venv/bin
ARGS ?=

# Two threads: what the tests and the demo are timed with, and no fight over few cores.
export OMP_NUM_THREADS ?= 2
# Of all windows; pyside6 is the other one.
export QT_API ?= pyqt6
export PYTEST_QT_API := $(QT_API)
SCREEN := xvfb-run -a -s "-screen 0 1280x1024x24 +extension GLX"

.DEFAULT_GOAL := help
.PHONY: help setup check test test-gui demo gui bench screenshots lock environment

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## all that the other targets need: .venv and system libraries
	@scripts/setup --screen

environment: # the same, but goes on where a library for windows is missing
	@scripts/setup

check: environment ## format, lint, types, import rules, file lengths
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_lengths

# Two processes of one thread each; windows stay in one of them, since they share a screen.
test: export OMP_NUM_THREADS := 1
test: setup ## all tests, the ones with windows too (ARGS="-k name" for some)
	$(SCREEN) $(BIN)/python -m pytest -n 2 --dist loadgroup --durations=10 $(ARGS)

test-gui: setup ## only the tests that open a window
	$(SCREEN) $(BIN)/python -m pytest -m gui $(ARGS)

demo: environment ## a 3D brain scan, five annotated slices: trains, predicts, measures; result in wsseg-demo/
	$(BIN)/wsseg demo --out wsseg-demo --overwrite $(ARGS)

gui: setup ## napari with the wsseg widget open
	$(BIN)/wsseg gui $(ARGS)

bench: environment ## the tables of benchmarks/ (needs the data sets that benchmarks/README.md names)
	$(BIN)/python -m benchmarks $(ARGS)

screenshots: setup ## the pictures of README and docs, drawn anew
	$(SCREEN) $(BIN)/python scripts/screenshots.py
	WSSEG_SESSIONS=$$(mktemp -d) PICTURES=docs/images $(SCREEN) $(BIN)/python tests/tutorial.py $$(mktemp -d) 0
	$(BIN)/wsseg demo --out wsseg-demo --overwrite
	cp wsseg-demo/demo.png docs/images/demo.png
	$(BIN)/python examples/boxes.py
	$(BIN)/wsseg refine coins --out coins-refined --overwrite
	$(BIN)/python scripts/boxes_picture.py coins coins-refined

lock: environment ## requirements.lock from pyproject.toml (ARGS=--upgrade for the newest of all)
	scripts/lock $(ARGS)
