"""Syslog as PS3.15 asks for it: messages of RFC 5424, sent over TLS (RFC 5425, PS3.15 A.6) or UDP (RFC 5426, A.7).

Written here since no maintained library does it: those on PyPI are handlers for Python's `logging` that drop a message
when the server is away, and their last releases are of 2019 to 2021.
"""

import fcntl
import re
import socket
import ssl
import struct
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

from dicom_node.audit.chain import Link
from dicom_node.audit.message import Outcome

TLS_PORT: Final = 6514
UDP_PORT: Final = 514

_FACILITY: Final = 10
"""Security and authorisation messages (PS3.15 A.6)."""
_NOTICE: Final = 5
_WARNING: Final = 4
_BOM: Final = b"\xef\xbb\xbf"
"""Says that the message is UTF-8 (RFC 5424 section 6.4)."""
_LONGEST_DATAGRAM: Final = 65_507
_CONNECT_S: Final = 10.0
_ACKNOWLEDGED_S: Final = 30.0
_SETTLE_S: Final = 0.5
"""A refusal of our certificate or a closed port comes back this soon, or not at all."""


class TlsIdentity(Protocol):
    """Whoever can make a TLS context for a connection that we open; `network.tls.TlsSettings` does."""

    def client_context(self) -> ssl.SSLContext:
        """With our certificate, and those that we trust."""


@dataclass(frozen=True, slots=True)
class SyslogServer:
    """Where audit messages are sent."""

    transport: Literal["udp", "tls"]
    host: str
    port: int
    tls: TlsIdentity | None = None
    """Needed for `tls`."""

    def __str__(self) -> str:
        return f"{self.transport}://{self.host}:{self.port}"


def syslog_line(xml: str, outcome: Outcome, sent_at: datetime, host: str, process_id: int, link: Link) -> bytes:
    """The SYSLOG-MSG of an audit message (RFC 5424 section 6)."""
    severity = _NOTICE if outcome == Outcome.SUCCESS else _WARNING
    host_name = re.sub(r"[^\x21-\x7e]", "?", host)[:255] or "-"
    stamp = sent_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    header = f"<{_FACILITY * 8 + severity}>1 {stamp} {host_name} perfnode {process_id} DICOM+RFC3881"
    return f"{header} {link.structured_data()} ".encode() + _BOM + xml.encode()


class Connection(Protocol):
    """An open way to a server."""

    def send(self, lines: Sequence[bytes]) -> None:
        """Send messages; when it returns, all that the protocol can tell about their arrival has been waited for.

        Raises:
            OSError: any of them may not have arrived; all must be sent again.
        """

    def close(self) -> None:
        """End it."""


def connect(server: SyslogServer) -> Connection:
    """Open a way to the server.

    Raises:
        OSError: it cannot be reached, or does not show a certificate that we trust.
    """
    return _Datagrams(server) if server.transport == "udp" else _TlsStream(server)


class _Datagrams:
    """RFC 5426: one message per datagram, no acknowledgement."""

    def __init__(self, server: SyslogServer) -> None:
        family, kind, _, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def send(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            self._socket.send(line[:_LONGEST_DATAGRAM])  # cut as PS3.15 A.7 warns; the file has it whole
        time.sleep(_SETTLE_S)  # also the limit of our rate, so that the receiver's buffer does not overflow
        if error := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "the host says that nothing listens there")

    def close(self) -> None:
        self._socket.close()


class _TlsStream:
    """RFC 5425: messages with their length in front. The protocol has no acknowledgement either, but TCP has one."""

    def __init__(self, server: SyslogServer) -> None:
        if server.tls is None:
            raise ValueError("syslog over TLS needs a certificate")
        tcp = socket.create_connection((server.host, server.port), _CONNECT_S)
        try:
            self._socket = server.tls.client_context().wrap_socket(tcp, server_hostname=server.host)
        except BaseException:
            tcp.close()
            raise
        try:
            self._check_open(_SETTLE_S)  # in TLS 1.3 a server that refuses our certificate says so after the handshake
        except BaseException:
            self._socket.close()
            raise

    def send(self, lines: Sequence[bytes]) -> None:
        self._check_open(0.0)
        self._socket.settimeout(_ACKNOWLEDGED_S)
        self._socket.sendall(b"".join(b"%d %s" % (len(line), line) for line in lines))
        deadline = time.monotonic() + _ACKNOWLEDGED_S
        while self._unacknowledged():
            if time.monotonic() > deadline:
                raise TimeoutError("the syslog server does not acknowledge")
            time.sleep(0.01)
        self._check_open(_SETTLE_S)

    def close(self) -> None:
        self._socket.close()

    def _unacknowledged(self) -> int:
        """Bytes that the other side's system has not confirmed (SIOCOUTQ, tcp(7))."""
        answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])

    def _check_open(self, wait_s: float) -> None:
        """Raise `OSError` if the server has closed the connection, or does so within `wait_s`."""
        deadline = time.monotonic() + wait_s
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                if not self._socket.recv(4096):
                    raise ConnectionResetError("the syslog server closed the connection")
            except (TimeoutError, ssl.SSLWantReadError):
                return
