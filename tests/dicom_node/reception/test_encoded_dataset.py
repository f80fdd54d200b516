"""The strict walk: every complete image passes with the identity pydicom reads, nothing incomplete does."""

import os
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.errors import InvalidInstance
from dicom_node.reception.encoded_dataset import MAXIMUM_NESTING, read_header
from tests.small_ct import SERIES, dataset_bytes, encoded, small_ct

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
REAL = Path(os.environ.get("PERFUSION_TEST_DATA", "../shared/data"))


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
def test_a_dataset_cut_at_any_byte_is_refused(syntax: UID) -> None:
    whole = encoded(small_ct(), syntax)
    assert read_header(whole, syntax).series_instance_uid == SERIES
    for cut in range(len(whole)):
        with pytest.raises(InvalidInstance):
            read_header(whole[:cut], syntax)


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


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("uid", ["", "../../../../etc/x", "/etc/passwd", "1.2 3", "1.2\n3", "1" * 65, "1.2\\1.3", "u"])
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
    for path in sorted(folder.rglob("*.dcm")) + sorted((REAL / "ct").rglob("*.dcm"))[:3]:
        dataset = pydicom.dcmread(path, defer_size=1024)
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_deflated or "PixelData" not in dataset:
            continue
        header = read_header(dataset_bytes(path), syntax)
        assert (header.sop_instance_uid, header.modality) == (dataset.SOPInstanceUID, dataset.Modality)
        read += 1
    assert read > 15


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
