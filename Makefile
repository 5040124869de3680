# Targets for people: quickstart, test, test-long, test-full, test-oldest, test-newest, studies,
# lint, format, docs, notebooks, bench, clean.
# PYTHON=... chooses the interpreter, ARGS=... is passed on to pytest or to the benchmark.

VENV := .venv
PY := $(VENV)/bin/python
STAMPS := $(VENV)/.installed
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ARGS ?=

# The first interpreter on the path that is new enough; `python3` of older systems is not.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$name && break; done)

.PHONY: help quickstart test test-long test-full test-oldest test-newest test-triton studies \
	lint format bench clean servers docs docs-serve notebooks pictures \
	bench-bdt bench-bdt_limits bench-remote bench-sbi bench-morphing bench-posteriors bench-scaling \
	bench-batching_limits bench-signed_weights
help:
	@echo "make quickstart   install, then show everything on generated ROOT files (a minute or two)"
	@echo "make test         install everything that the tests use, run them"
	@echo "make test-long    whole tutorials, the site in a browser, reduced studies (after make test)"
	@echo "make test-full    the same with the slow tests: full products, statistical studies"
	@echo "make test-oldest  the tests with the oldest versions allowed     make test-newest  and the newest"
	@echo "make test-triton  scores through NVIDIA Triton (700 MB; its Python needs a shared libpython)"
	@echo "make servers      install the S3 server that tests of remote files talk to"
	@echo "make studies      fits of 1000 toys beside the analytic likelihood; false alarms, power of diagnose"
	@echo "make lint         ruff, formatting, mypy --strict        make format   repair what ruff can"
	@echo "make pictures     draw the pictures of the guide whose pages changed"
	@echo "make notebooks    run the tutorials that changed, for their pages on the site"
	@echo "make docs         build the documentation into site/     make docs-serve   and show it"
	@echo "make bench-bdt    compiled forests against other engines; also bench-sbi, bench-morphing,"
	@echo "                  bench-remote, bench-scaling, each beside its peers"
	@echo "make bench        ratio tables against other loaders     make clean    remove what make made"

quickstart: $(STAMPS)/quickstart
	@$(PY) tutorials/quickstart.py

# Two workers share the machine: threads of OpenMP wait in busy loops for cores that the other has.
test test-long test-full test-oldest test-newest studies: export OMP_NUM_THREADS ?= 1

# Apart: XRootD's client once ended a process with ROOT, torch and TensorFlow in it.
APART := tests/rootml/storage/remote
test: $(STAMPS)/test
	$(PY) -m pytest -n 2 --dist worksteal --durations=25 -m "not slow and not long" $(APART:%=--ignore=%) $(ARGS)
	$(PY) -m pytest -n 2 --dist worksteal -m "not slow and not long" $(APART) $(ARGS) || test $$? = 5

test-long: $(STAMPS)/test
	$(PY) -m pytest -n 2 --dist worksteal --durations=25 -m "long and not slow" $(ARGS)

test-full: $(STAMPS)/test
	$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

studies: $(STAMPS)/test
	ROOTML_TOYS=1000 ROOTML_SETS=40 $(PY) -m pytest -n 2 --dist worksteal tests/sbi -k studies $(ARGS)

# In environments of their own: the oldest versions that pyproject.toml allows, and the newest of all
# (but for torch, which stays as in constraints.txt: its builds are gigabytes large).
test-oldest test-newest: test-%: $(STAMPS)/%
	$(VENV)/$*/bin/python -m pytest -n 2 --dist worksteal -m "not slow and not long" \
		--ignore=tests/rootml/storage/remote --ignore=tests/project $(ARGS)

# TRITON_PYTHON=...: an interpreter with a shared libpython, as Linux distributions ship it
TRITON_PYTHON ?= /usr/bin/python3
test-triton: $(STAMPS)/test $(STAMPS)/triton
	ROOTML_TRITON_PYTHON=$(VENV)/triton/bin/python $(PY) -m pytest tests/tutorials/test_serve_forest.py $(ARGS)

servers: $(STAMPS)/servers

lint: $(STAMPS)/test
	$(PY) -m ruff check --no-cache .
	$(PY) -m ruff format --no-cache --check .
	$(PY) -m mypy

format: $(STAMPS)/test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# NO_MKDOCS_2_WARNING: the theme's advertisement for its successor
docs: $(STAMPS)/test
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "open site/index.html by 'python3 -m http.server -d site', or see: make docs-serve"

