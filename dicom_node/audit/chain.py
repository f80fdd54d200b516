"""`audit.log`: one RFC 5424 message per line, each with the number of its line and the SHA-256 of the line before.

Whoever alters, removes or inserts a line breaks the chain from there on, which `verify` finds. The end of the file is
not protected by the file itself, and who can write it can also write a new chain; both are noticed by comparing with
the syslog server, whose copy holds the same numbers and hashes. Lines are appended under a lock by any number of
processes and are on the disk when `append` returns.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from dicom_node.durable_files import make_directory, sync_directory

START: Final = "0" * 64
"""Hash that the first line carries."""

CHAIN_ID: Final = "chain@32473"
"""SD-ID of our structured data. 32473 is the enterprise number that RFC 5612 keeps for examples: we have none."""

_LINK: Final = re.compile(rb"\[" + CHAIN_ID.encode() + rb' line="(\d+)" previous="([0-9a-f]{64})"\]')
_MESSAGE_END: Final = b"</AuditMessage>"
_TAIL_BYTES: Final = 1 << 20
"""The last whole line lies within this; one of a hundred SOP classes has 10 kB."""


@dataclass(frozen=True, slots=True)
class Link:
    """Place of a line in the chain."""

    line: int
    """From 1."""
    previous: str
    """SHA-256 of the line before, without its line end."""

    def structured_data(self) -> str:
        """As an SD-ELEMENT of RFC 5424 section 6.3."""
        return f'[{CHAIN_ID} line="{self.line}" previous="{self.previous}"]'


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found."""

    lines: int
    """Read before the end or the first fault."""
    last_hash: str
    """SHA-256 of the last good line: what the next message carries, here and on the syslog server."""
    fault: str = ""
    """The first fault, a sentence; empty if there is none."""
    torn: tuple[int, ...] = ()
    """Lines cut off by a crash while they were written. The chain goes on over them, so nothing was removed."""


class AuditLog:
    """The file, for writers.

    Args:
        path: the file; its folder is made if absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, write: Callable[[Link], bytes]) -> None:
        """Add a line that `write` makes for its place in the chain; on the disk afterwards.

        Raises:
            OSError: it could not be written; the file may then end in a part of the line.
        """
        with self._locked() as descriptor:
            link, needs_line_end = _next_link(descriptor)
            line = write(link)
            if b"\n" in line:
                raise ValueError("an audit message must be one line")
            data = memoryview((b"\n" if needs_line_end else b"") + line + b"\n")
            while data:
                data = data[os.write(descriptor, data) :]
            os.fdatasync(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        is_new = not self.path.exists()
        if is_new:
            make_directory(self.path.parent)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # per open file, so it keeps threads apart as well as processes
            if is_new:
                sync_directory(self.path.parent)
            yield descriptor
        finally:
            os.close(descriptor)


def is_complete(line: bytes) -> bool:
    """Whether a line, without its line end, is a whole message and not what a crash left of one."""
    return _LINK.search(line) is not None and line.endswith(_MESSAGE_END)


def verify(path: Path) -> Verification:
    """Follow the chain from the first line.

    Raises:
        OSError: the file cannot be read.
    """
    previous, count, torn = START, 0, []
    with path.open("rb") as file:
        for line in file:
            body = line.removesuffix(b"\n")
            found = _LINK.search(body)
            if not is_complete(body):
                torn.append(count + 1)  # only a crash may leave one; the next line says whether it was there
            if found is not None and int(found[1]) != count + 1:
                return Verification(count, previous, f"line {count + 1} says that it is line {int(found[1])}")
            if found is not None and found[2].decode() != previous:
                return Verification(count, previous, f"line {count} is not the one that line {count + 1} was added to")
            previous, count = sha256(body).hexdigest(), count + 1
    fault = "no line is an audit message" if torn and len(torn) == count else ""
    return Verification(count, previous, fault, tuple(torn))


def _next_link(descriptor: int) -> tuple[Link, bool]:
    """Place of the next line, and whether a crash left the last one without its end."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return Link(1, START), False
    tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    is_torn = not tail.endswith(b"\n")
    lines = tail.removesuffix(b"\n").split(b"\n")
    after = 0
    for after, line in enumerate(reversed(lines), start=1):
        found = _LINK.search(line)
        if found is not None:
            return Link(int(found[1]) + after, sha256(lines[-1]).hexdigest()), is_torn
    return Link(after + 1, sha256(lines[-1]).hexdigest()), is_torn
