import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from dicom_node.cli import app
from inference.anatomy import Lobe
from inference.images import Interpolation, resample
from tests.training.conftest import perfnode
from training.insilico.files.patient_files import PatientFolder
from training.insilico.pages.record_lines import TOLD, record_lines

NAMES = ("NC-001", "LC-001")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def in_process(*arguments: object):
    """As `perfnode`, without the time to start it."""
    return CliRunner().invoke(app, ["cohort", *(str(argument) for argument in arguments)])


def test_equal_seeds_give_equal_bytes_whoever_makes_them(tiny_cohort: Path, tiny_plan: Path, tmp_path: Path) -> None:
    again = perfnode("cohort", "make", "--config", tiny_plan, "--out", tmp_path / "again", "--workers", 1)
    assert again.returncode == 0
    assert digests(tmp_path / "again") == digests(tiny_cohort)
    other = tmp_path / "other.toml"
    other.write_text(
        tiny_plan.read_text().replace("seed = 7", "seed = 8").replace("lung_cancer = 1", "lung_cancer = 0")
    )
    assert perfnode("cohort", "make", "--config", other, "--out", tmp_path / "other").returncode == 0
    changed = digests(tmp_path / "other" / "NC-001")
    assert [name for name, digest in digests(tiny_cohort / "NC-001").items() if changed.get(name) == digest] == []


def test_a_second_run_makes_nothing_and_says_so(tiny_cohort: Path, tiny_plan: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_cohort, tmp_path / "cohort"))
    before = digests(folder)
    done = in_process("make", "--config", tiny_plan, "--out", folder)
    assert (done.exit_code, digests(folder)) == (0, before)
    assert "2 of 2 patients are there already" in done.stderr
    assert "made:" not in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_true_lungs_lie_on_the_ct_and_the_spect(tiny_cohort: Path, name: str) -> None:
    """By the DICOM files alone: true lung is air-filled where the CT shows it, and counts come from it."""
    patient = PatientFolder.open(tiny_cohort / name)
    truth, ct, nuclear = patient.truth(), patient.ct(), patient.nuclear()
    for grid, values, least, most in ((ct.grid, ct.hu, -1000.0, -500.0), (nuclear.grid, nuclear.values, None, None)):
        lobes = resample(truth.lobes, truth.grid, grid, interpolation=Interpolation.NEAREST, outside=0.0)
        for lobe in Lobe:
            here = grid.to_patient_mm(np.argwhere(lobes == lobe).mean(axis=0))
            there = truth.grid.to_patient_mm(np.argwhere(truth.lobes == lobe).mean(axis=0))
            assert np.abs(here - there).max() < max(grid.spacing_mm)
        inside = values[lobes > 0]
        if most is not None:
            assert least < np.median(inside) < most
        else:
            assert inside.mean() > 4.0 * values[lobes == 0].mean()


@pytest.mark.parametrize("name", NAMES)
def test_both_images_claim_one_invented_patient_one_study_and_one_frame_of_reference(
    tiny_cohort: Path, name: str
) -> None:
    patient = PatientFolder.open(tiny_cohort / name)
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in (patient.ct_files[0], patient.nuclear_file)]
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "InstitutionName"):
        assert images[0][keyword].value == images[1][keyword].value
    assert images[0].FrameOfReferenceUID == patient.record["truth"]["frame_of_reference_uid"]
    assert name in str(images[0].PatientID)


def test_studies_of_two_patients_share_no_uid(tiny_cohort: Path) -> None:
    uids = [
        {
            str(pydicom.dcmread(path, stop_before_pixels=True)[keyword].value)
            for path in (tiny_cohort / name).rglob("*.dcm")
        }
        for name in NAMES
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    ]
    assert not set.union(*uids[:3]) & set.union(*uids[3:])


def test_every_fact_that_the_page_tells_is_in_the_record(tiny_cohort: Path) -> None:
    record = PatientFolder.open(tiny_cohort / "LC-001").record
    assert [label for label, _ in record_lines(record)] == [label for label, _ in TOLD]


def test_the_list_tells_who_is_there_and_what_they_have(tiny_cohort: Path) -> None:
    done = perfnode("cohort", "list", tiny_cohort, "--verify")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == list(NAMES)
    assert all(line.rstrip().endswith("whole, verified") for line in lines[1:3])
    assert all(disease["name"] in lines[2] for disease in PatientFolder.open(tiny_cohort / "LC-001").record["diseases"])
    assert "2 of 2 patients; in silico, no patient" in done.stdout


def test_the_list_tells_what_is_missing_or_changed(tiny_cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_cohort, tmp_path / "cohort"))
    shutil.rmtree(folder / "NC-001")
    (folder / "LC-001" / "truth" / "lobes.nrrd").write_bytes(b"")
    done = perfnode("cohort", "list", folder, "--verify")
    assert done.returncode == 1
    assert "not made yet" in done.stdout
    assert "changed: truth/lobes.nrrd" in done.stdout


def test_a_page_of_pictures_is_drawn(tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = in_process("show", tiny_cohort / "LC-001")
    assert (done.exit_code, done.stdout) == (0, "LC-001.png\n")
    rows, columns = imread(tmp_path / "LC-001.png").shape[:2]
    assert (rows, columns) == (1177, 1905)


def test_a_patient_that_fails_is_told_of_and_gives_status_1(tiny_plan: Path, tmp_path: Path) -> None:
    (tmp_path / ".making").touch()  # where unfinished patients should lie
    one = tmp_path / "one.toml"
    one.write_text(tiny_plan.read_text().replace("lung_cancer = 1", "lung_cancer = 0"))
    done = in_process("make", "--config", one, "--out", tmp_path)
    assert done.exit_code == 1
    assert "NC-001 failed: FileExistsError" in done.stderr
    assert "1 failed; the same command tries them again" in done.stderr
    assert f"0 patients in {tmp_path}" in done.stdout


def test_without_pytomography_the_full_method_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pytomography", None)  # as if it were not installed
    done = in_process("make", "--config", "full", "--out", tmp_path / "cohort")
    assert done.exit_code == 2
    assert done.stderr.startswith("PYTOMOGRAPHY_MISSING: ")
    assert not (tmp_path / "cohort").exists()


def test_known_errors_are_one_line_with_their_code(tiny_cohort: Path, tiny_plan: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("seed = 1\n")
    damaged = Path(shutil.copytree(tiny_cohort / "NC-001", tmp_path / "NC-001"))
    (damaged / "nm" / "spect.dcm").unlink()
    calls = {
        "COHORT_PLAN": ("make", "--config", bad, "--out", tmp_path / "out"),
        "OTHER_COHORT": ("make", "--config", "tiny", "--out", tiny_cohort),
        "NO_PATIENT": ("show", tiny_cohort),
        "FILE": ("show", damaged),
    }
    for code, arguments in calls.items():
        done = in_process(*arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith(f"{code}: ")
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