docs-serve: $(STAMPS)/test
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs serve

# The tutorials with their outputs, for the site; only those that changed, or ARGS="reading jets".
notebooks: $(STAMPS)/notebooks
	PYTHONPATH=$(VENV)/notebooks JUPYTER_PATH=$(VENV)/notebooks/share/jupyter \
		$(PY) docs/_hooks/notebooks.py $(ARGS)

# The pictures that pages of the guide write; only those that changed, or ARGS="plots trust".
pictures: $(STAMPS)/test
	$(PY) docs/_hooks/pictures.py $(ARGS)

bench: $(STAMPS)/test
	$(PY) benchmarks/batching.py $(ARGS)

BENCHES = bench-bdt bench-remote bench-sbi bench-morphing bench-posteriors bench-scaling
$(BENCHES) bench-bdt_limits bench-batching_limits bench-signed_weights: bench-%: $(STAMPS)/test
	$(PY) benchmarks/$*.py $(ARGS)

clean:
	rm -rf $(VENV) build dist site quickstart-output benchmarks/data
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find rootml batching bdt sbi tests benchmarks tutorials -name __pycache__ -prune -exec rm -rf {} +

# --- installing: one stamp per set of packages, made anew when a pin or a requirement changes ----

$(STAMPS)/python:
	@test -n "$(PYTHON)" || { \
	  echo "rootml needs Python 3.11 or newer, and none was found on the PATH" >&2; \
	  echo "(looked for python3, python3.13, python3.12, python3.11, python)." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("rootml needs Python 3.11 or newer; $(PYTHON) is %d.%d.%d. Name another one: make PYTHON=/path/to/python3.12" % v[:3])'
	"$(PYTHON)" -m venv $(VENV)
	@$(PIP) --upgrade "pip>=25.1"
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/quickstart: $(STAMPS)/python pyproject.toml constraints.txt
	$(PIP) --editable ".[torch,bdt,sbi,plot]" --group xgboost
	@touch $@

# Servers that tests talk to, which cannot share an environment with the rest; servers.txt pins all.
$(STAMPS)/servers: $(STAMPS)/python tests/support/servers.txt
	$(PY) -m venv $(VENV)/servers
	$(VENV)/servers/bin/python -m pip --quiet --disable-pip-version-check install \
		--requirement tests/support/servers.txt
	@touch $@

# pytriton wants NumPy 1, for which newer versions of pyarrow are not built
$(STAMPS)/triton: $(STAMPS)/python pyproject.toml
	"$(TRITON_PYTHON)" -m venv $(VENV)/triton
	$(VENV)/triton/bin/python -m pip --quiet --disable-pip-version-check install \
		nvidia-pytriton "pyarrow<22" --editable ".[bdt]"
	@touch $@

# Apart from the rest: whether IPython is there changes what notebooks and progress bars show.
$(STAMPS)/notebooks: $(STAMPS)/test
	$(PIP) --target $(VENV)/notebooks "nbclient>=0.10" "ipykernel>=6.29"
	@touch $@

PEERS := .[torch,onnx,bdt,sbi,dask,plot,root,remote,hdf,pandas]
$(STAMPS)/oldest: $(STAMPS)/python pyproject.toml constraints.txt tests/support/oldest_versions.py
	$(PIP) packaging
	$(PY) tests/support/oldest_versions.py > $(VENV)/oldest.txt
	"$(PYTHON)" -m venv $(VENV)/oldest
	$(VENV)/oldest/bin/python -m pip --quiet install --upgrade "pip>=25.1"
	$(VENV)/oldest/bin/python -m pip --quiet install --constraint $(VENV)/oldest.txt \
		--editable "$(PEERS)" --group test --group xgboost
	@touch $@

$(STAMPS)/newest: $(STAMPS)/python pyproject.toml
	grep "^torch==" constraints.txt > $(VENV)/newest.txt
	"$(PYTHON)" -m venv $(VENV)/newest
	$(VENV)/newest/bin/python -m pip --quiet install --upgrade "pip>=25.1"
	$(VENV)/newest/bin/python -m pip --quiet install --upgrade --constraint $(VENV)/newest.txt \
		--editable "$(PEERS)" --group test --group xgboost
	@touch $@

$(STAMPS)/test: $(STAMPS)/python pyproject.toml constraints.txt
	$(PIP) --editable ".[torch,lightning,onnx,bdt,sbi,dask,plot,exchange,root,xrootd,remote]" --group dev --group frameworks
	@touch $@
