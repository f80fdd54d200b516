"""The socket of an association that a peer opened: every wait has a deadline, and TLS begins after accepting."""

import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from pynetdicom.transport import AssociationSocket

from dicom_node.network.bounded_sockets import KNOWN_PDUS, SocketLimits

Done = TypeVar("Done")

_LINGER_S: Final = 1.0
"""How long a peer may take to close after our last PDU; closing first could lose it on the way."""
_LINGER_BYTES: Final = 1 << 20


class ProtocolViolation(Exception):
    """The peer sent what no peer may send; the association is aborted.

    Attributes:
        code: Stable, for logs.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ConnectionEnded(Exception):
    """The peer is gone."""


class AcceptedSocket(AssociationSocket):  # type: ignore[misc]  # pynetdicom publishes no types here
    """A connection that somebody made to us.

    Args:
        association: Whose connection it is.
        tcp: As accepted; belongs to this object from now on.
        limits: What the peer may cost.
    """

    socket: "Any"
    """The connection, with or without TLS; `None` once it is closed."""

    def __init__(self, association: Any, tcp: socket.socket, limits: SocketLimits) -> None:
        super().__init__(association, client_socket=tcp)
        self._limits = limits
        self._buffer = bytearray(6)
        self._waking = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        tcp.setblocking(False)
        limits.configure(tcp)
        self._incoming = select.poll()  # not `select`, which knows no descriptor above 1023
        self._incoming.register(tcp, select.POLLIN)
        self._incoming.register(self._wake, select.POLLIN)

    def handshake(self, context: ssl.SSLContext, deadline: float) -> None:
        """Begin TLS.

        Args:
            context: Of the server.
            deadline: On the monotonic clock.

        Raises:
            OSError: The peer speaks no TLS, or is not trusted, or took too long.
        """
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._until(self.socket.do_handshake, deadline, select.POLLIN)

    def wait_readable(self, timeout_s: float) -> bool:
        """Wait until more comes than `read_pdu` could read; `wake` ends the waiting early."""
        tcp = self.socket
        if tcp is None:
            return False
        _acknowledge(tcp)
        readable = False
        for descriptor, _ in self._incoming.poll(timeout_s * 1000):
            if descriptor == self._wake:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            else:
                readable = True
        return readable

    def wake(self) -> None:
        """Let `wait_readable` return; called by other threads."""
        with self._waking:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def read_pdu(self) -> tuple[int, memoryview] | None:
        """Read one PDU, its header checked before anything else of it is read.

        Returns:
            Its type, and all of it with its header, valid until the next call; None if nothing has come yet.

        Raises:
            ConnectionEnded: The peer closed, or the network failed.
            ProtocolViolation: The PDU is of no known type, longer than allowed, or took too long.
        """
        deadline = time.monotonic() + self._limits.pdu_deadline_s
        try:
            begun = self._read_some(memoryview(self._buffer)[:6])
            if begun == 0:
                return None  # TLS had something to say, not the peer
            self._read_into(memoryview(self._buffer)[begun:6], deadline)
            kind, length = struct.unpack_from(">BxL", self._buffer)
            if kind not in KNOWN_PDUS:
                raise ProtocolViolation("UNKNOWN_PDU")
            if length > self._limits.allowed_bytes(kind):
                raise ProtocolViolation("PDU_TOO_LARGE")
            if len(self._buffer) < 6 + length:
                self._buffer = self._buffer[:6] + bytearray(length)
            view = memoryview(self._buffer)[: 6 + length]
            self._read_into(view[6:], deadline)
        except TimeoutError as error:
            raise ProtocolViolation("PDU_TOO_SLOW") from error
        except OSError as error:
            raise ConnectionEnded from error
        return kind, view

    def send(self, bytestream: bytes) -> None:
        """Send one PDU; a peer that does not take it in time is taken as gone."""
        deadline = time.monotonic() + self._limits.pdu_deadline_s
        view = memoryview(bytestream)
        try:
            while view:
                tcp = self.socket
                if tcp is None:
                    raise ConnectionEnded
                view = view[self._until(partial(tcp.send, view), deadline, select.POLLOUT) :]
        except (OSError, ConnectionEnded):
            self.event_queue.put("Evt17")

    def finish(self) -> None:
        """Say that we send no more, and wait shortly for the peer to close, so that it reads our last PDU."""
        tcp = self.socket
        if tcp is None:
            return
        deadline, remaining = time.monotonic() + _LINGER_S, _LINGER_BYTES
        with suppress(OSError, ConnectionEnded):
            tcp.shutdown(socket.SHUT_WR)
            while remaining > 0:
                remaining -= len(self._until(lambda: tcp.recv(1 << 16) or _ended(), deadline, select.POLLIN))

    def hang_up(self) -> None:
        """End the connection under the thread that waits for it; called by other threads."""
        tcp = self.socket
        if tcp is not None:
            with suppress(OSError):
                socket.socket.shutdown(tcp, socket.SHUT_RDWR)  # past TLS, whose state belongs to the other thread

    def dispose(self) -> None:
        """Close everything; nothing of this object is used afterwards but `wake`."""
        self._shutdown_socket()
        with self._waking:
            if self._wake >= 0:
                os.close(self._wake)
                self._wake = -1

    def _shutdown_socket(self) -> None:
        tcp, self.socket, self._is_connected = self.socket, None, False
        if tcp is not None:
            with suppress(OSError):
                tcp.shutdown(socket.SHUT_RDWR)
            tcp.close()

    def _read_some(self, view: memoryview) -> int:
        """Read what is there; 0 if that is nothing."""
        try:
            count = 0 if self.socket is None else int(self.socket.recv_into(view))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        if not count:
            raise ConnectionEnded
        return count

    def _read_into(self, view: memoryview, deadline: float) -> None:
        tcp = self.socket
        if tcp is None:
            raise ConnectionEnded
        while view:
            count = self._until(partial(tcp.recv_into, view), deadline, select.POLLIN)
            if not count:
                raise ConnectionEnded
            view = view[count:]

    def _until(self, operation: Callable[[], Done], deadline: float, needs: int) -> Done:
        """Repeat an operation until it does not ask to wait."""
        while True:
            try:
                return operation()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as wants:
                event = needs
                if isinstance(wants, ssl.SSLError):
                    event = select.POLLIN if isinstance(wants, ssl.SSLWantReadError) else select.POLLOUT
                self._wait(event, deadline)

    def _wait(self, event: int, deadline: float) -> None:
        tcp = self.socket
        if tcp is None or tcp.fileno() < 0:
            raise ConnectionEnded
        if event == select.POLLIN:
            _acknowledge(tcp)
        waiting = select.poll()
        waiting.register(tcp, event)
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("the peer did not go on in time")


def _acknowledge(tcp: socket.socket) -> None:
    """Send a delayed ACK now: a sender with Nagle's algorithm on, as DCMTK has it, waits 40 ms per object for it."""
    with suppress(OSError):
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _ended() -> bytes:
    raise ConnectionEnded
