"""A folder of a hospital's files becomes pairs and problems: the right CT, the right image, and nothing left unsaid."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import FileDataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from inference.geometry import Grid
from inference.phantom.thorax import DigitalThorax
from tests.training.pairs.hospital_files import PATIENT, ct_files, nuclear, pet, registration, save, turned
from tests.training.pairs.moved_spect import spect_of
from training.pairs.pair import ClinicalPair, LinkKind, PatientFindings, ProblemCode
from training.pairs.pairing import find_pairs
from training.pairs.rigid import Rigid

MOVEMENT = turned((4, -3, 6), (25, -18, 30))


@pytest.fixture(scope="module")
def hospital(thorax: DigitalThorax, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes folders with the CT of the thorax and a SPECT that lies somewhere else, in the frame it is given."""
    ct = tmp_path_factory.mktemp("ct")
    ct_files(thorax.ct, ct)

    def made(folder: Path, movement: Rigid = MOVEMENT, frame_uid: str = "2.25.77") -> Path:
        folder.mkdir(exist_ok=True)
        for path in ct.iterdir():
            (folder / path.name).hardlink_to(path)
        values, grid = spect_of(thorax, movement, frame_uid=frame_uid)
        save(nuclear(values, grid), folder / "nm" / "spect.dcm")
        return folder

    return made


def only_pair(folder: Path) -> ClinicalPair:
    (findings,) = find_pairs(folder)
    assert findings.patient_id == PATIENT.patient_id
    (pair,) = findings.pairs
    return pair


def codes(findings: PatientFindings) -> list[str]:
    return sorted(problem.code.value for problem in findings.problems)


def test_one_frame_of_reference_is_a_link_without_a_movement(
    hospital: Callable[..., Path], thorax: DigitalThorax, tmp_path: Path
) -> None:
    uid = thorax.ct.grid.frame_of_reference_uid
    pair = only_pair(hospital(tmp_path / "in", Rigid.identity(), uid))
    assert pair.link.kind is LinkKind.FRAME_OF_REFERENCE
    assert np.array_equal(pair.link.rigid.matrix, np.eye(4))
    assert len(pair.ct.files) == thorax.ct.grid.shape[0]
    assert pair.registration is None


def test_a_registration_object_comes_before_the_images(
    hospital: Callable[..., Path], thorax: DigitalThorax, tmp_path: Path
) -> None:
    folder = hospital(tmp_path / "in")
    uid = thorax.ct.grid.frame_of_reference_uid
    path = save(registration("2.25.77", [(uid, MOVEMENT.inverse)]), folder / "reg.dcm")
    pair = only_pair(folder)
    assert (pair.link.kind, pair.registration) == (LinkKind.REGISTRATION_OBJECT, path)
    assert pair.link.rigid.matrix == pytest.approx(MOVEMENT.matrix, abs=1e-9)
    assert path in pair.files


def test_without_either_the_images_are_laid_on_each_other_and_that_is_said(
    hospital: Callable[..., Path], tmp_path: Path
) -> None:
    folder = hospital(tmp_path / "in")
    save(registration("2.25.8", [("2.25.9", MOVEMENT)]), folder / "reg-of-others.dcm")
    pair = only_pair(folder)
    assert pair.link.kind is LinkKind.REGISTERED
    left = pair.link.rigid.after(MOVEMENT.inverse)
    assert left.angle_deg < 1.0
    assert ProblemCode.REGISTERED_HERE in {problem.code for problem in pair.all_problems}


def _nuclear(uid: str, **values: object) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        dataset = nuclear(
            np.ones((4, 5, 6)), Grid.axial((4, 5, 6), (5.0, 5.0, 5.0), (1.0, 2.0, 3.0), frame_of_reference_uid="2.25.7")
        )
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.SeriesInstanceUID = uid + ".1"
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        save(dataset, folder / f"{uid}.dcm")

    return put


def _text(folder: Path) -> None:
    (folder / "README.txt").write_text("no DICOM")


NO_TRACER: dict[str, object] = {"RadiopharmaceuticalInformationSequence": []}


