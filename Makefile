# Everything on a fresh machine: "make detect", "make test". Both build .venv first, and only once.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= auto

CFG       ?= cfg/shapes.cfg
WEIGHTS   ?= weights/shapes.weights
NAMES     ?= cfg/shapes.names
SOURCE    ?= docs/images/scenes
OUTPUT    ?= output
# What "make extras" installs and tests: packages too large for every run of the tests.
EXTRAS    ?= notebooks,ray
# The marks of the tests that "make parity" runs.
PARTS     ?= pack

.PHONY: detect test parity extras check docs notebooks train export-table clean

detect: $(VENV)/.run ## detect objects: CFG=... WEIGHTS=... NAMES=... SOURCE=... OUTPUT=...
	$(BIN)/python scripts/detect.py $(SOURCE) --cfg $(CFG) --weights $(WEIGHTS) --names $(NAMES) --output $(OUTPUT)

# One thread each: processes and OpenMP threads together would be more than the cores. Compiled files are kept, whatever the
# environment says: many tests start the program.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test: $(VENV)/.dev ## everything that needs nothing but this folder
	$(PYTEST) -m "not pack and not extras"

parity: $(VENV)/.dev ## every number of the parity pack (PACK=DIR), and the checks that take longest
	$(PYTEST) -m "$(PARTS)" $(if $(PACK),--pack $(PACK))

extras: $(VENV)/.extras ## the tests of large optional packages, which are installed for them
	$(PYTEST) -m extras

check: $(VENV)/.dev ## formatting, lint and types
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m ruff check
	$(BIN)/python -m mypy

docs: $(VENV)/.dev ## the documentation as a site: build/docs/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

notebooks: $(VENV)/.extras ## docs/notebooks, from the lesson pages
	$(BIN)/python scripts/notebooks.py

train: $(VENV)/.dev ## train the bundled detector anew, on scenes that are drawn for it
	$(BIN)/python scripts/scenes.py --output $(OUTPUT)/scenes --train 8000 --valid 500
	$(BIN)/python scripts/train.py --data $(OUTPUT)/scenes/scenes.data --cfg cfg/shapes.cfg --output $(OUTPUT)/shapes \
	    --init prior:0.01 --workers 0 --eval-every 0 --overwrite
	cp $(OUTPUT)/shapes/shapes_final.weights weights/shapes.weights

export-table: $(VENV)/.dev ## the table of docs/export.md (PACK=DIR)
	$(BIN)/python scripts/export_table.py $(if $(PACK),--pack $(PACK))

clean: ## remove the environment and what tools leave behind
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage

# One environment; what the tests need (.dev) includes what running needs (.run). pip would compile all modules one after the
# other; compileall does it on all cores, without the packages' own tests. Some packages contain files for other versions of
# Python, which do not compile.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true

.NOTPARALLEL:

$(VENV)/.run: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[progress]'
	$(COMPILE)
	touch $@

$(VENV)/.dev: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[dev]'
	$(COMPILE)
	touch $(VENV)/.run $@

$(VENV)/.extras: $(VENV)/.dev
	$(INSTALL) '.[dev,$(EXTRAS)]'
	$(COMPILE)
	touch $@
