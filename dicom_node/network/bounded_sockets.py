"""pynetdicom's sockets and server, with limits on what a peer may make us wait for or hold in memory.

As delivered, pynetdicom reads a PDU of any declared length, waits for its end for ever, and counts silent sockets as
associations: ten workstations that lose power in mid-PDU, or one port scanner, close the port for everybody. Here every
PDU has a length limit and one deadline for all of it, every message a size limit, and the number of open sockets is
limited apart from the number of associations. Only pynetdicom's own subclass points are used.
"""

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pynetdicom import AE, _config, evt
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

log = structlog.get_logger()

_P_DATA: Final = 0x04
_KNOWN_PDUS: Final = range(0x01, 0x08)
_CONTROL_PDU_BYTES: Final = 64
"""Release and abort PDUs are 4 bytes long, a rejection too (PS3.8 section 9.3); larger ones are not PDUs."""
_ASSOCIATION_PDU_BYTES: Final = 1 << 20
"""An association request with 128 presentation contexts stays below 100 kB; DCMTK's limit is the same."""
_CHUNK: Final = 1 << 16
_POLL_S: Final = 0.1
"""How often the accepting thread looks whether to stop."""
_WAITING_MESSAGES: Final = 2
"""More complete requests than this waiting for their answer means a peer that does not keep to one at a time."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What one peer may cost."""

    maximum_pdu_bytes: int = 1 << 20
    """Largest P-DATA PDU, announced to the peer at negotiation."""
    maximum_message_bytes: int = 512 << 20
    """Largest DIMSE message; a single-frame CT is below 1 MB, an enhanced one of 1000 frames 512 MB."""
    pdu_deadline_s: float = 30.0
    """For a whole PDU from its first byte: 1 MiB needs 280 kbit/s."""
    unacknowledged_s: float = 30.0
    """A peer that acknowledges nothing for this long is gone (TCP_USER_TIMEOUT and keep-alive)."""


class BoundedAssociationSocket(AssociationSocket):  # type: ignore[misc]  # pynetdicom publishes no types here
    """An association's socket that gives up instead of waiting or growing without limit."""

    _limits: SocketLimits
    _deadline: float
    _header_is_next: bool
    message_bytes: int
    """P-DATA bytes since the last complete message; reset when one is complete."""

    @classmethod
    def bind_limits(cls, association_socket: AssociationSocket, limits: SocketLimits) -> None:
        """Turn the socket of an existing association into a bounded one; pynetdicom has no factory to make it so."""
        association_socket.__class__ = cls
        association_socket._limits = limits
        association_socket._header_is_next = True
        association_socket.message_bytes = 0
        tcp = association_socket.socket
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.unacknowledged_s * 1000))

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

    def _shutdown_socket(self) -> None:
        """Close for certain; pynetdicom leaves the descriptor open if the peer was gone already."""
        tcp = self.socket
        if tcp is not None:
            with suppress(OSError):
                tcp.shutdown(socket.SHUT_RDWR)
            tcp.close()

    def _check(self, kind: int, length: int) -> None:
        allowed = _CONTROL_PDU_BYTES
        if kind == _P_DATA:
            allowed = self._limits.maximum_pdu_bytes + 6  # some peers count the header in
            self.message_bytes += length
        elif kind <= 0x02:
            allowed = _ASSOCIATION_PDU_BYTES
        if length > allowed or self.message_bytes > self._limits.maximum_message_bytes:
            raise OSError(f"a PDU of type {kind} with {length} bytes is beyond the limits of this node")
        self._header_is_next = kind not in _KNOWN_PDUS  # pynetdicom reads no further in a PDU that it does not know

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


class BoundedRequestHandler(RequestHandler):  # type: ignore[misc]
    """Makes associations with bounded sockets."""

    server: "BoundedServer"

    def _create_association(self) -> Any:
        association = super()._create_association()
        BoundedAssociationSocket.bind_limits(association.dul.socket, self.server.limits)
        return association


class BoundedServer(ThreadedAssociationServer):  # type: ignore[misc]
    """Accepts connections up to a number, then closes further ones at once."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *args: Any, limits: SocketLimits, maximum_connections: int, **kwargs: Any) -> None:
        self.limits = limits
        self.maximum_connections = maximum_connections
        super().__init__(*args, request_handler=BoundedRequestHandler, **kwargs)
        self.bind(evt.EVT_DIMSE_RECV, _on_message)

    def start(self) -> None:
        """Accept connections in a thread of its own; returns at once."""
        self.ae._servers.append(self)  # where `shutdown` expects to find it
        threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="dicom-server", daemon=True).start()

    def stop(self, grace_s: float) -> None:
        """Accept nothing new, let running associations end by themselves for `grace_s`, then abort them."""
        self.shutdown()
        deadline = time.monotonic() + grace_s
        for association in self.active_associations:
            if association.is_established:  # a connection that never asked for one has nothing to finish
                association.join(max(0.0, deadline - time.monotonic()))
        for association in self.active_associations:
            if association.is_established:
                association.abort()
                association.join(5.0)
            else:  # its thread waits for a request that will not come any more, and ends by itself
                association.dul.socket.close()
                association.kill()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuse a connection beyond the limit before anything is read from it."""
        within = len(self.active_associations) < self.maximum_connections
        if not within:
            log.warning("connection_refused", code="TOO_MANY_CONNECTIONS", peer=client_address[0])
        return within

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a connection failed before an association; the traceback would go to standard error."""
        log.warning("connection_failed", code="CONNECTION_FAILED", peer=client_address[0])


def _on_message(event: Any) -> None:
    """Called in the thread that reads the socket, when a message is complete."""
    event.assoc.dul.socket.message_bytes = 0
    if event.assoc.dimse.msg_queue.qsize() > _WAITING_MESSAGES:
        log.warning("association_aborted", code="TOO_MANY_REQUESTS_AT_ONCE", calling=event.assoc.requestor.ae_title)
        event.assoc.abort()


class BoundedEntity(AE):  # type: ignore[misc]
    """An application entity that counts only peers which have sent an association request."""

    @property
    def active_associations(self) -> list[Any]:
        """Associations that were at least requested; silent sockets are limited by the server instead."""
        return [found for found in super().active_associations if found.requestor.primitive is not None]


def set_pynetdicom_defaults() -> None:
    """Set the two process-wide switches of pynetdicom; called before every association, idempotent.

    Its own log handlers print identifiers and cost a quarter of the throughput. With chunked sending a file given by
    path is never in memory as a whole; sending of datasets does not change.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    _config.STORE_SEND_CHUNKED_DATASET = True
