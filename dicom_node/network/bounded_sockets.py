"""Limits on what a peer may make us wait for or hold in memory, and the sockets of associations that we open.

As delivered, pynetdicom reads a PDU of any declared length and waits for its end for ever. Here every PDU has a length
limit and one deadline for all of it, and every message a size limit. The same limits hold for associations that peers
open, see `upper_layer`. Only pynetdicom's own subclass points are used.
"""

import select
import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pynetdicom import _config
from pynetdicom.transport import AssociationSocket

P_DATA: Final = 0x04
KNOWN_PDUS: Final = range(0x01, 0x08)
_CONTROL_PDU_BYTES: Final = 64
"""Release and abort PDUs are 4 bytes long, a rejection too (PS3.8 section 9.3); larger ones are not PDUs."""
_ASSOCIATION_PDU_BYTES: Final = 1 << 20
"""An association request with 128 presentation contexts stays below 100 kB; DCMTK's limit is the same."""
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What one peer may cost."""

    maximum_pdu_bytes: int = 1 << 20
    """Largest P-DATA PDU, announced to the peer at negotiation."""
    maximum_message_bytes: int = 512 << 20
    """Largest DIMSE message; a single-frame CT is below 1 MB, an enhanced one of 1000 frames 512 MB."""
    large_messages_bytes: int = 1 << 30
    """All messages beyond 8 MiB that a process is receiving at the same time."""
    pdu_deadline_s: float = 30.0
    """For a whole PDU from its first byte: 1 MiB needs 280 kbit/s."""
    message_deadline_s: float = 600.0
    """For a whole message from its first fragment: 512 MB need 7 Mbit/s."""
    unacknowledged_s: float = 30.0
    """A peer that acknowledges nothing for this long is gone (TCP_USER_TIMEOUT and keep-alive)."""

    def allowed_bytes(self, kind: int) -> int:
        """Largest length that the header of a PDU of this kind may declare."""
        if kind == P_DATA:
            return self.maximum_pdu_bytes + 6  # some peers count the header in
        return _ASSOCIATION_PDU_BYTES if kind <= 0x02 else _CONTROL_PDU_BYTES

    def configure(self, tcp: socket.socket) -> None:
        """Set the options of a connection: no waiting to fill a packet, and a dead peer is noticed."""
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(self.unacknowledged_s)))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(self.unacknowledged_s / 3)))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.unacknowledged_s * 1000))


class BoundedAssociationSocket(AssociationSocket):  # type: ignore[misc]  # pynetdicom publishes no types here
    """An association's socket that gives up instead of waiting or growing without limit."""

    _limits: SocketLimits
    _deadline: float
    _header_is_next: bool
    message_bytes: int
    """P-DATA bytes since the last complete message; reset when one is complete."""
    is_lent: bool
    """Whether somebody else than pynetdicom's thread reads and writes; to that thread nothing seems to come then."""

    @classmethod
    def bind_limits(cls, association_socket: AssociationSocket, limits: SocketLimits) -> None:
        """Turn the socket of an existing association into a bounded one; pynetdicom has no factory to make it so."""
        association_socket.__class__ = cls
        association_socket._limits = limits
        association_socket._header_is_next = True
        association_socket.message_bytes = 0
        association_socket.is_lent = False
        limits.configure(association_socket.socket)

    @property
    def ready(self) -> bool:
        """Whether there is something to read; unlike `select`, for any number of open files."""
        tcp = self.socket
        if tcp is None or not self._is_connected or self.is_lent:
            return False
        try:
            waiting = select.poll()
            waiting.register(tcp, select.POLLIN)
            found = bool(waiting.poll(0)) or (isinstance(tcp, ssl.SSLSocket) and tcp.pending() > 0)
            return found and not self.is_lent  # it may have been lent meanwhile
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read a PDU header (6 bytes) or the rest of its PDU.

        Raises:
            OSError: The PDU is longer than allowed, or its deadline has passed; the connection is closed.
        """
        is_header = self._header_is_next
        if is_header:
            self._deadline = time.monotonic() + self._limits.pdu_deadline_s
        try:
            received = self._read(nr_bytes)
            self._header_is_next = True
            if is_header and len(received) == 6:
                self._check(*struct.unpack(">BxL", received))
        except OSError:
            self._shutdown_socket()  # pynetdicom takes the error as "closed by the peer" and would leave it open
            raise
        return received

    def send_whole(self, pdu: bytes | memoryview) -> None:
        """Send a PDU within its deadline, while the socket is lent.

        Raises:
            OSError: The connection broke, or the peer took too long to take it.
        """
        self.socket.settimeout(self._limits.pdu_deadline_s)
        self.socket.sendall(pdu)

    def receive_pdu(self, wait_s: float) -> tuple[int, bytearray]:
        """Wait for a PDU, while the socket is lent; its type, and what follows its header.

        Raises:
            OSError: The connection ended, nothing came in time, or it is beyond the limits.
        """
        self._deadline = time.monotonic() + wait_s
        header = self._read(6)
        if len(header) < 6:
            raise ConnectionError("the peer closed the connection")
        kind, length = struct.unpack(">BxL", header)
        self._deadline = time.monotonic() + self._limits.pdu_deadline_s
        self._check(kind, length)
        self._header_is_next = False
        received = self.recv(length)
        if len(received) < length:
            raise ConnectionError("the peer closed the connection")
        return kind, received

    def _shutdown_socket(self) -> None:
        """Close for certain; pynetdicom leaves the descriptor open if the peer was gone already."""
        tcp = self.socket
        if tcp is not None:
            with suppress(OSError):
                tcp.shutdown(socket.SHUT_RDWR)
            tcp.close()

    def _check(self, kind: int, length: int) -> None:
        if kind == P_DATA:
            self.message_bytes += length
        if length > self._limits.allowed_bytes(kind) or self.message_bytes > self._limits.maximum_message_bytes:
            raise OSError(f"a PDU of type {kind} with {length} bytes is beyond the limits of this node")
        self._header_is_next = kind not in KNOWN_PDUS  # pynetdicom reads no further in a PDU that it does not know

    def _read(self, nr_bytes: int) -> bytearray:
        received = bytearray()
        tcp = self.socket
        try:
            while len(received) < nr_bytes:
                remaining_s = self._deadline - time.monotonic()
                if remaining_s <= 0:
                    raise TimeoutError("the peer did not finish its PDU in time")
                tcp.settimeout(remaining_s)
                piece = tcp.recv(min(_CHUNK, nr_bytes - len(received)))
                if not piece:
                    break
                received += piece
                # DCMTK and Orthanc answer in two writes with Nagle on: a delayed ACK would cost 40 ms per object.
                tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        finally:
            if tcp.fileno() >= 0:
                tcp.settimeout(None)
        return received


def set_pynetdicom_defaults() -> None:
    """Set the two process-wide switches of pynetdicom; called before every association, idempotent.

    Its own log handlers print identifiers and cost a quarter of the throughput. With chunked sending a file given by
    path is never in memory as a whole; sending of datasets does not change.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    _config.STORE_SEND_CHUNKED_DATASET = True
