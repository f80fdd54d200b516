"""Files out of a multipart request (RFC 7578), streamed to a folder under names of ours, with limits on everything.

The framework would take the whole request into its own temporary files before a handler is asked. Here nothing is
written that the limits do not allow, and a request that says that it is too large is refused before a byte of it is
read.
"""

from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from dicom_node.errors import NodeError

_NAME_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one request may bring."""

    files: int = 1500
    """A planning CT with thin slices has fewer."""
    file_bytes: int = 256 << 20
    """An enhanced CT of 200 frames of 512x512 has 100 MB; a single slice 0.5 MB."""
    all_bytes: int = 512 << 20


class UploadRefused(NodeError):
    """A request brings more than it may, or is no upload."""

    code = "UPLOAD_REFUSED"
    permanent = True

    def __init__(self, code: str, reason: str, status: int) -> None:
        self.code = code  # type: ignore[misc]
        self.status = status
        """Of HTTP."""
        super().__init__(f"The upload is refused: {reason}. Nothing of it is kept.")


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file of the request."""

    path: Path
    """Named by its number."""
    name: str
    """What its sender calls it, without folders; to be shown to the sender only, since it may name a patient."""


def require_size(declared: str | None, limits: UploadLimits) -> None:
    """Look at the declared length of a request before anything of it is read.

    Raises:
        UploadRefused: it is larger than allowed, or no number.
    """
    if declared is None:
        return
    if not declared.isascii() or not declared.isdigit():
        raise UploadRefused("UPLOAD_MALFORMED", "its length is no number", 400)
    if int(declared) > limits.all_bytes:
        raise _too_large(limits)


async def receive_files(
    chunks: AsyncIterable[bytes], content_type: str, folder: Path, limits: UploadLimits
) -> list[UploadedFile]:
    """Write the files of a request into a folder.

    Args:
        chunks: the body as it comes.
        content_type: header of the request.
        folder: empty.
        limits: beyond which reading stops.

    Raises:
        UploadRefused: see `UploadLimits`; or it is no multipart request, or one that breaks off.
        OSError: a file cannot be written.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise UploadRefused("UPLOAD_MALFORMED", "it is no multipart/form-data", 415)
    taken = 0
    with _Parts(folder, limits) as parts:
        try:
            parser = MultipartParser(options[b"boundary"], parts.callbacks())  # type: ignore[arg-type]
            async for chunk in chunks:
                taken += len(chunk)
                if taken > limits.all_bytes:
                    raise _too_large(limits)
                await run_in_threadpool(parser.write, chunk)  # a disk that is slow must not hold up other requests
            parser.finalize()
        except FormParserError as fault:
            raise UploadRefused("UPLOAD_MALFORMED", "its parts cannot be told from each other", 400) from fault
        if not parts.is_whole:
            raise UploadRefused("UPLOAD_MALFORMED", "it breaks off", 400)
        return parts.files


def _too_large(limits: UploadLimits) -> UploadRefused:
    return UploadRefused("UPLOAD_TOO_LARGE", f"at most {limits.all_bytes >> 20} MB are taken at once", 413)


@dataclass(slots=True)
class _Parts:
    """Told by the parser what comes; keeps one file open at a time."""

    folder: Path
    limits: UploadLimits
    files: list[UploadedFile] = field(default_factory=list)
    is_whole: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""
    _open: BinaryIO | None = None
    _size: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def callbacks(self) -> dict[str, object]:
        """By the names that the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._close,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition = b""

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            return  # a field of the form beside the files
        if len(self.files) >= self.limits.files:
            raise UploadRefused("UPLOAD_TOO_MANY", f"at most {self.limits.files} files are taken at once", 413)
        path = self.folder / f"{len(self.files):05d}"
        self._open, self._size = path.open("xb"), 0
        self.files.append(UploadedFile(path, shown_name(options[b"filename"])))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._open is None:
            return
        self._size += end - start
        if self._size > self.limits.file_bytes:
            most = self.limits.file_bytes >> 20
            raise UploadRefused("UPLOAD_TOO_LARGE", f"a file of more than {most} MB is not taken", 413)
        self._open.write(data[start:end])

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _end(self) -> None:
        self.is_whole = True


def shown_name(sent: bytes) -> str:
    """The last part of a file name as its sender wrote it, fit to be shown."""
    last = sent.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last)
    return plain[:_NAME_SHOWN] or "without a name"
