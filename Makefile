# Each command sets up what it needs in its own virtual environment; .venv is shared by all.
PYTHON ?= python3
BIN := .venv/bin
SEED ?= 1# of the random models of `make peers`
MUSIC ?= ../shared/data/music# of `make papers`: where the piano rolls are
SOURCES := setup.py pyproject.toml $(shell find cgru -name '*.py' -o -name '*.pyx' -o -name '*.pyi' -o -name '*.h' -o -name '*.csv')

.PHONY: help demo test kill ulp lint docs peers bench papers clean
help:
	@echo "make demo   forecast sunspots, read digits: results and a picture in demo/"
	@echo "make test   the tests, against the installed package"
	@echo "make kill   training killed at random moments, 60 times for each way to go on"
	@echo "make ulp    sigmoid and tanh of every float32, some minutes"
	@echo "make lint   ruff and mypy"
	@echo "make docs   the documentation, in docs/_build/html, its links checked"
	@echo "make peers  the comparisons of results with PyTorch and Keras (SEED=2: other models)"
	@echo "make bench  the comparison of speed with other libraries, in docs/benchmarks.md"
	@echo "make papers the experiments of the literature, in docs/papers.md (MUSIC=folder: piano rolls)"

# The package as users get it, with one of its extras: built in isolation, installed, not linked to
# the sources, and built again when they change.
.venv/extra-%: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet '.[$*]'
	touch $@

demo: .venv/extra-demo
	$(BIN)/python examples/demo.py --output demo

test: .venv/extra-test
	$(BIN)/pytest --quiet

kill: .venv/extra-test
	$(BIN)/python tests/kills.py 60

ulp: .venv/extra-test
	$(BIN)/python tests/every_float32.py

lint: .venv/extra-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/extra-docs
	$(BIN)/sphinx-build -W --keep-going --fresh-env docs docs/_build/html
	$(BIN)/lychee --offline --include-fragments --no-progress docs/_build/html

peers: .venv/extra-peers .venv/extra-test
	@echo "random models: SEED=$(SEED)"
	KERAS_BACKEND=jax $(BIN)/pytest --quiet -rs --hypothesis-seed=$(SEED) tests/peers

bench: .venv/extra-peers
	$(BIN)/python benchmarks/bench.py --output docs/benchmarks.md

papers: .venv/extra-papers
	$(BIN)/python benchmarks/papers/run.py --music $(MUSIC)

clean:
	rm -rf .venv build demo docs/_build docs/auto_tutorials *.egg-info cgru/*.so cgru/_kernels.c
