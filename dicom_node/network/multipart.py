"""`multipart/related` bodies (RFC 2387), written and read in pieces: no body is ever in memory as a whole.

The parts of an upload are files read from disk while they are sent; of a download one part at a time is held. Not done
by dicomweb-client: it joins an upload in memory, sends an empty body when it tries again, and gives decoded datasets.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from dicom_node.errors import InvalidInstance

BOUNDARY: Final = "perfusion-node-0f3cf5c070e041efbaefc6f9f65ec3e1"
CONTENT_TYPE: Final = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
MAXIMUM_PART_BYTES: Final = 1 << 29
"""As for a DIMSE message: an enhanced CT of 1000 frames."""

_HEADER: Final = f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
_END: Final = f"\r\n--{BOUNDARY}--\r\n".encode("ascii")


class CutOff(Exception):
    """A multipart body ended before its closing delimiter, or has no delimiter at all."""


class MultipartUpload:
    """DICOM files as one body. Has a length, so that it goes without chunked encoding, which some archives refuse.

    Args:
        paths: The files, in order.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._pieces: list[bytes | Path] = [piece for path in paths for piece in (_HEADER, path)] + [_END]
        self._length = sum(p.stat().st_size if isinstance(p, Path) else len(p) for p in self._pieces)
        self._file: IO[bytes] | None = None
        self.sent = 0
        """Bytes handed over so far."""

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        while True:
            if self._file is None and not self._pieces:
                return b""
            piece = self._next(size)
            if piece:
                self.sent += len(piece)
                return piece

    def _next(self, size: int) -> bytes:
        if self._file is not None:
            piece = self._file.read(size)
            if not piece:
                self.close()
            return piece
        first = self._pieces.pop(0)
        if isinstance(first, bytes):
            return first  # a delimiter is shorter than any block
        self._file = first.open("rb")
        return b""

    def close(self) -> None:
        """Close the file being read."""
        if self._file is not None:
            self._file.close()
            self._file = None


def boundary_of(content_type: str) -> bytes:
    """The delimiter that a Content-Type header announces.

    Raises:
        CutOff: The body is not multipart.
    """
    found = re.search(r'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', content_type, re.IGNORECASE)
    if not content_type.lower().lstrip().startswith("multipart/") or found is None:
        raise CutOff("the answer is not a multipart body")
    return (found[1] or found[2]).encode("ascii", "replace")


def parts(pieces: Iterable[bytes], boundary: bytes, maximum_bytes: int = MAXIMUM_PART_BYTES) -> Iterator[bytes]:
    """The content of each part, without its headers, as soon as it is there.

    Raises:
        CutOff: The body ends without its closing delimiter.
        InvalidInstance: A part is larger than allowed, or has no end of its headers.
    """
    delimiter = b"\r\n--" + boundary
    buffer, searched, inside = bytearray(b"\r\n"), 0, False  # the first delimiter may have no line end before it
    for piece in pieces:
        buffer += piece
        while True:
            at = buffer.find(delimiter, searched)
            if at < 0 or len(buffer) < at + len(delimiter) + 2:
                searched = max(0, len(buffer) - len(delimiter) - 1) if at < 0 else at
                break
            if inside:
                yield _content(buffer, at)
            ended = buffer[at + len(delimiter) : at + len(delimiter) + 2] == b"--"
            del buffer[: at + len(delimiter)]
            searched, inside = 0, True
            if ended:
                return
        if len(buffer) > maximum_bytes:
            raise InvalidInstance(f"a part of the answer is larger than {maximum_bytes} bytes")
    raise CutOff("the answer ends before it is complete")


def _content(buffer: bytearray, end: int) -> bytes:
    start = buffer.find(b"\r\n\r\n", 0, end)
    if start < 0:
        raise InvalidInstance("a part of the answer has no end of its headers")
    with memoryview(buffer) as view:
        return bytes(view[start + 4 : end])
