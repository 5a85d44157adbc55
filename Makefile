# Each target sets up its own environment: Python 3.11 or later, pip, make and git are all it takes.
# PYTHON=/path/to/python3.12 chooses the interpreter; ARGS="..." goes on to the command.
.PHONY: help setup quickstart test check docs bench clean
.DEFAULT_GOAL := help

export PYTHON

help: ## Shows these lines
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /make \1	/'

setup: ## Creates .venv, or repairs it; nothing to do where it is current
	@scripts/setup

quickstart: setup ## From ratings to recommendations with titles, in a minute
	@.venv/bin/neucf quickstart $(ARGS)

test: setup ## Runs the tests
	@scripts/test -n 2 $(ARGS)

check: setup ## Lint, types, direction of imports
	@scripts/check

docs: setup ## Runs every code block of README.md and docs/
	@.venv/bin/python scripts/docs $(ARGS)

bench: setup ## Runs the short benchmarks, some minutes; tables, and JSON under benchmarks/out/
	@.venv/bin/python benchmarks/startup.py --out benchmarks/out/startup.json
	@.venv/bin/python benchmarks/hundred_million.py --rows 10000000 --out benchmarks/out/hundred_million.json
	@.venv/bin/python benchmarks/scaling.py --most 1000000 --out benchmarks/out/scaling.json
	@.venv/bin/python benchmarks/ials_peers.py --small --out benchmarks/out/ials_peers.json
	@.venv/bin/python benchmarks/lecture_loop.py --epochs 40 --seeds 1 --out benchmarks/out/lecture_loop.json

clean: ## Removes the environment and all caches; runs/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
