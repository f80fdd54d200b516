"""A machine that trains has prepared cases and no library for DICOM, ITK or lungs: the study must run on it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.training.small_study import write_patients, write_recipe
from training.jobs import Result, read_record

ROOT = Path(__file__).parents[2]
ABSENT = ("SimpleITK", "pydicom", "highdicom", "lungmask", "cc3d", "fill_voids", "pynetdicom", "dicom_node", "dbos")
BLOCK = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}, as on a machine that only trains", name=name)

sys.meta_path.insert(0, Absent())
"""


def without_dicom(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python, and all Python that it starts, as if the libraries were not installed."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(BLOCK)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), "COLUMNS": "200"}
    command = [sys.executable, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


def test_the_libraries_are_absent_in_this_test(tmp_path: Path) -> None:
    tried = "".join(
        f"try:\n    import {name}\nexcept ModuleNotFoundError as fault:\n    print(fault)\n" for name in ABSENT
    )
    done = without_dicom(tmp_path / "block", "-c", tried)
    assert done.stdout.count("as on a machine that only trains") == len(ABSENT), done.stdout + done.stderr


def test_pre_training_fine_tuning_and_scores_need_none_of_them(tmp_path: Path) -> None:
    study = tmp_path / "study"
    write_patients(study)
    recipe = write_recipe(tmp_path / "recipe", steps=2)
    (recipe / "arm-joint.toml").unlink()
    (recipe / "arm-peer.toml").unlink()
    text = (recipe / "study.toml").read_text().replace(", 'joint', 'peer'", "")
    (recipe / "study.toml").write_text(text)
    command = ("-m", "training.commands.study", "run", study, "--config", recipe, "--device", "cpu", "--parallel", 2)
    done = without_dicom(tmp_path / "block", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    result = read_record(study / "jobs" / "full-fine-tuning" / "fold0" / "seed5" / "result.json", Result)
    assert len(result.scores) == 2
    told = without_dicom(tmp_path / "block", "-m", "training.commands.study", "status", study)
    assert told.returncode == 0, told.stdout + told.stderr
