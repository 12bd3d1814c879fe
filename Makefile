# Targets are listed by `make help`. Everything that is not source lives outside the checkout, in
# $XDG_CACHE_HOME/kubetune (default ~/.cache/kubetune), but for .venv. What else is changed on the machine:
# docs/reference/local-cluster.md.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help preflight venv lock generate docs fmt lint check test demo cluster images release audit refresh-base kubeconfig clean-cluster clean-caches uninstall bench
# One after the other: the preflight speaks before anything is installed.
.NOTPARALLEL:

PY := .venv/bin/python
# Where an environment forbids it, every process would compile torch and all on top of it anew: ten seconds each.
unexport PYTHONDONTWRITEBYTECODE
# Of pytest: more than there are cores, since tests wait more than they compute (docs/adr/0050).
PROCESSES := 4
# What the machine must be fit for; nothing: the cluster, or that of KUBETUNE_KUBECONFIG.
PURPOSE :=
# The images that a release has archives of.
ARCHIVES := operator,trainer,serving-cpu,gateway

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

preflight: ## Say what this machine lacks, before anything is installed
	@python=$$(bash dev/python.sh) && "$$python" -m dev.cluster.preflight $(PURPOSE)

venv: .venv/.stamp ## Make .venv with the locked dependencies

.venv/.stamp: requirements/dev.txt pyproject.toml dev/venv.sh dev/python.sh
	@bash dev/venv.sh
	@touch $@

lock: venv ## Resolve the dependencies again and write requirements/*.txt
	@$(PY) -m dev lock

generate: venv ## Write the generated files: crds/, the chart's copy and tables, docs/reference/
	@$(PY) -m dev generate

docs: venv ## Build the documentation as a site, build/site/index.html, which needs no network
	@$(PY) -m dev docs

fmt: venv ## Format the code
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lint: venv
	@.venv/bin/ruff format --check . && .venv/bin/ruff check .
	@$(PY) -m dev generate --check & generated=$$!; .venv/bin/mypy && .venv/bin/lint-imports; \
		found=$$?; wait $$generated && exit $$found

check: lint ## Lint, types, import contracts, generated files, fast tests (under two minutes)
	@.venv/bin/pytest -q -n 2 -m "not slow and not trainer and not apiserver and not cluster and not gpu"

# The tests' cluster is the local one: they delete namespaces, and read its audit log, Prometheus and S3.
test: export KUBETUNE_KUBECONFIG :=
test: preflight lint cluster ## Every tier, the real cluster included; what CI runs
	@.venv/bin/pytest -n $(PROCESSES) -m "not gpu"

demo: preflight venv ## From nothing to an answer: cluster, images, chart, a FineTuneJob, a table of answers
	@$(PY) -m dev demo

cluster: preflight venv ## Start the local cluster with the chart installed and no job
	@$(PY) -m dev cluster

images: PURPOSE := images
images: preflight venv ## Build the images and push them to KUBETUNE_REGISTRY, else to the local registry
	@$(PY) -m dev images

release: PURPOSE := images
release: preflight venv ## Write dist/: chart, install.yaml, digests, bills of materials, image archives (ARCHIVES=names)
	@$(PY) -m dev release --archives "$(ARCHIVES)"

audit: venv ## Known vulnerabilities of the locked packages, and the age of the base image
	@$(PY) -m dev audit

refresh-base: venv ## Write today as the date whose Debian fixes the images have; then run make images
	@$(PY) -m dev refresh-base

kubeconfig: venv ## Print the path of the cluster's kubeconfig
	@$(PY) -m dev kubeconfig

clean-cluster: venv ## Stop the local cluster; nothing of it is left but the caches
	@$(PY) -m dev down
	@$(PY) -m dev check-clean

clean-caches: clean-cluster ## Delete the caches, some 30 GB; they take half an hour to make again
	@$(PY) -m dev clean-caches

uninstall: clean-cluster ## Remove the Debian packages that KubeTune installed, and all else outside its folders
	@$(PY) -m dev uninstall

bench: venv ## Measure the numbers of docs/benchmarks.md, but for the time of make itself
	@$(PY) -m dev bench
