# Needs python3 (3.11 or newer), make and git; all else is set up under .venv. "make help" is the table of contents.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PACKAGES := shared services/submitter services/executor-shell services/executor-slurm services/executor-container services/dashboard
EDITABLE := -e './shared[local]' $(patsubst %,-e ./%,$(filter-out shared,$(PACKAGES)))
INPUTS := VERSION requirements-dev.txt constraints.txt scripts/venv $(PACKAGES:%=%/pyproject.toml)
SERVICE_TESTS := $(wildcard services/*/tests)
UNIT := tests/unit $(SERVICE_TESTS)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
NEED_SLURM := PATH=$$PATH:/usr/sbin scripts/need slurmctld slurmctld slurmd slurmdbd slurm-client munge \
	mariadb-server-core mariadb-client-core

.PHONY: help
help: ## show this table
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

# -- set up -----------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: .venv/.ready ## create .venv with everything pinned in it (does nothing when it is up to date)

# All local packages in one pip command: the index's "qme" is another program, and must never be asked for a sibling.
# Everything goes to stderr, so that stdout of "make run" is the command's own.
.venv/.ready .venv-3.13/.ready: %/.ready: $(INPUTS)
	@echo "setting up $* (a minute or two the first time)" >&2
	@scripts/venv $* $(patsubst .venv-%,%,$(filter .venv-%,$*)) >&2
	@$*/bin/python -m pip install -qq -c constraints.txt -r requirements-dev.txt >&2
	@$*/bin/python -m pip install -qq -c constraints.txt --no-build-isolation $(EDITABLE) >&2
	@touch $@

.PHONY: pins
pins: ## make .venv anew from the newest versions that fit and write constraints.txt from it
	rm -rf .venv
	scripts/venv .venv
	$(BIN)/python -m pip install -r requirements-dev.txt
	$(BIN)/python -m pip install --no-build-isolation $(EDITABLE)
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt
	@touch .venv/.ready

.PHONY: clean
clean: ## remove the environments and every cache
	rm -rf .venv .venv-3.13 .venv-snakemake .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- use --------------------------------------------------------------------------------------------------------------

# What make tells its children is no business of the workers that these may start, nor of the tasks those run.
QME := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u MAKE_TERMOUT -u MAKE_TERMERR -u QME_MAKE_CMD $(BIN)/qme

# $(value) hands CMD on as it was typed: make expands no $ in it, and the shell of this recipe sees it as one word.
# The recipe exits with the command's own code; GNU make names it ("Error 3") and always turns it into 2 itself.
ifeq ($(origin CMD),command line)
unexport CMD
run: export QME_MAKE_CMD := $(value CMD)
endif
ifneq ($(filter run,$(MAKECMDGOALS)),)
ifneq ($(filter-out run,$(MAKECMDGOALS))$(filter command,$(firstword $(origin cmd))),)
$(error say make run CMD='…')
endif
endif
.PHONY: run
run: setup ## run a command through qme: make run CMD='ls | wc -l' (without CMD: echo hello moto)
	@if [ -n "$${QME_MAKE_CMD+set}" ]; then exec $(QME) run "$$QME_MAKE_CMD"; else exec $(QME) run echo hello moto; fi

.PHONY: up
up: setup ## start the local stack in the background and show it
	@$(QME) up --detach
	@$(QME) status

.PHONY: status
status: setup ## show the local stack
	@$(QME) status

.PHONY: down
down: setup ## stop the local stack
	@$(QME) down

.PHONY: slurm-up
slurm-up: ## start a small real Slurm, its state in .slurm-lab, and say how to use it
	@$(NEED_SLURM)
	@deploy/slurm-lab/up

.PHONY: slurm-down
slurm-down: ## end that Slurm and the jobs in it
	@deploy/slurm-lab/down

# -- containers -------------------------------------------------------------------------------------------------------

SERVICES ?= submitter dashboard exporter nats executor-shell executor-slurm
IMAGE ?= qme-{}
DOCKER ?= docker
SOURCES = $(shell find $(PACKAGES:%=%/src) -name '*.py')

# For the Python of .venv: the base of the images has to have the same (3.11 and 3.12 are two). Those of others first: they
# change with the pins only.
build/wheels/.others: $(INPUTS) .venv/.ready
	@rm -rf build/wheels && mkdir -p build/wheels
	@$(BIN)/python -m pip wheel -qq --no-build-isolation -c constraints.txt -w build/wheels './shared[local]' \
		$(patsubst %,./%,$(filter-out shared,$(PACKAGES))) >&2
	@touch $@

build/wheels/.ready: build/wheels/.others $(SOURCES)
	@rm -f build/wheels/qme_*.whl
	@$(BIN)/python -m pip wheel -qq --no-build-isolation --no-deps -w build/wheels $(patsubst %,./%,$(PACKAGES)) >&2
	@touch $@

.PHONY: wheels
wheels: build/wheels/.ready ## build/wheels: all that the images install, so that they build without a network

.PHONY: images
images: wheels ## container images qme-submitter, …: make images [BASE=python:3.11-slim-bookworm SERVICES='…' IMAGE=site/qme-{}]
	@for service in $(SERVICES); do \
		name=$$(echo '$(IMAGE)' | sed "s/{}/$$service/"); \
		$(DOCKER) build -q --network=none --force-rm -f deploy/docker/Dockerfile $(if $(BASE),--build-arg BASE=$(BASE)) \
			$(if $(QME_UID),--build-arg UID=$(QME_UID)) --build-arg SERVICE=$$service -t $$name . >/dev/null || exit 1; \
		echo "built $$name"; \
	done

# -- check ------------------------------------------------------------------------------------------------------------

.PHONY: check
check: lint types test ## all that a change has to pass: lint, types and tests

.PHONY: format
format: setup ## format the code and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: lint
lint: setup ## formatting, lint rules, import floors, pins without addresses
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	@if grep -nE '://|--' constraints.txt; then echo "constraints.txt holds an address or an option" >&2; exit 1; fi

# A package's tests are checked apart, since each package has a folder named tests.
.PHONY: types
types: setup ## mypy, strict on the packages and inside the tests
	$(BIN)/mypy
	$(BIN)/mypy conftest.py tests
	@set -e; for tests in $(SERVICE_TESTS); do MYPYPATH=$${tests%/tests} $(BIN)/mypy $$tests; done

# Two groups at a time, since most of what they do is wait; each prints what it has to say when it has ended. The long ones
# come first, so that both ends meet. The chaos run has the machine to itself: what it looks for comes and goes.
BESIDE := test-slurm test-integration test-deploy test-containers test-unit test-py313 test-cluster test-dashboard \
	test-metrics test-contract test-docs test-snakemake test-security bench-smoke
# A browser drops its pages when a network comes or goes, as those of containers do.
ifdef APART
test-dashboard: | test-containers test-deploy
endif
.PHONY: test
test: setup ## all tests, two groups at a time
	@$(MAKE) --jobs=2 --output-sync=target APART=1 $(BESIDE) && beside=ok; $(MAKE) test-chaos && [ "$$beside" = ok ]

# There is a folder of that name, which make would take for something that is done.
.PHONY: tests
tests:
	@echo "say make test" >&2; exit 2

.PHONY: test-unit
test-unit: setup ## pure logic and single parts, no server
	@scripts/group unit $(PYTEST) $(UNIT)

.PHONY: test-py313
test-py313: ## the library's unit tests once more on Python 3.13, where there is one; with ALL=1 the services', too
	@if scripts/venv --find 3.13 >/dev/null; then $(MAKE) .venv-3.13/.ready && \
	scripts/group unit-3.13 .venv-3.13/bin/python -m pytest $(if $(ALL),$(UNIT),tests/unit --ignore=tests/unit/dashboard); \
	else echo "unit-3.13: skipped, there is no working Python 3.13 here"; fi

.PHONY: test-contract
test-contract: setup ## one bus suite, on the in-memory twin and on a real NATS
	@scripts/group contract $(PYTEST) tests/contract

.PHONY: test-integration
test-integration: setup ## whole processes: the command line, the services, a real NATS
	@scripts/need cc gcc libc6-dev
	@scripts/need zsh zsh
	@scripts/need fish fish
	@scripts/group integration $(PYTEST) tests/integration

.PHONY: test-slurm
test-slurm: setup ## against a real Slurm of two nodes
	@$(NEED_SLURM)
	@scripts/need cc gcc libc6-dev
	@scripts/group slurm $(PYTEST) tests/slurm

.PHONY: test-cluster
test-cluster: setup ## qme on three NATS nodes, each of which may be down
	@scripts/group cluster $(PYTEST) tests/cluster

.PHONY: test-containers
test-containers: setup ## NATS nodes in containers, paused, killed and cut off
	@PATH=$$PATH:/usr/sbin scripts/need dockerd docker.io
	@scripts/need busybox busybox-static
	@scripts/group containers $(PYTEST) tests/containers

.PHONY: test-deploy
test-deploy: setup ## what a site installs: units, images, pages that are followed, two versions side by side
	@PATH=$$PATH:/usr/sbin scripts/need systemd-analyze systemd
	@PATH=$$PATH:/usr/sbin scripts/need dockerd docker.io
	@PATH=$$PATH:/usr/sbin scripts/need debootstrap debootstrap
	@scripts/need docker-compose docker-compose
	@scripts/need prometheus prometheus
	@scripts/group deploy $(PYTEST) tests/deploy

.PHONY: test-metrics
test-metrics: setup ## what is counted, a real Prometheus on a real site, alert rules, panels, runbook
	@scripts/need prometheus prometheus
	@scripts/group metrics $(PYTEST) tests/metrics

.PHONY: test-chaos
test-chaos: setup ## the judge of the chaos run, and a short run of it
	@scripts/group --once chaos $(PYTEST) tests/chaos

.PHONY: test-security
test-security: setup ## least privilege on a real NATS: each cell of the rights, known attacks, keys, TLS
	@scripts/need openssl openssl
	@scripts/group security $(PYTEST) tests/security

.PHONY: rights
rights: setup ## print the table of rights that docs/deploy/security.md shows
	@$(BIN)/python -m tests.security.matrix

.PHONY: metrics
metrics: setup ## print the tables of metrics that docs/deploy/metrics.md shows
	@$(BIN)/python -m tests.metrics.table

.PHONY: soak
soak: setup ## hours, for no single change: NATS nodes, chaos, 10,000 tasks, minutes of standstill, Slurm under kills, pages sent late
	@QME_TEST_ALL=1 scripts/group soak-cluster $(PYTEST) tests/cluster tests/integration/test_bus_away.py
	@scripts/group --once soak-chaos $(MAKE) chaos NODES=3 TASKS=1000 MINUTES=3
	@QME_TEST_ALL=1 scripts/group soak-graph $(PYTEST) tests/chaos/test_graphs.py
	@QME_TEST_TASKS=10000 scripts/group soak-many $(PYTEST) services/submitter/tests/test_many.py
	@QME_TEST_PAUSE=150 scripts/group soak-paused $(PYTEST) tests/integration/test_paused.py
	@$(NEED_SLURM)
	@QME_TEST_JOBS=200 QME_TEST_ALL=1 scripts/group soak-slurm $(PYTEST) -s tests/slurm -k 'many_kills or test_fates or test_limits'
	@QME_TEST_ALL=1 scripts/group soak-versions $(PYTEST) tests/deploy/test_versions.py
	@$(MAKE) test-py313 ALL=1
	@scripts/need chromium chromium
	@QME_TEST_ALL=1 scripts/group soak-page $(PYTEST) tests/dashboard/test_starved.py

.PHONY: test-dashboard
test-dashboard: setup ## the dashboard on a real bus, with a real Slurm, in a real browser
	@scripts/need chromium chromium
	@$(NEED_SLURM)
	@PATH=$$PATH:/usr/sbin scripts/need nginx nginx-light
	@scripts/group dashboard $(PYTEST) tests/dashboard

.PHONY: test-docs
test-docs: setup ## what the documents say holds
	@scripts/need curl curl
	@scripts/group docs $(PYTEST) tests/docs

.venv-snakemake/.ready: scripts/venv
	@echo "setting up .venv-snakemake" >&2
	@scripts/venv .venv-snakemake >&2
	@.venv-snakemake/bin/python -m pip install -qq 'snakemake<10' 'snakemake-executor-plugin-cluster-generic<2' >&2
	@touch $@

.PHONY: test-snakemake
test-snakemake: setup .venv-snakemake/.ready ## the example workflow by a real Snakemake, in an environment of its own
	@scripts/group snakemake $(PYTEST) tests/snakemake

.PHONY: docs
docs: setup ## the documentation as a site, in build/site; `python3 -m http.server -d build/site` shows it
	$(BIN)/mkdocs build --quiet

.PHONY: coverage
coverage: setup ## tests without whole processes, with the lines they miss
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(UNIT) tests/contract
	$(BIN)/coverage combine
	$(BIN)/coverage report

# A run prints its seed, which repeats its jobs and its faults (not the moments at which they meet).
.PHONY: chaos
chaos: setup ## 10,000 tasks while everything is killed: make chaos [TASKS=10000 MINUTES=12 NODES=3 SEED=… WRITE=1]
	@$(BIN)/python -m tests.chaos --tasks $(or $(TASKS),10000) --minutes $(or $(MINUTES),12) \
		--nodes $(or $(NODES),1) $(if $(SEED),--seed $(SEED)) $(if $(WRITE),--write)

.PHONY: bench-dashboard
bench-dashboard: setup ## 100,000 tasks on a real bus: what people wait for, and what the dashboard takes (10 minutes)
	@scripts/need chromium chromium
	@$(BIN)/python benchmarks/dashboard_store.py
	@$(BIN)/python benchmarks/dashboard_live.py

.PHONY: screenshots
screenshots: setup ## draw every page of the dashboard into docs/img
	@scripts/need chromium chromium
	@$(NEED_SLURM)
	@$(BIN)/python -m tests.dashboard.screenshots docs/img

.PHONY: bench-cluster
bench-cluster: setup ## how long three NATS nodes take no write while the leading one ends, dies or freezes
	@$(BIN)/python benchmarks/cluster_gaps.py

.PHONY: bench
bench: setup ## how fast qme is, beside bare processes and other systems: make bench [GROUPS='shell …' FULL=1]
	@$(BIN)/python -m benchmarks $(if $(FULL),--full) $(if $(filter command line,$(origin GROUPS)),$(GROUPS))

.PHONY: bench-smoke
bench-smoke: setup ## a handful of each measurement, to see that all of them still run
	@scripts/group --once bench $(BIN)/python -m benchmarks --smoke

.PHONY: bench-run
bench-run: setup ## what qme adds to a command: the time of `qme run true`, step by step, on the local stack
	@$(BIN)/python benchmarks/run_split.py

.PHONY: bench-graph
bench-graph: setup ## 10,000 tasks in a layered graph beside the same without dependencies: make bench-graph [TASKS=10000 ROUNDS=1]
	@$(BIN)/python -m benchmarks.graph $(or $(TASKS),10000) $(ROUNDS)

.PHONY: bench-fairness
bench-fairness: setup ## a user with one task beside a user with 20,000, with and without the window: [TASKS=20000]
	@$(BIN)/python -m benchmarks.fairness $(TASKS)

.PHONY: bench-slurm
bench-slurm: setup ## what qme adds to sbatch, and what a Slurm worker costs with 0, 1 and 1,000 jobs
	@$(NEED_SLURM)
	@$(BIN)/python benchmarks/slurm.py
