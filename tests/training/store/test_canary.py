"""A patient planted wherever DICOM lets one write is in no byte of the store; what a study needs is there all the same.

Texts, dates and numbers go into every attribute of the data dictionary that is not kept, on the object, in an item of a
sequence that is kept, in one that is not, and into private attributes, overlays, curves, file meta information, the
preamble, comments of compressed streams, bytes behind the pixels and bits above them.
"""

import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.config import IGNORE, disable_value_validation
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless, NuclearMedicineImageStorage, SpatialRegistrationStorage

from inference.ct.series import read_ct_files
from inference.geometry import Grid
from tests.conformance.validators import dciodvfy
from tests.training.pairs.hospital_files import pet
from tests.training.store.hospital import IDENTITY, MOVED, ROOT, HospitalPatient, hybrid, registered, saved
from training.nuclear_image import read_nuclear_image
from training.pairs.perfusion_image import read_perfusion
from training.pairs.registration_object import read_registration
from training.store.deidentification import deidentified
from training.store.kept_attributes import KEPT, WHERE_ABSENT, Rule
from training.store.pseudonyms import Pseudonyms
from training.store.stored_pair import StoredLink
from training.store.study_store import StudyStore

PATIENT = HospitalPatient()
NUMBER = 19330303
WORDS = (
    b"zzcanary",
    b"zz-street",
    b"zz_canary",
    b"19330303",
    b"1933-03-03",
    b"081533",
    b"20210317",
    "zzcanary".encode("utf-16-le"),
    ROOT.encode(),
    struct.pack("<I", NUMBER).lower(),
    struct.pack("<d", NUMBER).lower(),
    struct.pack("<f", NUMBER).lower(),
)
"""In small letters. What a name, address, date, time, number or UID of the patient looks like in a file."""
TEXTS = {
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC", "PN"), "ZZCANARY 1 ZZ-Street"),
    **dict.fromkeys(("AE", "CS"), "ZZ_CANARY"),
    **{"DA": "19330303", "TM": "081533", "DT": "19330303081533", "AS": "088Y", "UR": "http://zzcanary.org"},
    **{"IS": str(NUMBER), "DS": str(NUMBER), "UI": f"{ROOT}.1.99"},
    **dict.fromkeys(("UL", "SL", "UV", "SV"), NUMBER),
    **dict.fromkeys(("FD", "FL"), float(NUMBER)),
    **dict.fromkeys(("OB", "UN", "OW", "OD", "OF", "OL", "OV"), b"ZZCANARYZZCANARY"),
}


@cache
def canaries(*, spare: frozenset[str] = frozenset(KEPT)) -> Dataset:
    """Every attribute of the dictionary but those spared, groups of the file's own structure and pixel data."""
    dataset = Dataset()
    for tag, (vr, *_, keyword) in DicomDictionary.items():
        is_structure = tag >> 16 in (0x0000, 0x0002, 0x0004, 0xFFFC, 0xFFFE, 0x7FE0) or tag & 0xFFFF == 0
        if not is_structure and keyword not in ("", "SpecificCharacterSet") and keyword not in spare and vr in TEXTS:
            dataset.add(DataElement(tag, vr, TEXTS[vr], validation_mode=IGNORE))
    return dataset


def planted(dataset: FileDataset) -> FileDataset:
    """The object with canaries all over it; its own values of kept attributes are as they were."""
    loose = Dataset()
    loose.update(canaries())
    identity = {word: dataset[word] for word in ("PatientID", "PatientName", "PatientBirthDate") if word in dataset}
    dataset.update(loose)
    for word, element in identity.items():
        dataset[word] = element
    inner = Dataset()
    inner.update(canaries())
    inner.ReferencedSOPInstanceUID, inner.ReferencedSOPClassUID = PATIENT.uid(9, 1), "1.2.840.10008.5.1.4.1.1.2"
    inner.SourceImageSequence = Sequence([canaries()])
    dataset.SourceImageSequence = Sequence([inner])
    dataset.ReferencedPatientSequence = Sequence([canaries(spare=frozenset())])
    block = dataset.private_block(0x0009, "ZZCANARY CREATOR", create=True)
    block.add_new(0x01, "LO", "ZZCANARY private")
    block.add_new(0x02, "SQ", Sequence([canaries()]))
    dataset.add_new(0x60000022, "LO", "ZZCANARY overlay")
    dataset.add_new(0x60003000, "OW", b"ZZCANARYZZCANARY")
    dataset.add_new(0x50002500, "LO", "ZZCANARY curve")
    dataset.preamble = b"ZZCANARY" * 16
    dataset.file_meta.SourceApplicationEntityTitle = "ZZ_CANARY"
    dataset.file_meta.PrivateInformationCreatorUID = ROOT
    dataset.file_meta.PrivateInformation = b"ZZCANARY"
    return dataset


