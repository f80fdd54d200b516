"""What a compressed frame says of itself, read before a decoder believes it.

A kilobyte can declare an image of 30,000 × 30,000 pixels, and decoders allocate what a stream declares. So matrix,
number of samples and number of tiles are read from the first markers here and compared with the header of the image.
A stream under a lossless syntax that was compressed with loss is found as well.
"""

import struct
from dataclasses import dataclass

from pydicom.uid import UID, HTJ2KLossless, HTJ2KLosslessRPCL, JPEG2000Lossless, JPEGLSLossless

from inference.ct.syntaxes import JPEG_LOSSLESS, JPEG_LS, WAVELET

MOST_TILES = 1024
"""Of one JPEG 2000 frame: 4096 × 4096 in tiles of 128 × 128. A decoder keeps kilobytes for each."""
_JPEG_FRAME_MARKERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
"""Start of frame of JPEG (ISO 10918-1 table B.1; C4, C8 and CC are none) and JPEG-LS (ISO 14495-1)."""
_LOSSLESS_FRAME = 0xC3
_HAVE_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xDA)))


class BrokenStream(ValueError):
    """A frame is no stream of its transfer syntax, or its first markers are damaged; the text says what."""


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """What the first markers of a compressed frame declare."""

    rows: int
    columns: int
    samples: int
    keeps_all: bool
    """False when the stream itself says that it was compressed with loss."""


def stream_header(frame: bytes, syntax: UID) -> StreamHeader:
    """Read the first markers of a frame.

    Args:
        frame: one frame of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K syntax.
        syntax: the transfer syntax it came in.

    Raises:
        BrokenStream: it does not begin like such a stream, or has more tiles than an image of a CT.
    """
    try:
        return _wavelet(frame, syntax) if syntax in WAVELET else _jpeg(frame, syntax)
    except (struct.error, IndexError) as fault:
        raise BrokenStream("its first markers are cut off") from fault


def _jpeg(frame: bytes, syntax: UID) -> StreamHeader:
    """ISO 10918-1 B.2.2 and ISO 14495-1 C.2.2: SOI, tables, start of frame, tables, start of scan."""
    if frame[:2] != b"\xff\xd8":
        raise BrokenStream("it does not begin with a start of image")
    shape: tuple[int, int, int] | None = None
    keeps_all, at = True, 2
    while True:
        marker, start, length = _segment(frame, at)
        if marker in _JPEG_FRAME_MARKERS:
            if shape is not None:
                raise BrokenStream("it has two starts of frame")
            shape = struct.unpack_from(">HHB", frame, start + 1)
            keeps_all = marker == _LOSSLESS_FRAME if syntax in JPEG_LOSSLESS else keeps_all
            if (marker == 0xF7) != (syntax in JPEG_LS):
                raise BrokenStream("it is of another kind of JPEG than its transfer syntax")
        if marker == 0xDA:  # start of scan
            if shape is None:
                raise BrokenStream("it has no start of frame")
            if syntax == JPEGLSLossless:
                keeps_all = frame[start + 1 + 2 * frame[start]] == 0  # NEAR, the greatest error that was allowed
            return StreamHeader(*shape, keeps_all)
        at = start - 2 + length


def _segment(frame: bytes, at: int) -> tuple[int, int, int]:
    """Marker, where its parameters start, and its length with the two bytes that say it."""
    if frame[at] != 0xFF:
        raise BrokenStream("there is no marker where one must be")
    while frame[at] == 0xFF:
        at += 1
    marker = frame[at]
    if marker in _HAVE_NO_LENGTH:
        raise BrokenStream("a marker comes where none may be")
    (length,) = struct.unpack_from(">H", frame, at + 1)
    if length < 2:
        raise BrokenStream("a marker has no length")
    return marker, at + 3, length


def _wavelet(frame: bytes, syntax: UID) -> StreamHeader:
    """ISO 15444-1 A.5.1 (image and tile size) and A.6.1 (coding style)."""
    if frame[:4] != b"\xff\x4f\xff\x51":
        raise BrokenStream("it does not begin with a start of codestream and its size")
    right, lower, left, upper, tile_width, tile_height, first_x, first_y, samples = struct.unpack_from(">8IH", frame, 8)
    if not (tile_width and tile_height and left < right and upper < lower and first_x <= left and first_y <= upper):
        raise BrokenStream("its size is impossible")
    tiles = -(-(right - first_x) // tile_width) * -(-(lower - first_y) // tile_height)
    if tiles > MOST_TILES:
        raise BrokenStream(f"it has {tiles} tiles")
    if any(step != 1 for step in frame[43 : 42 + 3 * samples : 3] + frame[44 : 42 + 3 * samples : 3]):
        raise BrokenStream("its samples are thinned out")
    keeps_all = _is_reversible(frame) if syntax in (JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL) else True
    return StreamHeader(lower - upper, right - left, samples, keeps_all)


def _is_reversible(frame: bytes) -> bool:
    at = 2
    while True:
        marker, start, length = _segment(frame, at)
        if marker == 0x52:  # COD; the wavelet is the last of its fixed parameters
            return frame[start + 9] == 1
        if marker == 0x90:  # start of a tile
            raise BrokenStream("it has no coding style")
        at = start - 2 + length
