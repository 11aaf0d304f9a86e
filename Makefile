# Two commands do everything on a machine with Python 3.11 or newer: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Python keeps what it compiles, so that not each process of a test run compiles it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test long conformance rulebook check docs picture matrix soak prove model mutation bench record replay quick format emulator build clean

demo: $(VENV)/demo-ready
	@$(BIN)/python -m dev.demo $(KEY_STORE)

test: $(VENV)/ready
	$(BIN)/python -m pytest

# The tests that make test leaves out, as they take long.
long: $(VENV)/ready
	$(BIN)/python -m pytest -m long

# The emulator judged by others: AWS's tables and model, other people's clients and examples, moto's own tests.
conformance: $(VENV)/ready
	$(BIN)/python -m pytest tests/conformance -m ""

# The rulebook, run by ansible-rulebook, which needs Java 17 (apt-get install openjdk-17-jre-headless). Without this environment,
# make long leaves the test out.
rulebook: $(VENV)/ready $(VENV)/rulebook/ready
	$(BIN)/python -m pytest tests/integration/test_rulebook.py -m ""

# Hours, if you like: 100,000 generated histories of stores, and as many of keys; processes killed at each request; 200 tasks of
# ansible-playbook at once.
HISTORIES ?= 100000
SEED ?= 0
soak: $(VENV)/ready
	$(BIN)/python -m tests.histories --of stores --histories $(HISTORIES) --seed $(SEED)
	$(BIN)/python -m tests.histories --of keys --histories $(HISTORIES) --seed $(SEED)
	$(BIN)/python -m tests.histories --of windows --histories $(HISTORIES) --seed $(SEED)
	$(BIN)/python -m pytest tests/soak -n 2

# Not a sample but all: every history of a task about one store, with up to two disturbances. It goes on where it was interrupted.
# DISTURBANCES=1 takes a minute.
DISTURBANCES ?= 2
prove: $(VENV)/ready
	$(BIN)/python -m tests.prove --disturbances $(DISTURBANCES)

# Would the tests notice a mistake in what decides? mutmut makes many. FILES="plan wait" for those alone.
mutation: $(VENV)/ready $(VENV)/mutation/ready
	@$(BIN)/python -m tests.mutation $(FILES)

# A model of windows, searched whole: some minutes.
model: $(VENV)/ready
	$(BIN)/python -m tests.model --larger

# About three quarters of an hour, on a machine that does nothing else. BENCH="task waiting" measures those alone.
bench: $(VENV)/ready
	@$(BIN)/python -m dev.benchmark $(BENCH)

# KMS in your own AWS account, recorded with one key store, which is out of service for some minutes: it tells you, and asks first.
# RECORDINGS=folder for the file.
record: $(VENV)/ready
	@$(BIN)/python -m tests.record record "$(KEY_STORE)" $(if $(RECORDINGS),--folder "$(RECORDINGS)")

# The emulator held against recordings of KMS: RECORDING=file for one alone.
replay: $(VENV)/ready
	@$(BIN)/python -m tests.record replay $(RECORDING)

# CHECKS="ruff mypy" runs those alone.
check: $(VENV)/ready $(VENV)/checks/ready
	@$(BIN)/python -m dev.checks $(CHECKS)

docs: $(VENV)/ready $(VENV)/checks/ready
	@$(BIN)/python -m dev.docs

# What the demo prints, for the README.
picture: $(VENV)/ready
	@$(BIN)/python -m dev.picture

# VERSIONS="oldest newest" runs those alone, and does not write the table in the documentation. TESTS=all also runs the long tests
# that do not depend on the versions.
matrix: $(VENV)/ready
	$(BIN)/python -m dev.matrix $(if $(filter all,$(TESTS)),--all) $(VERSIONS)

quick: $(VENV)/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(VENV)/ready
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

emulator: $(VENV)/ready
	@$(BIN)/kms-emulator --log

build: $(VENV)/ready
	$(BIN)/ansible-galaxy collection build --force --output-path build

clean:
	rm -rf $(VENV) build

UV := $(BIN)/uv pip install --quiet --python

# What Ansible and the tests import is compiled once, at set-up. Otherwise, the workers of the first test run would all compile it at
# the same time, and print the warnings of libraries. When pytest collects the tests, it compiles them and most of what they import.
define compile
@$(BIN)/python -m compileall -q -j 0 $(addprefix $(VENV)/lib/python3*/site-packages/,$(1)) > /dev/null || true
endef

# What the demo needs. uv installs it in a tenth of the time that pip takes.
$(VENV)/demo-ready: requirements.txt dev/demo-requirements.txt dev/install_collections.py emulator/pyproject.toml
	@echo "Setting up $(VENV)."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv~=0.13.9
	$(UV) $(BIN)/python -r dev/demo-requirements.txt --editable ./emulator
	$(BIN)/python dev/install_collections.py
	$(call compile,ansible boto3 botocore dateutil jinja2 s3transfer urllib3 yaml)
	@touch $@

$(VENV)/ready: $(VENV)/demo-ready tests/requirements.txt
	@echo "Setting up the rest of $(VENV)."
	$(UV) $(BIN)/python -r tests/requirements.txt --editable ./emulator
	$(UV) $(BIN)/python --upgrade --target $(VENV)/oldest-sdk boto3==1.34.0 botocore==1.34.0
	$(call compile,awscli moto ../../../oldest-sdk)
	@$(BIN)/python -m pytest --collect-only --quiet --numprocesses 0 -m "" > /dev/null || true
	@touch $@

# Of the newest ansible, as amazon.aws has the event source since its version 11.
$(VENV)/rulebook/ready: $(VENV)/demo-ready tests/rulebook/requirements.txt dev/install_collections.py
	@echo "Setting up $(VENV)/rulebook."
	$(PYTHON) -m venv $(VENV)/rulebook
	$(UV) $(VENV)/rulebook/bin/python -r tests/rulebook/requirements.txt
	$(VENV)/rulebook/bin/python dev/install_collections.py 14.5.0
	@touch $@

$(VENV)/checks/ready: $(VENV)/demo-ready dev/checks/requirements.txt
	@echo "Setting up $(VENV)/checks."
	$(PYTHON) -m venv $(VENV)/checks
	$(UV) $(VENV)/checks/bin/python -r dev/checks/requirements.txt
	@touch $@

# A folder of packages and no environment, as mutmut runs the tests in its own process.
$(VENV)/mutation/ready: $(VENV)/ready tests/mutation/requirements.txt
	@echo "Setting up $(VENV)/mutation."
	$(UV) $(BIN)/python --upgrade --target $(VENV)/mutation -r tests/mutation/requirements.txt
	@touch $@