def store_bytes(folder: Path) -> bytes:
    """All names and bytes of the store, in small letters."""
    return b"\n".join(
        str(path.relative_to(folder)).encode() + b"\n" + (path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    ).lower()


def found(content: bytes) -> list[bytes]:
    return [word for word in WORDS if word in content]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> StudyStore:
    """A store with the planted patient; shows first that the canaries are in the hospital's files."""
    folder = tmp_path_factory.mktemp("canary")
    ct, spect, registration = PATIENT.ct(), PATIENT.spect(frame=PATIENT.uid(4)), PATIENT.registration()
    ct[1].compress(JPEGLSLossless, generate_instance_uid=False)
    frame = next(generate_frames(ct[1].PixelData, number_of_frames=1))
    comment = b"\xff\xfe" + struct.pack(">H", 10) + b"ZZCANARY"
    ct[1].PixelData = encapsulate([frame[:2] + comment + frame[2:]])
    ct[2].PixelData += b"ZZCANARY"
    link = StoredLink("registration-object", tuple(float(value) for value in MOVED.ravel()))
    with disable_value_validation():
        objects = [planted(ct[0]), *ct[1:], planted(spect), planted(registration)]
        files = saved(objects[:-2], [objects[-2]], objects[-1], link, folder / "ZZCANARY hospital")
    here = b"".join(path.read_bytes() for path in (*files.ct, *files.nuclear)).lower()
    assert set(found(here)) == set(WORDS) - {b"1933-03-03", "zzcanary".encode("utf-16-le")}
    store = StudyStore.create(folder / "store")
    pair = store.take(files, by="Ann")
    store.record("accepted", pair.name, by="Eve", words={"quality": "GOOD"})
    return store


def test_no_byte_names_the_patient(filled: StudyStore) -> None:
    assert found(store_bytes(filled.folder)) == []


def test_what_a_study_needs_is_all_there(filled: StudyStore) -> None:
    (pair,) = filled.pairs()
    assert filled.verify() == ()
    headers = [dcmread(path) for path in pair.ct]
    original = PATIENT.ct()
    for stored, source in zip(headers, original, strict=True):
        assert np.array_equal(stored.pixel_array, source.pixel_array)
        assert stored.ImagePositionPatient == source.ImagePositionPatient
        assert stored.ConvolutionKernel == "Br38f"
    assert [stored.Manufacturer for stored in headers] == ["", "SIEMENS", "SIEMENS"]  # a canary stood in the first
    spect = read_nuclear_image(dcmread(pair.nuclear[0]))
    assert spect.grid.affine == pytest.approx(read_nuclear_image(PATIENT.spect()).grid.affine)
    assert np.array_equal(spect.values, read_nuclear_image(PATIENT.spect()).values)
    assert dcmread(pair.nuclear[0]).SpacingBetweenSlices < 0
    assert dcmread(pair.nuclear[0]).RadiopharmaceuticalInformationSequence[0].Radiopharmaceutical == "Tc-99m MAA"


def test_nothing_is_left_that_is_not_on_the_list(filled: StudyStore) -> None:
    ours = {
        "PatientName", "PatientID", "InstanceNumber", "PatientIdentityRemoved", "DeidentificationMethod",
        "Manufacturer",
        "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified", "PixelData", "CodeValue",
        "CodingSchemeDesignator", "CodeMeaning", "Radiopharmaceutical",
        *WHERE_ABSENT[SpatialRegistrationStorage],
    }  # fmt: skip
    empty = set()
    (pair,) = filled.pairs()
    for path in filled.folder.rglob("*.dcm"):
        for element in dcmread(path).iterall():
            assert element.keyword in KEPT.keys() | ours or element.is_empty, element
            empty |= {element.keyword} if element.is_empty else set()
    assert empty == {
        "Manufacturer", "AcquisitionNumber",
        "AccessionNumber", "PatientBirthDate", "PatientSex", "PositionReferenceIndicator", "ReferringPhysicianName",
        "SeriesNumber", "StudyID", "StudyTime", "ContentDescription",
    }  # fmt: skip
    assert dcmread(pair.ct[0]).PatientID == pair.patient


@pytest.mark.parametrize("vr", ["LO", "UT", "PN", "UN", "SQ", "DS", "FD"])
def test_a_kept_attribute_is_no_hiding_place(vr: str, tmp_path: Path) -> None:
    values: dict[str, Any] = {**TEXTS, "DS": "ZZCANARY", "FD": 0.5, "SQ": Sequence([canaries()])}
    source = PATIENT.ct()[0]
    needed = ("SOPClassUID", "SOPInstanceUID")
    with disable_value_validation():
        for keyword in KEPT:
            if keyword not in needed and not (vr == "UN" and dictionary_VR(keyword) == "SQ"):
                value = values[vr]
                source[keyword] = DataElement(tag_for_keyword(keyword), vr, value, already_converted=True)  # type: ignore[arg-type]
        source.Manufacturer = "ZZCANARY 1"
    Pseudonyms.make_key(tmp_path / "key")
    pseudonyms = Pseudonyms.from_file(tmp_path / "key", store=tmp_path / "store")
    stored = deidentified(source, None, "P1", pseudonyms, number=1)
    stored.save_as(tmp_path / "stored.dcm", enforce_file_format=True)
    assert found((tmp_path / "stored.dcm").read_bytes().lower()) == []


def test_bits_above_those_stored_are_gone_and_padding_stays(tmp_path: Path) -> None:
    ct = PATIENT.ct()
    for dataset in ct:
        values = (dataset.pixel_array.astype(np.int32) + 0).clip(0, 4095).astype(np.uint16)
        values[0, 0] = 63536  # padding of a scanner that writes 12 bits
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        dataset.PixelPaddingValue = 63536
        dataset["PixelPaddingValue"].VR = "US"
        plain = values.copy()
        values[3] |= 0xA000
        dataset.PixelData = values.tobytes()
        dataset.planned = plain
    store = StudyStore.create(tmp_path / "store")
    pair = store.take(
        saved(ct, [PATIENT.spect()], None, StoredLink("frame-of-reference", IDENTITY), tmp_path), by="Ann"
    )
    for path, source in zip(pair.ct, ct, strict=True):
        assert dcmread(path).PixelData == source.planned.tobytes()


def test_links_resolve_inside_the_store_and_lead_nowhere_outside(tmp_path: Path) -> None:
    store = StudyStore.create(tmp_path / "store")
    pair = store.take(registered(PATIENT, tmp_path / "hospital"), by="Ann")
    assert pair.registration is not None
    registration, spect = dcmread(pair.registration), dcmread(pair.nuclear[0])
    ct = [dcmread(path) for path in pair.ct]
    fixed, moving = registration.RegistrationSequence
    assert fixed.FrameOfReferenceUID == ct[0].FrameOfReferenceUID == registration.FrameOfReferenceUID
    assert moving.FrameOfReferenceUID == spect.FrameOfReferenceUID != fixed.FrameOfReferenceUID
    assert [r.ReferencedSOPInstanceUID for r in fixed.ReferencedImageSequence] == [d.SOPInstanceUID for d in ct]
    assert moving.ReferencedImageSequence[0].ReferencedSOPInstanceUID == spect.SOPInstanceUID
    assert moving.ReferencedImageSequence[0].ReferencedSOPClassUID == spect.SOPClassUID
    series = registration.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == ct[0].SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == ct[0].SOPInstanceUID
    assert len({d.StudyInstanceUID for d in (registration, spect, *ct)}) == 1
    matrix = moving.MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrix
    assert [float(value) for value in matrix] == [float(value) for value in MOVED.ravel()]
    for path in (*pair.ct, *pair.nuclear, pair.registration):
        dataset = dcmread(path)
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


def test_a_registration_moves_as_it_did(tmp_path: Path) -> None:
    """Read by the program that reads the hospital's."""
    files = registered(PATIENT, tmp_path / "hospital")
    pair = StudyStore.create(tmp_path / "store").take(files, by="Ann")
    for named, registration, nuclear in (
        (files.ct[0], files.registration, files.nuclear[0]),
        (pair.ct[0], pair.registration, pair.nuclear[0]),
    ):
        ct, spect, link = (dcmread(path) for path in (named, nuclear, registration))
        moved = read_registration(link, {}).link(spect.FrameOfReferenceUID, ct.FrameOfReferenceUID)
        assert moved is not None
        assert moved.matrix == pytest.approx(MOVED)


def pet_of_patient() -> list[FileDataset]:
    grid = Grid.axial((5, 9, 11), (4.0, 4.4, 4.2), (-20.0, -20.0, 25.0), frame_of_reference_uid=PATIENT.uid(3))
    slices = pet(np.random.default_rng(3).random((5, 9, 11)), grid)
    for each in slices:
        each.PatientID, each.PatientName, each.PatientBirthDate = PATIENT.patient_id, PATIENT.name, PATIENT.birth_date
    return slices


def test_a_pet_is_read_from_the_store_as_from_the_hospital_and_names_nobody(tmp_path: Path) -> None:
    store = StudyStore.create(tmp_path / "store")
    with disable_value_validation():
        slices = [planted(each) for each in pet_of_patient()]
        link = StoredLink("frame-of-reference", IDENTITY)
        files = saved(PATIENT.ct(), slices, None, link, tmp_path / "hospital")
    pair = store.take(files, by="Ann")
    source, stored = read_perfusion(files.nuclear), read_perfusion(pair.nuclear)
    assert np.array_equal(stored.values, source.values)
    assert np.array_equal(stored.grid.affine, source.grid.affine)
    content = store_bytes(store.folder)
    assert found(content) == []
    assert b"2.25.91." not in content


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Tc99m-MAA ZZCANARY", "Tc-99m MAA"),
        ("Macroaggregated albumin, Tc99m", "Tc-99m MAA"),
        ("[68Ga]Ga MAA", "Ga-68 MAA"),
        ("MAA of ZZCANARY", "MAA"),
        ("Technegas", None),
    ],
)
def test_a_tracer_of_perfusion_is_kept_by_its_nuclide(written: str, kept: str | None, tmp_path: Path) -> None:
    source = PATIENT.spect()
    source.RadiopharmaceuticalInformationSequence[0].Radiopharmaceutical = written
    Pseudonyms.make_key(tmp_path / "key")
    pseudonyms = Pseudonyms.from_file(tmp_path / "key", store=tmp_path / "store")
    stored = deidentified(source, None, "P1", pseudonyms, number=1)
    assert stored.RadiopharmaceuticalInformationSequence[0].get("Radiopharmaceutical") == kept


