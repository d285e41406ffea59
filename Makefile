# benchd: every command of this repository. `make` alone explains them.

VENV ?= .venv
PYTHON ?= python3
CLUSTER ?= embedded
PYTEST_ARGS ?=
# How often `make torture` tells each story; TORTURE_ARGS="--seed 7 --only killed".
ROUNDS ?= 1
TORTURE_ARGS ?=
# Worker processes of the tests; each brings up what its own tests need.
WORKERS ?= 2
# The simulation: how many seeds, from which on; K names the crashes of the one trial to be told.
SEEDS ?= 200
SEED0 ?= 0
K ?=

# All but test_sim_like_real.py: the embedded cluster talks like Slurm 22.05.
HEAVY := $(addprefix tests/slurm/test_,testbed.py cluster_real.py rest_real.py launch_real.py script_real.py \
	slurm_24_11.py) tests/acceptance/test_real_slurm.py

# On this machine's own Slurm, with what takes long to install or to start.
LARGE := tests/slurm/test_containers_real.py $(addprefix tests/acceptance/test_real_,ray.py spark.py)

BIN := $(VENV)/bin
# The environment is made again when what it is made from changes; otherwise `make` is instant.
KEY := $(shell cat pyproject.toml daemon/requirements.txt 2>/dev/null | cksum | cut -d' ' -f1)
DEV_KEY := $(shell cat daemon/requirements.txt tests/requirements.txt 2>/dev/null | cksum | cut -d' ' -f1)
READY := $(VENV)/.ready-$(KEY)
DEV_READY := $(VENV)/.dev-$(DEV_KEY)
PIP_INSTALL := $(BIN)/python -m pip --quiet --disable-pip-version-check install
SCRIPTS = $(shell find tests .ci -name '*.sh' -not -path 'tests/golden/*') .ci/run
# What pins is not among the pinned: an environment of its own. LOCK_ARGS=--upgrade takes newer ones.
COMPILE = build/lock/bin/pip-compile --quiet --generate-hashes --no-header --strip-extras \
	--no-emit-options --allow-unsafe

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev packages demo test test-heavy sim sim-mutants sim-week lint torture bench docs lock clean

help: ## say what there is
	@echo 'make demo                 install benchd into $(VENV) and watch it do its whole job here'
	@echo 'make demo CLUSTER=slurm   the same on a real Slurm that is brought up for the occasion'
	@echo 'make test                 every check and every test (installs Debian packages if it may)'
	@echo 'make test-heavy           also Slurm 24.11, Apptainer, Spark and Ray (root; installs them into build/, 2 GB)'
	@echo 'make sim SEEDS=200        the daemon in virtual time, killed at every step; SEED0=7 K=133 tells one story'
	@echo 'make sim-mutants          mistakes put into the protocol on purpose: each has to be caught'
	@echo 'make sim-week             seven virtual days, 2,000 jobs, everything that goes wrong'
	@echo 'make lint                 formatting, types, layers, shell scripts'
	@echo 'make torture ROUNDS=3     real faults on a real Slurm, sshd and disk, each as often as said'
	@echo 'make bench                speed and memory on a real Slurm'
	@echo 'make docs                 write the generated parts of docs/ anew'
	@echo 'make setup                only $(VENV) with benchd'
	@echo 'make lock                 pin the dependencies anew, with their hashes'
	@echo 'make clean                remove what make made'
	@echo
	@echo 'VENV=dir  PYTHON=python3.12  PYTEST_ARGS="-k store -x"  BENCHD_REQUIRE_REAL=1: no skips'

setup: $(READY)

