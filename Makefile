# The two commands of the README and what they share. The work is done in
# tools/setup.sh and tox.ini; each target may be run again at any time.

# Another interpreter: make setup PYTHON=python3.12
# Parts of the demo and of the tests: make demo ARGS=--keep, make test ENVS=unit
PYTHON ?= python3
ARGS ?=
ENVS ?= lint,types,layers,docs,unit,contract,functional,services

export PYTHON

.PHONY: help setup demo test clean

help: ## say what can be made (the default)
	@echo 'usage: make TARGET'
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST)

setup: ## install what a test run needs: system packages through apt, Python's into .venv
	@tools/setup.sh test

demo: ## attach volumes to a real guest and watch them come and go; options in ARGS
	@tools/setup.sh demo
	@.venv/bin/blockworker demo --state-path build/demo $(ARGS)

test: ## run what CI runs: lint, types, layers and every ring of tests; a selection in ENVS
	@tools/setup.sh test
	@.venv/bin/tox run -e $(ENVS)

clean: ## remove the virtual environment and what tools left in the checkout
	rm -rf .venv .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build .coverage