@pytest.mark.parametrize(
    ("put", "expected"),
    [
        ([], ["NO_CT"]),
        ([_nuclear("2.25.82", ImageType=["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"])], ["NOT_PERFUSION", "NO_CT"]),
        ([_nuclear("2.25.82", SeriesDescription="Technegas vent", **NO_TRACER)], ["NOT_PERFUSION", "NO_CT"]),
        ([_nuclear("2.25.82", CorrectedImage="")], ["NO_CT", "SEVERAL_PERFUSIONS"]),
    ],
)
def test_what_is_not_taken_is_said_by_its_code(
    put: list[Callable[[Path], None]], expected: list[str], tmp_path: Path
) -> None:
    for one in [_nuclear("2.25.81"), *put]:
        one(tmp_path)
    (findings,) = find_pairs(tmp_path)
    assert findings.pairs == ()
    assert codes(findings) == sorted(expected)


def test_a_ct_without_perfusion_and_files_of_nobody_are_said(thorax: DigitalThorax, tmp_path: Path) -> None:
    ct_files(thorax.ct, tmp_path)
    _text(tmp_path)
    _nuclear("2.25.82", PatientID="")(tmp_path)
    of_patient, of_nobody = find_pairs(tmp_path)
    assert codes(of_patient) == ["NO_PERFUSION"]
    assert (of_nobody.patient_id, codes(of_nobody)) == ("", ["NOT_DICOM", "NO_PATIENT_ID"])


