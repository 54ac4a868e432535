# Everything here starts from Python (3.11 or newer) and make. Each target first builds the environment that it needs,
# once: again only when pyproject.toml, constraints.txt, a version (Python's or the library's) or the place of this folder has
# changed.

PYTHON ?= python3
VENV ?= .venv
# What `make bench-peers` needs besides has a folder of its own.
BENCH_VENV = .venv-bench
EXTRAS = dev
SIZE = 1.8 GB
ARGS ?=
QUICK ?=
JOBS ?= 1

RUN = "$(VENV)/bin/python"
SCHEMA = $(RUN) -m check_jsonschema --quiet --builtin-schema vendor.
PIP = $(RUN) -m pip install -qq --no-input --disable-pip-version-check
# Written last and removed first, so that an interrupted installation, or removal, leaves none.
STAMP = $(VENV)/complete
# What tells an environment from a folder that is not ours to remove, pyvenv.cfg, goes last.
EMPTY = rm -f "$(1)/complete" && find "$(1)/" -mindepth 1 -maxdepth 1 ! -name pyvenv.cfg -exec rm -rf {} +

# Sets $$python to the interpreter that PYTHON names and $$version to its version, or ends with one clear error. A shim of
# pyenv refuses a version that is installed but not switched on: `pyenv whence` says which one has it.
define FIND_PYTHON
fail() { echo "error: $$*" >&2; exit 1; }; \
try() { version=$$("$$python" -c 'import sys; print(sys.version); sys.exit(3 * (sys.version_info < (3, 11)))' 2>/dev/null); }; \
python="$(PYTHON)"; try; code=$$?; \
if [ $$code != 0 ] && [ $$code != 3 ]; then \
    python=$$(PYENV_VERSION=$$(pyenv whence "$$python" 2>/dev/null | tail -n 1) pyenv which "$$python" 2>/dev/null); \
    try; code=$$?; \
fi; \
case $$code in \
    0) ;; \
    3) fail "PYTHON=$(PYTHON) is Python $${version%% *}, and vi_jax needs 3.11 or newer. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)";; \
    *) fail "PYTHON=$(PYTHON) does not run here. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 $(MAKECMDGOALS)";; \
esac
endef

# Builds the environment VENV with the extras EXTRAS, unless it is there.
define BUILD
$(FIND_PYTHON); \
key=$$({ echo "$$version $(EXTRAS)"; pwd -P; cat pyproject.toml constraints.txt vi_jax/version.py; } | cksum); \
if [ "$$key" = "$$(cat "$(STAMP)" 2>/dev/null)" ] && [ -x $(RUN) ]; then exit 0; fi; \
"$$python" -c 'import ensurepip, venv' 2>/dev/null || \
    fail "PYTHON=$(PYTHON) lacks the modules venv and ensurepip. Install them (Debian and Ubuntu: the package python3-venv)."; \
[ ! -L "$(VENV)" ] || \
    fail "VENV=$(VENV) is a link, and what it leads to is not ours to empty. Remove the link, or name a folder: make VENV=DIR $(MAKECMDGOALS)"; \
[ ! -e "$(VENV)" ] || [ -f "$(VENV)/pyvenv.cfg" ] || \
    fail "VENV=$(VENV) exists and is no Python environment. Remove it, or name another folder: make VENV=DIR $(MAKECMDGOALS)"; \
echo "building $(VENV) with Python $${version%% *}: $(SIZE), a few minutes, once"; \
mkdir -p "$(VENV)" && touch "$(VENV)/pyvenv.cfg" && $(call EMPTY,$(VENV)) && \
"$$python" -m venv "$(VENV)" && \
$(PIP) -c constraints.txt setuptools && \
$(PIP) -c constraints.txt --no-build-isolation -e '.[$(EXTRAS)]' && \
echo "$$key" >"$(STAMP)" || \
    fail "$(VENV) is not complete: the message above says why. The next make starts it afresh."
endef

.DEFAULT_GOAL := help
.PHONY: help venv run test check format certify bench bench-peers experiments dist constraints python clean report docs
# One target at a time under `make -j` too: targets share the environment, and a timing must not share the machine.
.NOTPARALLEL:

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "PYTHON=python3.12   the Python to build the environment with (now: $(PYTHON))"
	@echo "VENV=DIR            the environment's folder (now: $(VENV))"
	@echo "ARGS='...'          passed on by run, test, docs, report, certify, bench, bench-peers and experiments: make test ARGS='-k iwae'"

	@echo "QUICK=1             makes 'make experiments' use the quick forms: minutes in all, and docs/figures stays as it is"
	@echo "JOBS=2              how many experiments run at a time: more than 1 spoils the times that they report"

