"""The whole study in small, by its commands: eight coarse patients, from DICOM to report and model, with kills."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.training.conftest import ROOT, perfnode
from tests.training.small_cohort import make_cohort
from tests.training.small_study import write_recipe
from training.jobs import Result, read_record

CHANNELS = ("hu", "lungs", "spread", "above-500")
BIG = "pretraining/small/seed5"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cohort(
        tmp_path_factory.mktemp("eight"),
        ("non_cancer = 2", "non_cancer = 4"),
        ("lung_cancer = 1", "lung_cancer = 4"),
        ("spacing_mm = 5.0", "spacing_mm = 7.0"),
    )


@pytest.fixture(scope="module")
def study(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared patients, and the recipe of a small study beside them."""
    folder = tmp_path_factory.mktemp("tiny-study")
    recipe = write_recipe(folder / "config", window=(32, 24, 32), channels=CHANNELS, pretraining_steps=40)
    done = perfnode("study", "prepare", cohort, "--out", folder / "out", "--config", recipe, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert "8 cases in" in done.stdout
    return folder / "out"


def start(study: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dicom_node", "study", "run", str(study), "--device", "cpu", "--parallel", "2"]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)


def until(reached: Callable[[], bool], *, seconds: float = 240.0) -> None:
    limit = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.05)


def job_processes(study: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "training.job_process" in words and any(word.startswith(str(study)) for word in words):
            found.append(process)
    return found


@pytest.mark.slow  # `make test-long`
@pytest.mark.timeout(1200)  # two minutes on two idle cores
def test_a_tiny_study_survives_kills_and_ends_with_report_and_model(study: Path, tmp_path: Path) -> None:
    runner = start(study)
    until(lambda: (study / "jobs" / BIG / "checkpoint.safetensors").exists() or runner.poll() is not None)
    assert runner.poll() is None
    assert perfnode("study", "status", study).returncode == 1
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    until(lambda: not job_processes(study))  # no orphan goes on writing
    assert not (study / "jobs" / BIG / "result.json").exists()

    runner = start(study)
    until(lambda: bool(job_processes(study)) or runner.poll() is not None)
    killed = job_processes(study)
    for process in killed:
        process.kill()
    assert killed
    assert runner.wait() == 0

    status = perfnode("study", "status", study)
    assert status.returncode == 0, status.stdout
    results = {path: read_record(path, Result) for path in (study / "jobs").rglob("result.json")}
    assert len(results) == 6 + 2 + 4 * 2
    tested = sorted(p for path, result in results.items() if "joint" in path.parts for p in result.scores)
    assert tested == [f"LC-00{number}" for number in range(1, 5)]

    same_weights_without_a_kill(study, tmp_path)
    report = perfnode("study", "report", study, "--to", tmp_path / "report")
    assert report.returncode == 0, report.stderr
    assert "full-fine-tuning" in (tmp_path / "report" / "report.md").read_text()
    exported = perfnode("study", "export", study, "--to", tmp_path / "tiny-model")
    assert exported.returncode == 0, exported.stderr
    assert len(list((tmp_path / "tiny-model" / "models").rglob("*.safetensors"))) == 2


def same_weights_without_a_kill(study: Path, elsewhere: Path) -> None:
    """The killed job, done again in one go in a copy of the study."""
    folder = elsewhere / "copy" / "jobs" / BIG
    folder.mkdir(parents=True)
    shutil.copytree(study / "cases", elsewhere / "copy" / "cases")
    shutil.copy(study / "jobs" / BIG / "job.json", folder)
    command = [sys.executable, "-m", "training.job_process", str(folder), "--device", "cpu"]
    threads = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // 2, 1))}
    subprocess.run(command, cwd=ROOT, env={**os.environ, **threads}, check=True)
    killed, whole = (read_record(path / "result.json", Result) for path in (study / "jobs" / BIG, folder))
    assert killed.weights_sha256 == whole.weights_sha256