def _bare(path: Path, **values: object) -> None:
    """A DICOM file with hardly anything in it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_links_and_objects_of_no_class_are_said_and_a_dicomdir_is_no_object(tmp_path: Path) -> None:
    _bare(tmp_path / "DICOMDIR", DirectoryRecordSequence=[])
    _bare(tmp_path / "of-no-class.dcm", PatientID=PATIENT.patient_id)
    (tmp_path / "elsewhere").symlink_to(tmp_path.parent)
    (tmp_path / "other.dcm").symlink_to(tmp_path / "of-no-class.dcm")
    (of_nobody,) = find_pairs(tmp_path)
    assert codes(of_nobody) == ["NOT_DICOM", "NOT_USED"]
    told = {problem.code.value: problem.sentence for problem in of_nobody.problems}
    assert told["NOT_DICOM"].startswith("1 file(s)")
    assert told["NOT_USED"].startswith("2 link(s)")


def test_two_persons_with_one_patient_id_are_not_mixed(hospital: Callable[..., Path], tmp_path: Path) -> None:
    folder = hospital(tmp_path / "in")
    dataset = dcmread(folder / "nm" / "spect.dcm")
    dataset.PatientName = "ZZCANARY^OTHER"
    dataset.save_as(folder / "nm" / "spect.dcm")
    (findings,) = find_pairs(folder)
    assert (findings.pairs, codes(findings)) == ((), ["PATIENT_MIXED"])


def test_a_ct_that_cannot_be_used_is_said_and_the_next_one_is_taken(
    hospital: Callable[..., Path], thorax: DigitalThorax, tmp_path: Path
) -> None:
    folder = hospital(tmp_path / "in", Rigid.identity(), thorax.ct.grid.frame_of_reference_uid)
    source = replace(thorax.ct.source, series_instance_uid="2.25.3.9", frame_of_reference_uid="2.25.77")
    short = thorax.ct.grid.cropped((slice(0, 8), slice(0, 96), slice(0, 96)))
    uids = tuple(f"{source.series_instance_uid}.{k}" for k in range(8))
    grid = Grid(short.shape, short.affine, "2.25.77")
    other = replace(thorax.ct, hu=thorax.ct.hu[:8], grid=grid, source=replace(source, sop_instance_uids=uids))
    for name in ("ct", "nm"):
        (folder / name).mkdir(exist_ok=True)
    ct_files(other, folder / "short")
    dataset = dcmread(folder / "nm" / "spect.dcm")
    dataset.FrameOfReferenceUID = "2.25.77"
    dataset.save_as(folder / "nm" / "spect.dcm")
    (findings,) = find_pairs(folder)
    assert codes(findings) == ["CT_UNUSABLE"]
    assert "TOO_FEW_SLICES" in findings.problems[0].sentence
    (pair,) = findings.pairs
    assert pair.link.kind is LinkKind.REGISTERED
    assert pair.ct.series_instance_uid == thorax.ct.source.series_instance_uid


def test_days_between_and_an_unknown_tracer_are_for_a_person(
    hospital: Callable[..., Path], thorax: DigitalThorax, tmp_path: Path
) -> None:
    folder = hospital(tmp_path / "in", Rigid.identity(), thorax.ct.grid.frame_of_reference_uid)
    dataset = dcmread(folder / "nm" / "spect.dcm")
    dataset.RadiopharmaceuticalInformationSequence, dataset.SeriesDescription = [], "Tomo"
    dataset.CorrectedImage = None
    dataset.save_as(folder / "nm" / "spect.dcm")
    pair = only_pair(folder)
    assert {problem.code.value for problem in pair.all_problems} == {"TRACER_UNKNOWN", "NOT_CORRECTED", "DAYS_APART"}


def test_a_pet_series_is_one_image_and_what_is_left_over_is_told(thorax: DigitalThorax, tmp_path: Path) -> None:
    uid = thorax.ct.grid.frame_of_reference_uid
    ct_files(thorax.ct, tmp_path / "ct")
    other = replace(thorax.ct.source, series_instance_uid="2.25.3.8", frame_of_reference_uid="2.25.76")
    sop_uids = tuple(f"2.25.3.8.{k}" for k in range(thorax.ct.grid.shape[0]))
    grid = Grid(thorax.ct.grid.shape, thorax.ct.grid.affine, "2.25.76")
    ct_files(replace(thorax.ct, grid=grid, source=replace(other, sop_instance_uids=sop_uids)), tmp_path / "other")
    values, there = spect_of(thorax, Rigid.identity(), frame_uid=uid)
    for k, each in enumerate(pet(values, there)):
        save(each, tmp_path / "pet" / f"{k:03d}.dcm")
    deformable = registration("2.25.9", [])
    deformable.SOPClassUID = deformable.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.3"
    save(deformable, tmp_path / "deformable.dcm")
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "deformable.dcm").read_bytes())
    (findings,) = find_pairs(tmp_path)
    (pair,) = findings.pairs
    assert (pair.link.kind, pair.spect.modality) == (LinkKind.FRAME_OF_REFERENCE, "PT")
    assert len(pair.spect.files) == there.shape[0]
    assert pair.ct.frame_of_reference_uid == uid
    assert {problem.code for problem in pair.all_problems} == {ProblemCode.DAYS_APART}
    assert codes(findings) == ["NOT_USED"] * 3
    said = [problem.sentence for problem in findings.problems]
    assert all(word in line for word, line in zip(("Deformable", "another file", "2.25.3.8"), said, strict=True))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        ({"SeriesType": ["GATED", "IMAGE"]}, ["NOT_PERFUSION", "NO_PERFUSION"]),
        ({"SeriesDescription": "Galligas vent"}, ["NOT_PERFUSION", "NO_PERFUSION"]),
        ({"RescaleSlope": None}, ["PERFUSION_UNUSABLE"]),
        ({"PixelData": bytes(2 * 5 * 6)}, ["PERFUSION_UNUSABLE"]),
    ],
)
def test_a_pet_that_is_not_taken_is_said_by_its_code(
    spoil: dict[str, object], expected: list[str], thorax: DigitalThorax, tmp_path: Path
) -> None:
    ct_files(thorax.ct, tmp_path / "ct")
    grid = Grid.axial((4, 5, 6), (5.0, 5.0, 5.0), (1.0, 2.0, 3.0), frame_of_reference_uid="2.25.7")
    for k, each in enumerate(pet(np.ones(grid.shape), grid)):
        for keyword, value in spoil.items():
            setattr(each, keyword, value)
        save(each, tmp_path / f"pt{k}.dcm")
    (findings,) = find_pairs(tmp_path)
    assert (findings.pairs, codes(findings)) == ((), sorted(expected))


def test_of_another_patient_nothing_is_looked_at(tmp_path: Path) -> None:
    _nuclear("2.25.81")(tmp_path)
    _nuclear("2.25.82", PatientID="ZZCANARY-OTHER")(tmp_path)
    other, mine = find_pairs(tmp_path, is_wanted=lambda patient_id: patient_id == PATIENT.patient_id)
    assert (other.patient_id, codes(other)) == ("ZZCANARY-OTHER", ["OTHER_PATIENT"])
    assert codes(mine) == ["NO_CT"]
    assert "ZZCANARY" not in other.problems[0].sentence