venv: ## build the environment
	@$(BUILD)

run: venv ## train on the digits, sweep the number of samples K, print the table and draw the figure
	@$(RUN) -m experiments.sample_sweep $(ARGS)

test: venv ## run the tests
	@$(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

check: venv ## lint, formatting, types, workflows and forms
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(SCHEMA)github-workflows .github/workflows/*.yml
	@$(SCHEMA)github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	@$(SCHEMA)github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@$(SCHEMA)dependabot .github/dependabot.yml
	@$(SCHEMA)citation-file-format CITATION.cff
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(RUN) -m pyright --pythonpath $(RUN)

format: venv ## format the code and fix what the linter can
	@$(RUN) -m ruff check --fix-only --quiet .
	@$(RUN) -m ruff format .

docs: venv ## build the site into build/docs and run its notebooks; a warning fails it
	@$(RUN) -m sphinx -W --keep-going -q -b html $(ARGS) docs build/docs && echo "$$(pwd -P)/build/docs/index.html"

certify: venv ## measure every bound × estimator against its exact gradient, and write docs/estimators.md
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && \
	$(RUN) -m experiments.certify --out "$$out" --keep-figure docs/figures/certify.png $(ARGS) && \
	$(RUN) -m experiments.certified_page "$$out"/certify/* docs/estimators.md

bench: venv ## time the gradients on this machine's device
	@$(RUN) -m experiments.bench $(ARGS)

bench-peers: VENV = $(BENCH_VENV)
bench-peers: EXTRAS = bench
bench-peers: SIZE = 6.5 GB
bench-peers: ## time the same work in NumPyro, TFP, BlackJAX, Pyro and PyTorch, in an environment of its own
	@$(BUILD)
	@$(RUN) -m experiments.bench.peers $(ARGS)

experiments: venv ## run every experiment, each experiments/*.py that defines run(), and renew its figure in docs/figures
	@names=$$(grep -l '^def run(' experiments/*.py | sed 's|.*/||; s|\.py$$||'); \
	[ -n "$$names" ] || { echo "error: no experiments/*.py defines run()" >&2; exit 1; }; \
	printf '%s\n' $$names | xargs -P $(JOBS) -I NAME sh -c 'echo "experiment NAME"; \
	    $(RUN) -m experiments.NAME $(if $(filter-out 0,$(QUICK)),--quick,--keep-figure docs/figures/NAME.png) $(ARGS) || \
	    { echo "error: experiment NAME failed" >&2; exit 1; }'

dist: venv ## build wheel and sdist into dist/, and test each in an environment of its own
	@.ci/dist $(RUN)

report: venv ## write results/report.html, one page of every result; an experiment without a run is run in its quick form
	@$(RUN) -m experiments.report $(ARGS)

constraints: ## pin the newest releases that fit, for all Pythons and extras
	@$(FIND_PYTHON); \
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	"$$python" -m venv "$$tmp" && "$$tmp/bin/python" -m pip install -qq --no-input --disable-pip-version-check uv && \
	"$$tmp/bin/uv" pip compile pyproject.toml --quiet --universal --all-extras --python-version 3.11 \
	    --no-header --annotation-style line --output-file "$$tmp/pins" && \
	{ sed -n '/^#/p; /^[^#]/q' constraints.txt; cat "$$tmp/pins"; } >"$$tmp/new" && cp "$$tmp/new" constraints.txt

python: ## print the interpreter that PYTHON names
	@$(FIND_PYTHON); echo "$$python"

clean: ## remove the environments and every cache; results/ stays
	@for venv in "$(VENV)" "$(BENCH_VENV)"; do \
	    if [ -L "$$venv" ]; then echo "error: VENV=$$venv is a link: not removed" >&2; exit 1; \
	    elif [ -f "$$venv/pyvenv.cfg" ]; then $(call EMPTY,$$venv) && rm -rf "$$venv"; \
	    elif [ -e "$$venv" ]; then echo "error: VENV=$$venv is no Python environment: not removed" >&2; exit 1; fi || exit 1; \
	done
	@rm -rf build dist vi_jax.egg-info .pytest_cache .ruff_cache .hypothesis
	@find vi_jax experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +
