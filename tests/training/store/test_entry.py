"""What may not come in, and why; what a person is warned of."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from tests.training.store.hospital import IDENTITY, MOVED, HospitalPatient, hybrid, registered, saved
from training.errors import PairRefused
from training.store.stored_pair import PairFiles, StoredLink
from training.store.study_store import StudyStore

PATIENT = HospitalPatient()
HYBRID = StoredLink("frame-of-reference", IDENTITY)


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    return StudyStore.create(tmp_path / "store")


def code(store: StudyStore, files: PairFiles) -> str:
    with pytest.raises(PairRefused) as told:
        store.take(files, by="Ann")
    assert list(store.folder.rglob("*.dcm")) == []
    assert "ZZCANARY" not in str(told.value)
    return told.value.reason_code


def with_tag(keyword: str, value: object) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        setattr(dataset, keyword, value)

    return change


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (with_tag("PatientID", ""), "TWO_PATIENTS"),
        (with_tag("PatientID", "ANOTHER"), "TWO_PATIENTS"),
        (with_tag("PatientBirthDate", "19330304"), "TWO_PATIENTS"),
        (with_tag("BurnedInAnnotation", "YES"), "BURNED_IN"),
        (with_tag("SOPClassUID", EnhancedCTImageStorage), "UNFIT_OBJECT"),
        (with_tag("SeriesInstanceUID", "2.25.77"), "UNFIT_OBJECT"),
        (with_tag("FrameOfReferenceUID", "2.25.77"), "UNFIT_OBJECT"),
        (with_tag("SOPInstanceUID", PATIENT.uid(9, 0)), "UNFIT_OBJECT"),
        (with_tag("ImagePositionPatient", None), "UNFIT_OBJECT"),
        (with_tag("SamplesPerPixel", 3), "UNFIT_OBJECT"),
        (with_tag("HighBit", 14), "UNFIT_OBJECT"),
        (with_tag("RescaleType", "ED"), "UNFIT_OBJECT"),
        (with_tag("ModalityLUTSequence", [Dataset()]), "UNFIT_OBJECT"),
        (with_tag("PixelData", b"12"), "UNREADABLE"),
    ],
)
def test_a_slice_that_does_not_fit(
    store: StudyStore, tmp_path: Path, change: Callable[[Dataset], None], refusal: str
) -> None:
    ct = PATIENT.ct()
    change(ct[1])
    assert code(store, saved(ct, [PATIENT.spect()], None, HYBRID, tmp_path / "files")) == refusal


def test_who_has_no_id_does_not_come_in(store: StudyStore, tmp_path: Path) -> None:
    assert code(store, hybrid(replace(PATIENT, patient_id=""), tmp_path / "files")) == "NO_PATIENT_ID"


def test_a_file_that_is_no_dicom(store: StudyStore, tmp_path: Path) -> None:
    files = hybrid(PATIENT, tmp_path / "files")
    files.ct[0].write_bytes(b"ZZCANARY" * 100)
    assert code(store, files) == "UNREADABLE"


def test_a_spect_is_one_object(store: StudyStore, tmp_path: Path) -> None:
    second = PATIENT.spect()
    second.SOPInstanceUID = PATIENT.uid(66)
    second.ImagePositionPatient, second.ImageOrientationPatient = [0, 0, 1], [1, 0, 0, 0, 1, 0]
    first = PATIENT.spect()
    first.ImagePositionPatient, first.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    assert code(store, saved(PATIENT.ct(), [first, second], None, HYBRID, tmp_path / "files")) == "UNFIT_OBJECT"


def test_links_that_lead_nowhere(store: StudyStore, tmp_path: Path) -> None:
    moved = StoredLink("registration-object", tuple(float(value) for value in MOVED.ravel()))
    ct, spect, apart = PATIENT.ct(), PATIENT.spect(), PATIENT.spect(frame=PATIENT.uid(4))
    foreign = PATIENT.registration()
    foreign.RegistrationSequence[1].FrameOfReferenceUID = "2.25.9"
    del foreign.RegistrationSequence[1].ReferencedImageSequence
    cases = [
        (apart, None, HYBRID),
        (spect, None, moved),
        (spect, PATIENT.registration(), HYBRID),
        (apart, foreign, moved),
    ]
    for number, (nuclear, registration, link) in enumerate(cases):
        files = saved(ct, [nuclear], registration, link, tmp_path / f"files{number}")
        assert code(store, files) == "BROKEN_LINK"


def test_a_registration_may_name_images_without_their_frame(store: StudyStore, tmp_path: Path) -> None:
    registration = PATIENT.registration()
    del registration.RegistrationSequence[1].FrameOfReferenceUID
    files = registered(PATIENT, tmp_path / "files")
    registration.save_as(files.registration, enforce_file_format=True)
    store.take(files, by="Ann")
    assert store.verify() == ()


def test_warnings_are_told(store: StudyStore, tmp_path: Path) -> None:
    assert store.take(hybrid(PATIENT, tmp_path / "plain"), by="Ann").warnings == ("BURNED_IN_UNKNOWN",)
    other = HospitalPatient(2, "ID-2", "Other^Person", "19501112")
    ct, spect = other.ct(), other.spect()
    for dataset in (*ct, spect):
        dataset.BurnedInAnnotation = "NO"
    spect.ImageType = ["DERIVED", "SECONDARY", "RECON TOMO", "EMISSION"]
    ct[1].RecognizableVisualFeatures = "YES"
    pair = store.take(saved(ct, [spect], None, HYBRID, tmp_path / "odd"), by="Ann")
    assert pair.warnings == ("FACE_IN_IMAGE", "SECONDARY_IMAGE")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"nuclear_to_ct": IDENTITY[:15]}, "16 finite numbers"),
        ({"nuclear_to_ct": (float("nan"), *IDENTITY[1:])}, "16 finite numbers"),
        ({"nuclear_to_ct": (1.1, *IDENTITY[1:])}, "a rotation and a shift"),
        ({"nuclear_to_ct": (-1.0, *IDENTITY[1:])}, "a rotation and a shift"),
        ({"problems": ("Mr Smith moved",)}, "codes"),
        ({"quality": {"Mr Smith": 1.0}}, "small letters"),
        ({"quality": {"overlap": float("inf")}}, "finite"),
    ],
)
def test_a_link_is_a_movement_and_codes(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(HYBRID, **change)  # type: ignore[arg-type]
