"""DICOM's upper layer by hand: every byte that a peer writes is chosen here, also the wrong ones.

Independent of pynetdicom on purpose, so that one fault cannot hide on both sides of a test. PDUs are those of PS3.8
section 9.3, commands those of PS3.7 annex E.
"""

import socket
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from dicom_node.network.addresses import AeAddress

CT: Final = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"
IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
RLE: Final = "1.2.840.10008.1.2.5"

RELEASE_RQ: Final = b"\x05\0\0\0\0\x04\0\0\0\0"
ABORT: Final = b"\x07\0\0\0\0\x04\0\0\0\0"
_AC, _RJ, _P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 2, 3, 4, 5, 6, 7
_COMMAND, _LAST = 1, 2
_APPLICATION_CONTEXT: Final = b"1.2.840.10008.3.1.1.1"
_FRAGMENT: Final = 65536


@dataclass(frozen=True, slots=True)
class Context:
    """A proposed presentation context."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...] = (EXPLICIT,)


class NotAssociated(Exception):
    """No association: rejected, aborted, or no answer."""


def item(kind: int, content: bytes) -> bytes:
    """An item of an association PDU."""
    return struct.pack(">BxH", kind, len(content)) + content


def pdu(kind: int, content: bytes, declared_bytes: int | None = None) -> bytes:
    """A PDU, with a false length if told so."""
    return struct.pack(">BxL", kind, len(content) if declared_bytes is None else declared_bytes) + content


def association_request(
    calling: bytes | str = "GOOD", called: bytes | str = "PERFNODE", contexts: Sequence[Context] = (Context(1, CT),)
) -> bytes:
    """An A-ASSOCIATE-RQ; AE titles may be any bytes."""
    titles = [(title.encode() if isinstance(title, str) else title)[:16].ljust(16) for title in (called, calling)]
    proposed = b"".join(
        item(
            0x20,
            struct.pack("BBBB", context.id, 0, 0, 0)
            + item(0x30, context.abstract_syntax.encode())
            + b"".join(item(0x40, syntax.encode()) for syntax in context.transfer_syntaxes),
        )
        for context in contexts
    )
    user = item(0x50, item(0x51, struct.pack(">L", 1 << 17)) + item(0x52, b"1.2.3.4") + item(0x55, b"TORTURE"))
    return pdu(
        1, struct.pack(">HH", 1, 0) + b"".join(titles) + b"\0" * 32 + item(0x10, _APPLICATION_CONTEXT) + proposed + user
    )


def command(*elements: tuple[int, bytes]) -> bytes:
    """A command set: element numbers of group 0000 with their values, and the group length before them."""
    content = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(content)) + content


def number(value: int) -> bytes:
    """A US value."""
    return struct.pack("<H", value)


def uid(value: str | bytes) -> bytes:
    """A UI value, padded to even length."""
    content = value if isinstance(value, bytes) else value.encode()
    return content + b"\0" * (len(content) % 2)


def p_data(context_id: int, control: int, content: bytes, fragment: int = _FRAGMENT) -> bytes:
    """One or more P-DATA PDUs for a command (`control` 1) or dataset (0); the last fragment is flagged."""
    pieces = [content[at : at + fragment] for at in range(0, len(content), fragment)] or [b""]
    return b"".join(
        pdu(4, struct.pack(">LBB", len(piece) + 2, context_id, control | (_LAST if piece is pieces[-1] else 0)) + piece)
        for piece in pieces
    )


def echo_request(context_id: int = 1, message_id: int = 1) -> bytes:
    """A C-ECHO-RQ."""
    fields = (
        (0x0002, uid(VERIFICATION)),
        (0x0100, number(0x30)),
        (0x0110, number(message_id)),
        (0x0800, number(0x101)),
    )
    return p_data(context_id, _COMMAND, command(*fields))


def store_command(sop_instance_uid: str | bytes, sop_class_uid: str | bytes = CT, message_id: int = 1) -> bytes:
    """The command set of a C-STORE-RQ."""
    return command(
        (0x0002, uid(sop_class_uid)),
        (0x0100, number(0x01)),
        (0x0110, number(message_id)),
        (0x0700, number(0)),
        (0x0800, number(1)),
        (0x1000, uid(sop_instance_uid)),
    )


def store_request(
    context_id: int, sop_instance_uid: str | bytes, dataset: bytes, message_id: int = 1, sop_class_uid: str = CT
) -> bytes:
    """A whole C-STORE-RQ."""
    announced = store_command(sop_instance_uid, sop_class_uid, message_id)
    return p_data(context_id, _COMMAND, announced) + p_data(context_id, 0, dataset)


def event_report(context_id: int = 1, message_id: int = 1) -> bytes:
    """An N-EVENT-REPORT-RQ of Storage Commitment with an empty dataset."""
    fields = (
        (0x0002, uid(STORAGE_COMMITMENT)),
        (0x0100, number(0x100)),
        (0x0110, number(message_id)),
        (0x0800, number(0x101)),
        (0x1000, uid("1.2.840.10008.1.20.1.1")),
        (0x1002, number(1)),
    )
    return p_data(context_id, _COMMAND, command(*fields))


def status_of(command_set: bytes) -> int | None:
    """Status (0000,0900) of a response."""
    at = 0
    while at + 8 <= len(command_set):
        group, element, length = struct.unpack_from("<HHL", command_set, at)
        if (group, element, length) == (0, 0x0900, 2):
            return int(struct.unpack_from("<H", command_set, at + 8)[0])
        at += 8 + length
    return None


@dataclass
class Association:
    """A blocking association of a peer that keeps to the rules, until it is told not to."""

    tcp: socket.socket
    accepted: dict[int, str] = field(default_factory=dict)
    """Transfer syntax of each accepted context."""
    _message_id: int = 0

    @classmethod
    def open(
        cls,
        address: AeAddress,
        contexts: Sequence[Context] = (Context(1, CT),),
        *,
        calling: bytes | str = "GOOD",
        source: str = "127.0.0.1",
        timeout_s: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """Connect and associate.

        Raises:
            NotAssociated: rejected, aborted, closed or silent.
        """
        try:
            tcp = socket.create_connection(address.endpoint, timeout_s, (source, 0))
        except OSError as fault:
            raise NotAssociated(str(fault)) from fault
        try:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tcp = tls.wrap_socket(tcp) if tls else tcp
            tcp.sendall(association_request(calling, address.ae_title, contexts))
            association = cls(tcp)
            kind, body = association.read()
        except OSError as fault:
            tcp.close()
            raise NotAssociated(str(fault)) from fault
        if kind != _AC:
            tcp.close()
            raise NotAssociated(f"PDU {kind}: {body[:4].hex()}")
        association.accepted = _accepted(body)
        return association

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tcp.close()

    def read(self) -> tuple[int, bytes]:
        """The next PDU.

        Raises:
            OSError: the connection has ended, or nothing came in time.
        """
        kind, length = struct.unpack(">BxL", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            piece = self.tcp.recv(size - len(content))
            if not piece:
                raise ConnectionAbortedError("the node has closed the connection")
            content += piece
        return bytes(content)

    def response(self) -> int | None:
        """Status of the next response, `None` if the association has ended instead."""
        content = b""
        try:
            while True:
                kind, body = self.read()
                if kind != _P_DATA:
                    return None
                (length,) = struct.unpack_from(">L", body)
                content += body[6 : 4 + length]
                if body[5] & _LAST:
                    return status_of(content)
        except OSError:
            return None

    def echo(self, context_id: int = 1) -> int | None:
        """Status of a C-ECHO."""
        self.tcp.sendall(echo_request(context_id))
        return self.response()

    def store(
        self, sop_instance_uid: str | bytes, dataset: bytes, context_id: int = 1, sop_class_uid: str = CT
    ) -> int | None:
        """Status of a C-STORE; `None` if none came, so that what happened to the instance is unknown."""
        self._message_id = self._message_id % 0xFFFF + 1
        try:
            self.tcp.sendall(store_request(context_id, sop_instance_uid, dataset, self._message_id, sop_class_uid))
        except OSError:
            return None
        return self.response()

    def release(self) -> bool:
        """End in order; whether the node agreed."""
        with suppress(OSError):
            self.tcp.sendall(RELEASE_RQ)
            while True:
                kind, _ = self.read()
                if kind in (_RELEASE_RP, _ABORT):
                    self.tcp.close()
                    return kind == _RELEASE_RP
        self.tcp.close()
        return False

    def reset(self) -> None:
        """End with a TCP reset, as a crashed computer would."""
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.close()


def _accepted(body: bytes) -> dict[int, str]:
    """Accepted contexts of an A-ASSOCIATE-AC (PS3.8 section 9.3.3)."""
    accepted, at = {}, 68
    while at + 4 <= len(body):
        kind, length = struct.unpack_from(">BxH", body, at)
        if kind == 0x21 and body[at + 6] == 0:
            (size,) = struct.unpack_from(">H", body, at + 10)
            accepted[body[at + 4]] = body[at + 12 : at + 12 + size].decode("ascii", "replace").rstrip("\0")
        at += 4 + length
    return accepted