setup-dev: $(DEV_READY)

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'benchd needs Python 3.11 or newer; $(PYTHON) is older or missing. Try: make PYTHON=python3.12' >&2; exit 1; }
	@echo 'setup: creating $(VENV)'
	@$(PYTHON) -m venv $(VENV) || { \
	  echo 'setup: no virtual environment; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@echo "setup: installing $$(grep -c '^[a-z].*==' daemon/requirements.txt) packages (daemon/requirements.txt)"
	@$(PIP_INSTALL) --require-hashes -r daemon/requirements.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.ready-*; touch $@

$(DEV_READY): $(READY)
	@echo "setup: installing $$(grep -c '^[a-z].*==' tests/requirements.txt) packages for tests (tests/requirements.txt)"
	@$(PIP_INSTALL) --require-hashes -r tests/requirements.txt
	@rm -f $(VENV)/.dev-*; touch $@

packages:
	@tests/install/system-packages.sh
	@PYTHON=$(PYTHON) tests/install/chroma.sh

demo: setup
ifeq ($(CLUSTER),embedded)
	@$(BIN)/benchd demo
else ifeq ($(CLUSTER),slurm)
	@tests/install/system-packages.sh slurm
	@rm -rf .demo/slurm
	@PYTHON=$(BIN)/python tests/slurm/testbed.sh run --home .demo/slurm -- \
	  sh -c '$(BIN)/benchd demo --config "$$BENCHD_CONFIG"'
else
	@echo 'CLUSTER=$(CLUSTER): say CLUSTER=embedded (the default) or CLUSTER=slurm' >&2; exit 2
endif

test: setup-dev packages
	@start=$$(date +%s); lint=ok; tests=ok; \
	$(MAKE) --no-print-directory lint || lint=FAILED; \
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m 'not heavy' $(PYTEST_ARGS) || tests=FAILED; \
	echo "make test: lint $$lint, tests $$tests, $$(($$(date +%s) - start)) s"; \
	[ $$lint$$tests = okok ]

# The tests on real Slurm once more, on the Slurm 24.11 of Debian 13.
test-heavy: setup-dev packages
	@tests/install/apptainer.sh build/apptainer || test $$? = 77
	@tests/install/system-packages.sh heavy
	@PYTHON=$(PYTHON) tests/install/own-python.sh spark
	@PYTHON=$(PYTHON) tests/install/own-python.sh ray
	@$(BIN)/pytest -m heavy $(LARGE) $(PYTEST_ARGS)
	@tests/slurm/release.sh trixie -- $(BIN)/pytest $(HEAVY) $(PYTEST_ARGS); status=$$?; \
	if [ $$status = 77 ]; then \
	  echo 'make test-heavy: not run on this machine; why is said above' >&2; [ "$$BENCHD_REQUIRE_REAL" != 1 ]; \
	else exit $$status; fi

SIMULATE = PYTHONPATH=daemon:tests $(BIN)/python -m

sim: setup-dev
	@$(SIMULATE) simulation.run --seeds $(SEEDS) --seed0 $(SEED0) $(if $(K),--crash $(K))
	@$(if $(K),,$(SIMULATE) simulation.mutants)

sim-mutants: setup-dev
	@$(SIMULATE) simulation.mutants

sim-week: setup-dev
	@$(SIMULATE) simulation.week

lint: setup-dev
	@$(BIN)/ruff check --quiet . && echo 'lint: ruff check ok'
	@$(BIN)/ruff format --quiet --check . && echo 'lint: ruff format ok'
	@$(BIN)/mypy --no-error-summary && echo 'lint: mypy ok'
	@out=$$($(BIN)/lint-imports --no-cache 2>&1) && echo 'lint: import contracts ok' || { echo "$$out"; exit 1; }
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS) && echo 'lint: shellcheck ok'; \
	elif [ "$$BENCHD_REQUIRE_REAL" = 1 ]; then echo 'lint: shellcheck is not installed' >&2; exit 1; \
	else echo 'lint: shellcheck skipped: not installed'; fi

torture: setup-dev
	@tests/install/system-packages.sh slurm
	@PYTHONPATH=daemon:tests $(BIN)/python -m torture.run --rounds $(ROUNDS) $(TORTURE_ARGS)

bench: setup-dev
	@tests/install/system-packages.sh slurm
	@PYTHON=$(BIN)/python tests/slurm/testbed.sh run -- $(BIN)/python tests/bench/run.py

docs: setup
	@$(BIN)/python docs/generate.py

lock:
	@test -x build/lock/bin/pip-compile || { $(PYTHON) -m venv build/lock && \
	  build/lock/bin/python -m pip --quiet --disable-pip-version-check install pip-tools; }
	@echo 'lock: daemon/requirements.txt'
	@$(COMPILE) $(LOCK_ARGS) --build-deps-for editable --output-file daemon/requirements.txt pyproject.toml
	@echo 'lock: tests/requirements.txt'
	@$(COMPILE) $(LOCK_ARGS) --output-file tests/requirements.txt tests/requirements.in
	@echo 'lock: tests/install/chroma.txt'
	@$(COMPILE) $(LOCK_ARGS) --no-allow-unsafe --no-annotate \
	  $(addprefix --unsafe-package ,$(shell cat tests/install/chroma-unused.txt)) \
	  --output-file tests/install/chroma.txt tests/install/chroma.in
	@for name in ray spark spark-build; do echo "lock: tests/install/$$name.txt"; \
	  $(COMPILE) $(LOCK_ARGS) --no-annotate \
	    --output-file tests/install/$$name.txt tests/install/$$name.in || exit 1; done

clean:
	rm -rf $(VENV) build dist .demo .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find daemon tests -depth \( -name '__pycache__' -o -name '*.egg-info' \) -exec rm -rf {} +
