# Everything a contributor types; `make` alone lists it. Each target first makes .venv, once, and again when a
# setup.cfg or the requirements change. pip uses whatever index and options this machine has configured.

VENV ?= .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
ARGS ?=
CONFORMANCE := tests/test_conformance_memory.py tests/test_conformance_third_party.py \
    tests/test_example_third_party.py \
    plugins/sql/tests/test_conformance.py plugins/mongo/tests/test_conformance.py

# Where it is set, pytest writes the assertions of the kit anew in each process that it starts: 2.6 s for each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help env demo test test-async fuzz crash-sweep transfer-kills matrix pages docs links wheels lint format types bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="…" is passed on, as in: make test ARGS="-k paginate"'

demo: $(READY)  ## one program on SQLite and on MongoDB, with the same output, and a copy from one to the other
	@PYTHONPATH="$(CURDIR)/tools" "$(PYTHON)" -m examples.demo $(ARGS)

test: $(READY)  ## all tests, on real servers; of the conformance kit the synchronous face
	"$(PYTHON)" -m pytest -n 2 --dbp-face sync $(ARGS)

test-async: $(READY)  ## the conformance kit on the asynchronous face of all engines
	"$(PYTHON)" -m pytest -n 2 --dbp-face async $(ARGS) $(CONFORMANCE)

fuzz: $(READY)  ## generated queries on all engines, compared; ARGS="--minutes 30"
	@PYTHONPATH="$(CURDIR)/tools" "$(PYTHON)" -m fuzz $(ARGS)

crash-sweep: $(READY)  ## migrations killed at every place on all engines; ARGS="--engine mariadb --points 20"
	@PYTHONPATH="$(CURDIR)/tools" "$(PYTHON)" -m crash_sweep $(ARGS)

transfer-kills: $(READY)  ## `dbp copy` and `dbp load` killed at random moments; ARGS="--kills 50 sqlite:mongodb"
	@PYTHONPATH="$(CURDIR)/tools" "$(PYTHON)" tools/transfer_kills.py $(or $(ARGS),--kills 50 sqlite:postgresql sqlite:mongodb mariadb:sqlite load:postgresql)

# The report is of this machine's run and stays in .venv; what is kept of it is docs/support.json.
matrix: $(READY)  ## the support matrix of the docs, from the conformance kit on all engines
	DBP_REQUIRE_SERVERS=1 "$(PYTHON)" -m pytest -n 2 --dbp-report "$(VENV)/conformance.json" $(ARGS) $(CONFORMANCE)
	"$(PYTHON)" docs/generate_matrix.py --report "$(VENV)/conformance.json"

pages: $(READY)  ## write the generated parts of the docs; tests compare them
	@for each in cli includes matrix names requirements; do \
	    "$(PYTHON)" "docs/generate_$$each.py" || failed=1; \
	done; [ -z "$$failed" ]

# Material's notice is about another program. Nothing is fetched: the site loads no font and no script of other hosts.
docs: $(DOCS_READY)  ## the site of docs/, in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 "$(PYTHON)" -m mkdocs build --strict $(ARGS)

links: $(READY)  ## whether the addresses in the pages answer; needs the network
	@"$(PYTHON)" docs/check_links.py

wheels: $(READY)  ## the three wheels, each installed alone by pip
	rm -rf build/wheels && mkdir -p build/wheels/src
	tar -c --exclude=./build --exclude=./.git --exclude='./.venv*' --exclude='*.egg-info' . | tar -x -C build/wheels/src
	"$(PYTHON)" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheels \
	    build/wheels/src build/wheels/src/plugins/sql build/wheels/src/plugins/mongo
	for name in core sql mongo; do \
	    "$(PYTHON)" -m venv build/wheels/$$name && \
	    build/wheels/$$name/bin/python -m pip install --quiet --disable-pip-version-check --pre \
	        --find-links build/wheels "db-plugins-$$name" && \
	    (cd build/wheels/$$name && bin/dbp plugins && \
	        "$(abspath $(PYTHON))" -m mypy --config-file= --strict --python-executable bin/python \
	            -c 'from db_plugins import Database, connect; db: Database = connect("x")') || exit 1; \
	done

lint: $(READY)  ## ruff: faults and format
	"$(PYTHON)" -m ruff check .
	"$(PYTHON)" -m ruff format --check .

format: $(READY)  ## ruff: mend what it can, and format
	"$(PYTHON)" -m ruff check --fix .
	"$(PYTHON)" -m ruff format .

types: $(READY)  ## mypy, strict
	"$(PYTHON)" -m mypy $(ARGS)

bench: $(READY)  ## the benchmarks
	@PYTHONPATH="$(CURDIR)/tools" "$(PYTHON)" -m benchmarks $(ARGS)

env: $(READY)  ## only make .venv

clean:  ## remove .venv and everything made
	rm -rf "$(VENV)" .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf build dist *.egg-info plugins/*/build plugins/*/dist plugins/*/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment knows the checkout that it was made for by its absolute path: one that was copied or moved along with
# the tree would run the code of the old place, so it is made anew.
ifneq ($(shell cat "$(READY)" 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

$(READY): setup.cfg pyproject.toml requirements/test.txt $(wildcard plugins/*/setup.cfg plugins/*/pyproject.toml)
	@if [ "$$(cat "$(READY)" 2>/dev/null)" != "$(CURDIR)" ]; then \
	    for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	        "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; \
	        python=; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo 'No Python 3.11 or newer with venv among python3, python3.14 … python3.11.' \
	             'Install one (Debian: apt install python3-venv).' >&2; \
	        exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear "$(VENV)"; \
	fi
	@echo 'Installing the three distributions and requirements/test.txt'
	@"$(PYTHON)" -m pip install --quiet --disable-pip-version-check \
	    --editable . --editable plugins/sql --editable plugins/mongo --requirement requirements/test.txt
	@printf '%s' "$(CURDIR)" > "$(READY)"

$(DOCS_READY): $(READY) requirements/docs.txt
	@echo 'Installing requirements/docs.txt'
	@"$(PYTHON)" -m pip install --quiet --disable-pip-version-check --requirement requirements/docs.txt
	@touch "$(DOCS_READY)"
