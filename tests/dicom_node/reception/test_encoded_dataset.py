"""The strict walk: every complete image passes with the identity pydicom reads, nothing incomplete does."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    RTStructureSetStorage,
)

from dicom_node.errors import InvalidInstance
from dicom_node.reception.encoded_dataset import MAXIMUM_NESTING, read_header
from dicom_node.reception.spool import Spool
from tests.small_ct import SERIES, dataset_bytes, encoded, received, small_ct
from tests.training.pairs.hospital_files import registration, turned

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
REAL = Path(os.environ.get("PERFUSION_TEST_DATA", "../shared/data"))


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
def test_a_dataset_cut_at_any_byte_is_refused(syntax: UID) -> None:
    whole = encoded(small_ct(), syntax)
    assert read_header(whole, syntax).series_instance_uid == SERIES
    for cut in range(len(whole)):
        with pytest.raises(InvalidInstance):
            read_header(whole[:cut], syntax)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless], ids=str)
def test_a_file_cut_at_any_byte_is_never_kept(tmp_path: Path, syntax: UID) -> None:
    spool = Spool(tmp_path, minimum_free_mb=1)
    dataset = small_ct() if syntax in NATIVE else compressed([b"\1\2\3\4", b"\5\6"])
    whole = received(dataset, syntax=syntax)
    for cut in range(len(whole.encoded_dataset)):
        with pytest.raises(InvalidInstance):
            spool.keep(replace(whole, encoded_dataset=whole.encoded_dataset[:cut]))
    assert list(spool.incoming.rglob("*")) == []
    assert spool.keep(whole).is_new


@pytest.mark.parametrize("syntax", [*NATIVE, JPEGLSLossless], ids=str)
def test_the_only_cut_that_is_not_found_is_between_the_pixels_and_what_follows_them(syntax: UID) -> None:
    dataset = small_ct() if syntax in NATIVE else compressed([b"\1\2\3\4"])
    without = len(encoded(dataset, syntax))
    dataset.add_new((0xFFFC, 0xFFFC), "OB", b"\0\0")
    whole = encoded(dataset, syntax)
    found = [cut for cut in range(len(whole)) if _is_accepted(whole[:cut], syntax)]
    assert found == [without]


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_and_never_crash(noise: bytes) -> None:
    for syntax in NATIVE:
        with pytest.raises(InvalidInstance):
            read_header(noise, syntax)


@given(st.integers(0, 10_000), st.integers(0, 255), st.sampled_from(NATIVE))
def test_a_changed_byte_is_accepted_only_as_what_pydicom_reads(position: int, value: int, syntax: UID) -> None:
    whole = bytearray(encoded(small_ct(), syntax))
    whole[position % len(whole)] = value
    try:
        header = read_header(bytes(whole), syntax)
    except InvalidInstance:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = _parsed(bytes(whole), syntax)
        assert dataset.SOPInstanceUID == header.sop_instance_uid
        assert dataset.SeriesInstanceUID == header.series_instance_uid
        assert len(dataset.PixelData) == dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8


@pytest.mark.parametrize("levels", [MAXIMUM_NESTING + 1, 400])
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
def test_deep_nesting_is_refused_without_deep_recursion(levels: int, syntax: UID) -> None:
    assert read_header(encoded(_nested(MAXIMUM_NESTING), syntax), syntax)
    deepest = encoded(_nested(MAXIMUM_NESTING), syntax)
    assert len(deepest) > len(encoded(small_ct(), syntax))
    with pytest.raises(InvalidInstance, match="nested"):
        read_header(_nested_bytes(levels, syntax) + encoded(small_ct(), syntax), syntax)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PixelData", b"\1\0" * 15),
        ("PixelData", b"\1\0" * 17),
        ("PixelData", b""),
        ("Rows", 5),
        ("BitsAllocated", 8),
        ("SamplesPerPixel", 3),
        ("NumberOfFrames", "2"),
        ("SeriesInstanceUID", ""),
    ],
)
def test_pixel_data_must_be_as_long_as_the_image_says(keyword: str, value: object) -> None:
    dataset = small_ct()
    setattr(dataset, keyword, value)
    with pytest.raises(InvalidInstance):
        read_header(encoded(dataset), ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("frames", "fragments", "accepted"),
    [(1, 1, True), (1, 3, True), (3, 3, True), (3, 4, True), (3, 2, False), (1, 0, False)],
)
def test_compressed_frames_have_a_fragment_each_at_least(frames: int, fragments: int, accepted: bool) -> None:
    dataset = compressed([b"\1\2"] * fragments)
    dataset.NumberOfFrames = frames
    assert _is_accepted(encoded(dataset, RLELossless), RLELossless) is accepted


def test_empty_fragments_are_no_image() -> None:
    dataset = compressed([])
    dataset.PixelData *= 3  # an empty offset table and two empty fragments
    assert not _is_accepted(encoded(dataset, RLELossless), RLELossless)


def test_a_compressed_icon_is_passed_over() -> None:
    dataset = compressed([b"\1\2"])
    icon = compressed([b"\3\4", b"\5\6"])
    dataset.IconImageSequence = Sequence([Dataset()])
    dataset.IconImageSequence[0].add(icon["PixelData"])
    dataset.NumberOfFrames = 2  # so the fragments of the icon must not be counted
    assert not _is_accepted(encoded(dataset, RLELossless), RLELossless)
    dataset.NumberOfFrames = 1
    assert _is_accepted(encoded(dataset, RLELossless), RLELossless)


def test_a_large_multi_frame_image_must_have_all_its_frames(tmp_path: Path) -> None:
    dataset = small_ct(side=512)
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames = 100
    dataset.PixelData = bytes(100 * 512 * 512 * 2)
    whole = received(dataset)
    for part in (whole.encoded_dataset[:-1], whole.encoded_dataset[: -512 * 512 * 2]):
        with pytest.raises(InvalidInstance):
            read_header(part, ExplicitVRLittleEndian)
    dataset.NumberOfFrames = 101
    with pytest.raises(InvalidInstance, match="expected"):
        read_header(encoded(dataset), ExplicitVRLittleEndian)
    instance = Spool(tmp_path, minimum_free_mb=1).keep(whole)
    assert dataset_bytes(instance.path) == whole.encoded_dataset


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
def test_a_structure_set_needs_no_pixels_and_is_found_to_be_cut(syntax: UID) -> None:
    dataset = structure_set()
    whole = encoded(dataset, syntax)
    header = read_header(whole, syntax)
    assert (header.sop_class_uid, header.modality) == (RTStructureSetStorage, "RTSTRUCT")
    found = [cut for cut in range(len(whole)) if _is_accepted(whole[:cut], syntax)]
    del dataset.ApprovalStatus
    assert found == [len(encoded(dataset, syntax))]
    for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
        incomplete = structure_set()
        delattr(incomplete, keyword)
        assert not _is_accepted(encoded(incomplete, syntax), syntax)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
def test_a_registration_object_needs_no_pixels_and_is_found_to_be_cut(syntax: UID) -> None:
    dataset = registration("2.25.6", [("2.25.5", turned((4, -3, 6), (25, -18, 30)))])
    whole = encoded(dataset, syntax)
    assert read_header(whole, syntax).modality == "REG"
    assert [cut for cut in range(len(whole)) if _is_accepted(whole[:cut], syntax)] == []
    del dataset.RegistrationSequence
    assert not _is_accepted(encoded(dataset, syntax), syntax)


def test_an_image_without_pixels_is_not_a_structure_set() -> None:
    dataset = structure_set()
    dataset.SOPClassUID = CTImageStorage
    with pytest.raises(InvalidInstance, match="no pixel data"):
        read_header(encoded(dataset), ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("raw", "patient_id"), [(b"CANARY-ID ", "CANARY-ID"), (b"M\xfcller\x7f", "Müller\x7f"), (b"", "")]
)
def test_the_patient_id_is_read_whatever_it_holds(raw: bytes, patient_id: str) -> None:
    whole = encoded(small_ct())
    element = b"\x10\0\x20\0LO"
    old = element + b"\x0a\0CANARY-ID "
    assert whole.count(old) == 1
    changed = whole.replace(old, element + len(raw).to_bytes(2, "little") + raw)
    assert read_header(changed, ExplicitVRLittleEndian).patient_id == patient_id


def test_a_view_of_the_bytes_is_as_good_as_the_bytes() -> None:
    whole = encoded(small_ct())
    assert read_header(memoryview(whole), ExplicitVRLittleEndian) == read_header(whole, ExplicitVRLittleEndian)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda syntax: syntax.name)
def test_a_sequence_of_unknown_vr_is_implicit_little_endian_inside(syntax: UID) -> None:
    order = "little" if syntax.is_little_endian else "big"
    tag = (0x0009).to_bytes(2, order) + (0x1001).to_bytes(2, order)
    inside = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x09\0\x02\x10\x02\0\0\0ab" + b"\xfe\xff\x0d\xe0" + bytes(4)
    unknown = tag + b"UN\0\0" + b"\xff" * 4 + inside + b"\xfe\xff\xdd\xe0" + bytes(4)
    assert _is_accepted(unknown + encoded(small_ct(), syntax), syntax)
    assert not _is_accepted(unknown[:-1] + encoded(small_ct(), syntax), syntax)


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("uid", ["", "../../../../etc/x", "/etc/x", "1.2 3", "1.2\n3", "1" * 65, "1.2\\1.3", "1..2"])
def test_a_uid_that_is_none_is_refused(keyword: str, uid: str) -> None:
    raw = encoded(small_ct())
    original = str(getattr(small_ct(), keyword)).encode()
    padded = original + b"\0" * (len(original) % 2)
    value = uid.encode() + b"\0" * (len(uid) % 2)
    tag = {"SOPClassUID": b"\x08\0\x16\0", "SOPInstanceUID": b"\x08\0\x18\0", "StudyInstanceUID": b"\x20\0\x0d\0"}
    start = tag.get(keyword, b"\x20\0\x0e\0") + b"UI"
    before, after = start + len(padded).to_bytes(2, "little") + padded, start + len(value).to_bytes(2, "little") + value
    assert raw.count(before) == 1
    with pytest.raises(InvalidInstance, match="UID"):
        read_header(raw.replace(before, after), ExplicitVRLittleEndian)


def test_an_identifying_element_that_occurs_twice_is_refused() -> None:
    raw = encoded(small_ct())
    twice = raw.replace(b"\x08\0\x18\0UI", b"\x08\0\x18\0UI\x04\x001.2\0\x08\0\x18\0UI", 1)
    with pytest.raises(InvalidInstance, match="twice"):
        read_header(twice, ExplicitVRLittleEndian)


def test_every_real_image_passes_with_the_identity_pydicom_reads() -> None:
    folder = REAL / "syntaxes"
    if not folder.is_dir():
        pytest.skip("real test data are absent (PERFUSION_TEST_DATA)")
    read = 0
    paths = sorted(folder.rglob("*.dcm")) + sorted((REAL / "ct").rglob("*.dcm"))[:3]
    for path in paths + sorted((REAL / "rt").rglob("*rt*.dcm")):
        dataset = pydicom.dcmread(path, defer_size=1024)
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_deflated or not {"PixelData", "ROIContourSequence"} & set(dataset.dir()):
            continue
        header = read_header(dataset_bytes(path), syntax)
        assert (header.sop_instance_uid, header.modality) == (dataset.SOPInstanceUID, dataset.Modality)
        assert header.patient_id == str(dataset.get("PatientID", ""))
        read += 1
    assert read > 18


def compressed(frames: list[bytes]) -> Dataset:
    """An instance whose pixels are fragments; what is in them does not matter here."""
    dataset = small_ct()
    dataset.PixelData = encapsulate(frames, has_bot=False) if frames else b"\xfe\xff\x00\xe0" + bytes(4)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def structure_set() -> Dataset:
    dataset = small_ct()
    del dataset.PixelData
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.Modality = "RTSTRUCT"
    dataset.StructureSetLabel = "GTV"
    dataset.StructureSetROISequence = Sequence([Dataset()])
    dataset.StructureSetROISequence[0].ROINumber = 1
    dataset.ROIContourSequence = Sequence([Dataset()])
    dataset.ROIContourSequence[0].ReferencedROINumber = 1
    dataset.RTROIObservationsSequence = Sequence([])
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _is_accepted(raw: bytes, syntax: UID) -> bool:
    try:
        read_header(raw, syntax)
    except InvalidInstance:
        return False
    return True


def _parsed(raw: bytes, syntax: UID) -> Dataset:
    buffer = pydicom.filebase.DicomBytesIO(raw)
    return pydicom.filereader.read_dataset(buffer, syntax.is_implicit_VR, syntax.is_little_endian)


def _nested(levels: int) -> Dataset:
    dataset = small_ct()
    inner = dataset
    for _ in range(levels):
        inner.ReferencedImageSequence = Sequence([Dataset()])
        inner = inner.ReferencedImageSequence[0]
    return dataset


def _nested_bytes(levels: int, syntax: UID) -> bytes:
    """Opening halves of sequences of undefined length, never closed: what a bomb looks like."""
    order = "little" if syntax.is_little_endian else "big"
    words = [(8).to_bytes(2, order), (0x1140).to_bytes(2, order)]
    header = b"".join(words) + (b"" if syntax.is_implicit_VR else b"SQ\0\0") + b"\xff" * 4
    item = (0xFFFE).to_bytes(2, order) + (0xE000).to_bytes(2, order) + b"\xff" * 4
    return (header + item) * levels
