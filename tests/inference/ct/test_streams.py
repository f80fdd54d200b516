"""Streams are believed only as far as their headers: bombs, foreign kinds and hidden loss are refused undecoded."""

import struct
import time
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from inference import errors
from inference.ct.decoders import FRAMES, _sample
from inference.ct.pixels import slice_hu
from inference.ct.streams import MOST_TILES, BrokenStream, StreamHeader, stream_header

JPEGS = (JPEGLossless, JPEGLosslessSV1, JPEGLSLossless)
WAVELETS = (JPEG2000Lossless, HTJ2KLossless)


def frame(syntax: UID) -> bytes:
    return bytes.fromhex(FRAMES[syntax])


def with_frame(syntax: UID, content: bytes) -> Dataset:
    dataset = _sample(syntax)
    dataset.PixelData = encapsulate([content])
    return dataset


def start_of_frame(content: bytes, syntax: UID) -> int:
    marker = b"\xff\xf7" if syntax == JPEGLSLossless else b"\xff\xc3"
    return content.index(marker)


def declaring(syntax: UID, rows: int, columns: int) -> bytes:
    """The stream of 12 x 10 pixels with another size in its header."""
    content = bytearray(frame(syntax))
    if syntax in WAVELETS:
        struct.pack_into(">II", content, 8, columns, rows)
        struct.pack_into(">II", content, 24, columns, rows)  # one tile
    else:
        struct.pack_into(">HH", content, start_of_frame(frame(syntax), syntax) + 5, rows, columns)
    return bytes(content)


@pytest.mark.parametrize("syntax", FRAMES)
def test_each_sample_declares_what_it_holds(syntax: UID) -> None:
    if syntax in (*JPEGS, *WAVELETS, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K):
        assert stream_header(frame(syntax), syntax) == StreamHeader(12, 10, 1, True)


@pytest.mark.parametrize("syntax", [*JPEGS, *WAVELETS])
@pytest.mark.parametrize("size", [(30_000, 30_000), (13, 10), (12, 11), (1, 1)])
def test_a_stream_that_declares_another_size_is_refused_before_it_is_decoded(
    syntax: UID, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.ct.pixels.pixel_array", lambda *args, **more: pytest.fail("it was decoded"))
    content = declaring(syntax, *size)
    assert len(content) < 1024
    with pytest.raises(errors.UnreadableInstance, match=rf"declares {size[0]} x {size[1]} pixels"):
        slice_hu(with_frame(syntax, content))


def test_a_kilobyte_that_says_the_same_in_header_and_stream_is_refused_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inference.ct.pixels.pixel_array", lambda *args, **more: pytest.fail("it was decoded"))
    dataset = with_frame(JPEG2000Lossless, declaring(JPEG2000Lossless, 30_000, 30_000))
    dataset.Rows = dataset.Columns = 30_000
    started = time.monotonic()
    with pytest.raises(errors.UnreadableInstance, match="30000 x 30000"):
        slice_hu(dataset)
    assert time.monotonic() - started < 1


def test_a_stream_of_many_tiles_is_refused() -> None:
    content = bytearray(frame(JPEG2000Lossless))
    struct.pack_into(">II", content, 8, 4096, 4096)
    struct.pack_into(">II", content, 24, 64, 64)
    with pytest.raises(BrokenStream, match="4096 tiles"):
        stream_header(bytes(content), JPEG2000Lossless)
    struct.pack_into(">II", content, 24, 128, 128)
    assert stream_header(bytes(content), JPEG2000Lossless).rows == 4096
    assert MOST_TILES == 1024


def test_a_stream_with_loss_under_a_lossless_syntax_is_refused() -> None:
    for syntax, lossy in (
        (JPEG2000Lossless, JPEG2000),
        (HTJ2KLossless, HTJ2K),
        (JPEGLSLossless, JPEGLSNearLossless),
        (JPEGLossless, JPEGExtended12Bit),
    ):
        dataset = with_frame(syntax, frame(lossy))
        for accept_lossy in (False, True):
            with pytest.raises(errors.LossyCompressed):
                slice_hu(dataset, accept_lossy=accept_lossy)


def test_a_stream_of_another_kind_is_refused() -> None:
    for syntax, other in (
        (JPEGLSLossless, JPEGLossless),
        (JPEGLossless, JPEGLSLossless),
        (JPEG2000Lossless, JPEGLossless),
    ):
        with pytest.raises(errors.UnreadableInstance):
            slice_hu(with_frame(syntax, frame(other)))


@pytest.mark.parametrize("syntax", [*JPEGS, *WAVELETS])
def test_no_cut_of_the_first_bytes_fails_in_another_way(syntax: UID) -> None:
    content = frame(syntax)
    for length in range(min(len(content), 120)):
        try:
            stream_header(content[:length], syntax)
        except BrokenStream:
            continue


@pytest.mark.parametrize("syntax", [*JPEGS, *WAVELETS])
def test_no_changed_byte_of_the_header_fails_in_another_way(syntax: UID) -> None:
    content = frame(syntax)
    for place in range(60):
        for value in (0, 1, 127, 255, content[place] ^ 0x40):
            changed = content[:place] + bytes([value]) + content[place + 1 :]
            try:
                header = stream_header(changed, syntax)
            except BrokenStream:
                continue
            assert header.samples >= 0


def test_two_starts_of_frame_are_refused() -> None:
    content = frame(JPEGLossless)
    start = start_of_frame(content, JPEGLossless)
    segment = content[start : start + 13]
    with pytest.raises(BrokenStream, match="two starts"):
        stream_header(content[:start] + segment + content[start:], JPEGLossless)


@pytest.mark.parametrize("name", ["CT1_J2KR", "CT2_J2KR"])
def test_real_streams_declare_what_their_headers_say(test_data: Path, name: str) -> None:
    dataset = dcmread(test_data / "syntaxes" / name)
    syntax = dataset.file_meta.TransferSyntaxUID
    header = stream_header(get_frame(dataset.PixelData, 0, number_of_frames=1), syntax)
    assert header == StreamHeader(dataset.Rows, dataset.Columns, 1, True)
