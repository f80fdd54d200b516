import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from inference.anatomy import Lobe
from inference.ct.series import read_ct_files
from inference.images import Interpolation, resample
from tests.insilico_standins import CT_GRID, plan_of, standin_patient
from training.errors import NoPatient
from training.insilico.cohort_plan import CtEncoding
from training.insilico.files.patient_files import PatientFolder, write_patient
from training.insilico.patient import InsilicoPatient

PLAN = plan_of(1)


@pytest.fixture(scope="module")
def patient() -> InsilicoPatient:
    return standin_patient(PLAN, PLAN.patients[0])


@pytest.fixture(scope="module")
def written(patient: InsilicoPatient, tmp_path_factory: pytest.TempPathFactory) -> PatientFolder:
    return PatientFolder.open(write_patient(patient, PLAN, tmp_path_factory.mktemp("cohort")))


@pytest.fixture
def spoiled(written: PatientFolder, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(written.path, tmp_path / "NC-001"))


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_ct_is_a_series_that_the_node_reads(written: PatientFolder) -> None:
    assert read_ct_files(written.ct_files).grid.matches(CT_GRID)
    assert [pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in written.ct_files[:1]] == [JPEGLSLossless]


@pytest.mark.parametrize("lobe", Lobe, ids=lambda lobe: lobe.name)
def test_each_true_lobe_lies_on_the_ct_at_its_place(
    written: PatientFolder, patient: InsilicoPatient, lobe: Lobe
) -> None:
    """The lobes of the file, at the voxels of the DICOM series, have their centre where it was drawn."""
    ct, truth = read_ct_files(written.ct_files), written.truth()
    on_ct = resample(truth.lobes, truth.grid, ct.grid, interpolation=Interpolation.NEAREST, outside=0.0)
    centre_mm = ct.grid.to_patient_mm(np.argwhere(on_ct == lobe).mean(axis=0))
    drawn_mm = patient.truth.grid.to_patient_mm(np.argwhere(patient.truth.lobes == lobe).mean(axis=0))
    assert np.abs(centre_mm - drawn_mm).max() < 0.5 * min(ct.grid.spacing_mm)
    # The other way round than by geometry: what is called lung is air-filled in the CT.
    assert np.median(ct.hu[on_ct == lobe]) < -600.0


def test_equal_patients_have_equal_bytes(written: PatientFolder, tmp_path: Path) -> None:
    again = write_patient(standin_patient(PLAN, PLAN.patients[0]), PLAN, tmp_path)
    assert all_bytes(again) == all_bytes(written.path)


def test_another_seed_is_another_patient(written: PatientFolder, tmp_path: Path) -> None:
    plan = plan_of(1, seed=8)
    other = all_bytes(write_patient(standin_patient(plan, plan.patients[0]), plan, tmp_path))
    mine = all_bytes(written.path)
    assert other.keys() == mine.keys()
    assert [name for name in mine if mine[name] == other[name]] == []


def test_the_record_tells_true_totals(written: PatientFolder, patient: InsilicoPatient) -> None:
    told, truth = written.record["truth"], patient.truth
    assert sum(lobe["share_of_perfusion"] for lobe in told["lobes"].values()) == pytest.approx(1.0, abs=1e-5)
    volume_ml = np.count_nonzero(truth.lobes == Lobe.RML) * 10.0 * 9.0 * 9.0 / 1000.0
    assert told["lobes"]["RML"]["volume_ml"] == pytest.approx(volume_ml)
    mean = float(truth.perfusion[truth.lobes == Lobe.LLL].mean())
    assert told["lobes"]["LLL"]["mean_perfusion"] == pytest.approx(mean, abs=1e-5)
    weighted = sum(lobe["mean_perfusion"] * lobe["volume_ml"] for lobe in told["lobes"].values())
    assert weighted / told["lung_volume_ml"] == pytest.approx(1.0, abs=1e-4)


def test_the_record_says_that_nobody_is_meant_and_how_the_patient_was_made(written: PatientFolder) -> None:
    record = written.record
    assert record["what"] == "in silico, no patient"
    assert (record["patient"], record["cohort"], record["hospital"]) == ("NC-001", "non-cancer", {"name": "stand-in"})
    assert record["making"]["digest"] == PLAN.making_digest
    assert record["making"]["settings"]["ct"] == {"matrix": 64, "encoding": "jpeg-ls"}
    assert {"python", "numpy", "SimpleITK", "pydicom"} <= record["software"].keys()


def test_the_record_is_text_in_order_for_people_and_for_comparing(written: PatientFolder) -> None:
    text = (written.path / "record.json").read_text()
    assert list(json.loads(text)) == sorted(written.record)
    assert text.count("\n") > len(written.record["files"])


def test_every_file_but_the_record_has_its_digest_in_it(written: PatientFolder) -> None:
    assert written.record["files"].keys() == all_bytes(written.path).keys() - {"record.json"}
    assert written.changed_files() == ()


@pytest.mark.parametrize("change", ["altered", "missing", "added"])
def test_a_change_of_any_file_is_found(spoiled: Path, change: str) -> None:
    name = "added.txt" if change == "added" else "truth/lobes.nrrd"
    if change == "missing":
        (spoiled / name).unlink()
    else:
        (spoiled / name).write_bytes(b"other")
    assert PatientFolder.open(spoiled).changed_files() == (name,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ("[]", "not of format 1"),
        ('{"format": 2}', "not of format 1"),
        ('{"format": 1, "patient": "Jane"}', "names no patient"),
    ],
    ids=["no record", "no JSON", "no object", "other format", "no name"],
)
def test_a_folder_without_a_good_record_is_no_patient(spoiled: Path, content: str | None, said: str) -> None:
    (spoiled / "record.json").unlink()
    if content is not None:
        (spoiled / "record.json").write_text(content)
    with pytest.raises(NoPatient, match=said):
        PatientFolder.open(spoiled)


@pytest.mark.parametrize("value", [float("nan"), object()], ids=["not a number", "no plain thing"])
def test_a_fact_that_json_does_not_know_leaves_no_folder(
    patient: InsilicoPatient, tmp_path: Path, value: object
) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_patient(replace(patient, facts={"who": value}), PLAN, tmp_path)
    assert all_bytes(tmp_path) == {}


def test_a_fact_does_not_replace_what_stands_in_every_record(patient: InsilicoPatient, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="patient: these stand in every record"):
        write_patient(replace(patient, facts={"patient": "NC-002"}), PLAN, tmp_path)


def test_facts_of_numpy_and_dataclasses_become_plain_numbers(patient: InsilicoPatient, tmp_path: Path) -> None:
    facts = {"hilum_mm": np.array([1.5, 2.5]), "age": np.float32(0.5), "plan": PLAN.body, "lobe": Lobe.RML}
    folder = write_patient(replace(patient, facts=facts), PLAN, tmp_path)
    record = json.loads((folder / "record.json").read_text())
    assert (record["hilum_mm"], record["age"], record["lobe"]) == ([1.5, 2.5], 0.5, 2)
    assert record["plan"] == {"spacing_mm": 8.0, "territories": 50}


def test_an_uncompressed_ct_has_the_same_pixels(written: PatientFolder, tmp_path: Path) -> None:
    plan = replace(PLAN, ct=replace(PLAN.ct, encoding=CtEncoding.UNCOMPRESSED))
    folder = PatientFolder.open(write_patient(standin_patient(plan, plan.patients[0]), plan, tmp_path))
    assert pydicom.dcmread(folder.ct_files[0]).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(read_ct_files(folder.ct_files).hu, read_ct_files(written.ct_files).hu)