def test_dates_move_by_one_number_of_days_for_a_patient(tmp_path: Path) -> None:
    later = PATIENT.spect()
    later.SeriesDate = "20210320"
    ct = PATIENT.ct()
    ct[0].AcquisitionDate, ct[1].AcquisitionDate, ct[2].AcquisitionDate = "20210100", "", "20210317"
    store = StudyStore.create(tmp_path / "store")
    pair = store.take(saved(ct, [later], None, StoredLink("frame-of-reference", IDENTITY), tmp_path), by="Ann")
    stored, spect = [dcmread(path) for path in pair.ct], dcmread(pair.nuclear[0])
    days = np.datetime64(_iso(spect.SeriesDate)) - np.datetime64(_iso(stored[0].SeriesDate))
    assert days == np.timedelta64(3, "D")
    assert stored[0].StudyDate < "20210317"
    assert ["AcquisitionDate" in dataset for dataset in stored] == [False, False, True]
    assert stored[0].StudyTime == ""


def _iso(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"


def test_the_ct_of_the_store_is_read_as_the_hospitals_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.training.store.hospital.SLICES", 16)
    files = hybrid(PATIENT, tmp_path / "hospital")
    pair = StudyStore.create(tmp_path / "store").take(files, by="Ann")
    source, stored = read_ct_files(files.ct), read_ct_files(pair.ct)
    assert np.array_equal(source.hu, stored.hu)
    assert np.array_equal(source.grid.affine, stored.grid.affine)
    assert [dcmread(path).InstanceNumber for path in pair.ct] == list(range(1, 17))


def test_a_validator_finds_no_error(filled: StudyStore, tmp_path: Path) -> None:
    (pair,) = filled.pairs()
    assert [dciodvfy(path) for path in (pair.ct[1], pair.nuclear[0])] == [[], []]
    pair = StudyStore.create(tmp_path / "store").take(registered(PATIENT, tmp_path / "hospital"), by="Ann")
    assert pair.registration is not None
    assert dciodvfy(pair.registration) == []


MAY_BE_EMPTY = ("RadiopharmaceuticalInformationSequence", "ActualFrameDuration", "CollimatorType", "AcquisitionDate")
"""Of a PET (type 2)."""


def valid(slices: list[FileDataset]) -> list[FileDataset]:
    """A PET with all that its IOD asks for (PS3.3 table A.21.3-1)."""
    for number, each in enumerate(slices, 1):
        each.StudyID = each.AccessionNumber = each.ReferringPhysicianName = each.PositionReferenceIndicator = ""
        each.SeriesNumber, each.InstanceNumber, each.ImageIndex, each.NumberOfSlices = 3, number, number, len(slices)
        each.SeriesDate = each.AcquisitionDate = each.StudyDate
        each.StudyTime = each.SeriesTime = each.AcquisitionTime = "081533"
        each.Manufacturer, each.BodyPartExamined, each.ActualFrameDuration = "SIEMENS", "CHEST", 180000
        each.CountsSource, each.CollimatorType, each.FrameReferenceTime = "EMISSION", "NONE", 90000.5
        each.DecayCorrection, each.DecayFactor = "START", 1.02
        each.PatientOrientationCodeSequence = each.PatientGantryRelationshipCodeSequence = Sequence()
        drug = Dataset()
        drug.Radiopharmaceutical, drug.RadionuclideCodeSequence = "Ga-68 MAA", Sequence()
        each.RadiopharmaceuticalInformationSequence = Sequence([drug])
    return slices


@pytest.mark.parametrize("empty", [(), MAY_BE_EMPTY])
def test_a_pet_that_is_valid_is_valid_in_the_store(empty: tuple[str, ...], tmp_path: Path) -> None:
    slices = valid(pet_of_patient())
    for each in slices:
        for keyword in empty:
            setattr(each, keyword, None)
    link = StoredLink("frame-of-reference", IDENTITY)
    files = saved(PATIENT.ct(), slices, None, link, tmp_path / "hospital")
    pair = StudyStore.create(tmp_path / "store").take(files, by="Ann")
    assert [dciodvfy(path) for path in (*files.nuclear, *pair.nuclear)] == [[]] * 2 * len(slices)
    stored = [dcmread(path) for path in pair.nuclear]
    assert [each.ImageIndex for each in stored] == [1, 2, 3, 4, 5]
    assert {(each.SeriesTime, each.get("AcquisitionTime") or "") for each in stored} == {("000000", "")}


def test_a_spect_whose_header_says_little_is_valid_in_the_store(tmp_path: Path) -> None:
    spect = PATIENT.spect()
    spect.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = None
    for keyword in WHERE_ABSENT[NuclearMedicineImageStorage]:
        setattr(spect, keyword, None)
    files = saved(PATIENT.ct(), [spect], None, StoredLink("frame-of-reference", IDENTITY), tmp_path / "hospital")
    pair = StudyStore.create(tmp_path / "store").take(files, by="Ann")
    assert [dciodvfy(path) for path in (*files.nuclear, *pair.nuclear)] == [[], []]


def test_only_attributes_on_the_list_keep_numbers() -> None:
    """Texts are held against words, numbers are made anew: whoever lists a text as a number breaks this."""
    vrs = {keyword: DicomDictionary[tag_for_keyword(keyword)][0] for keyword in KEPT}  # type: ignore[index]
    numbers = {vrs[keyword] for keyword, rule in KEPT.items() if rule is Rule.NUMBER}
    assert numbers <= {"DS", "IS", "US", "UL", "AT", "US or SS"}
    assert {vrs[keyword] for keyword in KEPT} <= {"UI", "DA", "SQ", "CS", "SH", "LO", *numbers}


def test_the_reference_says_how_many_attributes_are_kept() -> None:
    page = Path(__file__).parents[3] / "docs" / "retraining-reference.md"
    assert f"what is **kept**: {len(KEPT)} attributes" in " ".join(page.read_text().split())
