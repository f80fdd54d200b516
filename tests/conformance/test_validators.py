"""No validator finds an error in any kind of object; and each validator would."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.objects.kinds import ObjectKind
from dicom_node.objects.structure_set import encode_structure_set
from dicom_node.settings.profile_files import read_profile, shipped_profiles
from tests.conformance.cases import A0001, COARSE, THORAX, Case
from tests.conformance.validators import dcentvfy, dciodvfy, dicom_validator

CaseOf = Callable[[str], Case]
Validator = Callable[[Path], list[str]]
VALIDATORS = pytest.mark.parametrize("errors", [dciodvfy, dicom_validator])
SOURCES = pytest.mark.parametrize("source", [THORAX, COARSE, A0001])


@VALIDATORS
@SOURCES
@pytest.mark.parametrize("kind", ObjectKind)
def test_no_error_is_found_in_any_kind_of_object(
    case_of: CaseOf, kind: ObjectKind, source: str, errors: Validator
) -> None:
    paths = case_of(source).paths(kind)
    several = {ObjectKind.MR_TWIN: case_of(source).grid.shape[0], ObjectKind.SEGMENTATION: 2}
    assert len(paths) == several.get(kind, 1)
    assert {path.name: found for path in paths if (found := errors(path))} == {}


@VALIDATORS
@pytest.mark.parametrize("name", shipped_profiles())
def test_no_error_is_found_in_the_structure_sets_of_any_profile(
    case_of: CaseOf, tmp_path: Path, name: str, errors: Validator
) -> None:
    case, profile = case_of(COARSE), read_profile(name, tmp_path)
    for role in profile.contents():
        dataset = encode_structure_set(case.result.lobes, case.result.regions, case.context, profile, role)
        assert errors(saved(dataset, tmp_path)) == [], role


@SOURCES
def test_no_contradiction_is_found_between_the_ct_and_all_objects(case_of: CaseOf, source: str) -> None:
    case = case_of(source)
    ct = sorted(case.ct_folder.iterdir())
    objects = [path for kind in ObjectKind for path in case.paths(kind)]
    # A CT from elsewhere has errors of its own: A0001 refers to images that are not at hand.
    assert set(dcentvfy([*ct, *objects])) - set(dcentvfy(ct)) == set()


@VALIDATORS
@pytest.mark.parametrize("kind", ObjectKind)
def test_a_missing_uid_is_found_in_every_kind_of_object(
    case_of: CaseOf, tmp_path: Path, kind: ObjectKind, errors: Validator
) -> None:
    dataset = dcmread(case_of(COARSE).paths(kind)[0])
    del dataset.StudyInstanceUID
    assert any("StudyInstanceUID" in error for error in errors(saved(dataset, tmp_path)))


def drop_position_of_last_frame(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence


def drop_unit(dataset: Dataset) -> None:
    del dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence


def drop_frame_type(dataset: Dataset) -> None:
    del dataset.SharedFunctionalGroupsSequence[0].ParametricMapFrameTypeSequence


def change_identity(dataset: Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleIntercept = 5


def drop_segment_number(dataset: Dataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber


def drop_innermost_value_type(dataset: Dataset) -> None:
    item = dataset
    while "ContentSequence" in item:
        item = item.ContentSequence[-1]
    del item.ValueType


def drop_geometric_type(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[0].ContourSequence[0].ContourGeometricType


@pytest.mark.parametrize(
    ("errors", "kind", "spoil", "where"),
    [
        (dciodvfy, ObjectKind.PARAMETRIC_MAP, drop_position_of_last_frame, "PlanePositionSequence"),
        (dciodvfy, ObjectKind.SEGMENTATION, drop_position_of_last_frame, "PlanePositionSequence"),
        (dicom_validator, ObjectKind.PARAMETRIC_MAP, drop_unit, "MeasurementUnitsCodeSequence"),
        (dicom_validator, ObjectKind.PARAMETRIC_MAP, drop_frame_type, "ParametricMapFrameTypeSequence"),
        (dicom_validator, ObjectKind.PARAMETRIC_MAP, change_identity, "RescaleIntercept"),
        (dicom_validator, ObjectKind.SEGMENTATION, drop_segment_number, "ReferencedSegmentNumber"),
        (dicom_validator, ObjectKind.REPORT, drop_innermost_value_type, "ValueType"),
        (dicom_validator, ObjectKind.STRUCTURE_SET, drop_geometric_type, "ContourGeometricType"),
    ],
)
def test_a_fault_deep_inside_an_object_is_found(
    case_of: CaseOf,
    tmp_path: Path,
    errors: Validator,
    kind: ObjectKind,
    spoil: Callable[[Dataset], None],
    where: str,
) -> None:
    dataset = dcmread(case_of(COARSE).paths(kind)[0])
    spoil(dataset)
    assert any(where in error for error in errors(saved(dataset, tmp_path)))


def other_patient(dataset: Dataset) -> None:
    dataset.PatientID = "SOMEBODY-ELSE"


def other_study_date(dataset: Dataset) -> None:
    dataset.StudyDate = "19991231"


def image_that_does_not_exist(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[0].ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def study_that_does_not_exist(dataset: Dataset) -> None:
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.ReferencedSOPInstanceUID = "1.2.3"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (other_patient, "Different PatientID"),
        (other_study_date, "StudyDate"),
        (image_that_does_not_exist, "referenced - 1.2.3"),
        (study_that_does_not_exist, "referenced - 1.2.3"),
    ],
)
def test_a_structure_set_that_contradicts_its_ct_is_found(
    case_of: CaseOf, tmp_path: Path, spoil: Callable[[Dataset], None], complaint: str
) -> None:
    case = case_of(COARSE)
    dataset = dcmread(case.one(ObjectKind.STRUCTURE_SET))
    spoil(dataset)
    found = dcentvfy([*case.ct_folder.iterdir(), saved(dataset, tmp_path)])
    assert found
    assert all(complaint in error for error in found)


def saved(dataset: Dataset, folder: Path) -> Path:
    """The dataset as a file."""
    path = folder / "object.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path
