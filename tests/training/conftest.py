"""A small coarse cohort by the command itself, for all that looks at cohorts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def perfnode(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line of this project; lines are not wrapped."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "dicom_node", *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.fixture(scope="session")
def tiny_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped tiny cohort with one patient of each kind, coarser still."""
    text = (ROOT / "configs" / "cohort" / "tiny.toml").read_text()
    for old, new in (("non_cancer = 2", "non_cancer = 1"), ("spacing_mm = 5.0", "spacing_mm = 6.0")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("plan") / "tiny.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def tiny_cohort(tiny_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two in-silico patients, NC-001 and LC-001; only to be read."""
    folder = tmp_path_factory.mktemp("tiny") / "cohort"
    done = perfnode("cohort", "make", "--config", tiny_plan, "--out", folder, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert f"2 patients in {folder}" in done.stdout
    return folder
