"""TLS as a hospital configures it: our certificate, whom we trust, and contexts for both directions.

What is offered follows the BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 B.12): TLS 1.2 and
1.3, in 1.2 only ephemeral elliptic curves with AES-GCM (RFC 9325 section 4.2), no compression, no renegotiation. There
are no session tickets, so every association shows its certificate anew. Files that are replaced while the node runs are
used from the next connection on.
"""

import os
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import structlog

log = structlog.get_logger()

Role = Literal["server", "client"]
MinimumVersion = Literal["1.2", "1.3"]

TLS_1_2_CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""The suites that RFC 9325 section 4.2 recommends, of which PS3.15 B.12 asks for; those of TLS 1.3 are OpenSSL's."""

EXPIRY_WARNING: Final = timedelta(days=30)
"""So long before its end a certificate is warned about: hospitals need weeks to issue one."""

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_IGNORE_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which Python has no name."""
_OTHERS_MAY_READ_OR_GROUP_MAY_WRITE: Final = 0o027


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Files of one TLS identity, all PEM.

    Used for what we listen on and for what we connect to.
    """

    certificate: Path
    """Our certificate, with intermediate ones after it."""
    key: Path
    """Its private key, not encrypted, readable by us only."""
    trusted: Path
    """Certificates of the authorities, or of the peers themselves, that we accept."""
    require_client_certificate: bool = True
    """Whether a peer that connects to us must show a certificate that `trusted` accepts."""
    check_host_name: bool = False
    """Whether the certificate of a peer that we connect to must name its host; hospitals often issue others."""
    minimum_version: MinimumVersion = "1.2"
    """1.3 only where every peer has it; most devices in hospitals do not."""

    def server_context(self) -> ssl.SSLContext:
        """For associations that peers open; ask for it anew at each connection.

        Raises:
            OSError: the files cannot be used (`ssl.SSLError` is one) and never could since the process started.
        """
        return _current_context(self, "server")

    def client_context(self) -> ssl.SSLContext:
        """For associations that we open; ask for it anew at each connection.

        Raises:
            OSError: the files cannot be used (`ssl.SSLError` is one) and never could since the process started.
        """
        return _current_context(self, "client")

    def problems(self) -> tuple[str, ...]:
        """What keeps these files from being used now, a sentence each; empty if nothing does."""
        unreadable = [
            f"{path} cannot be read: {fault}"
            for path in dict.fromkeys((self.certificate, self.key, self.trusted))
            if (fault := _why_unreadable(path))
        ]
        if unreadable:
            return tuple(unreadable)
        problems = []
        mode = self.key.stat().st_mode & 0o777
        if mode & _OTHERS_MAY_READ_OR_GROUP_MAY_WRITE:
            problems.append(f"{self.key} is open to others (mode {mode:04o}): make it 0600")
        try:
            if self.expires_at() <= datetime.now(UTC):
                problems.append(f"{self.certificate} expired on {self.expires_at():%Y-%m-%d}")
        except OSError as fault:
            problems.append(self._in_words(fault))
        return tuple(problems)

    def accepts_itself(self) -> bool:
        """Whether a port with these files lets in a peer with these files; not, where only some peers are trusted.

        Raises:
            OSError: the files cannot be used.
        """
        client = _make_context(self, "client")
        client.check_hostname = False
        try:
            _handshake_in_memory(_make_context(self, "server"), client)
        except ssl.SSLError:
            return False
        return True

    def expires_at(self) -> datetime:
        """The end of our certificate, UTC.

        Found by a handshake with ourselves in memory, which also shows that certificate and key serve their purpose.

        Raises:
            OSError: the files cannot be used.
        """
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(self.certificate)
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_IGNORE_TIME)
        server = _make_context(self, "server")
        server.verify_mode = ssl.CERT_NONE
        shown = _handshake_in_memory(server, client).getpeercert()
        if not shown:
            raise ssl.SSLError("the handshake with ourselves did not end")
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)

    def _in_words(self, fault: OSError) -> str:
        reason = getattr(fault, "reason", None) or str(fault)
        if reason == "KEY_VALUES_MISMATCH":
            return f"{self.key} is not the key of {self.certificate}"
        if _is_encrypted(self.key):
            return f"{self.key} is encrypted: the node has nobody to ask for its password"
        if "unsuitable certificate purpose" in str(fault):
            return f"{self.certificate} must not be used by a server (extended key usage)"
        culprit = next((str(p) for p in (self.certificate, self.key, self.trusted) if not _is_pem(p)), None)
        if culprit is not None:
            return f"{culprit} is not a PEM file"
        return f"{self.certificate}, {self.key} and {self.trusted} cannot be used together: {reason}"


def days_left(settings: TlsSettings) -> int | None:
    """Whole days until our certificate ends if that is soon, for a warning; None if it is not, or not known.

    Args:
        settings: whose certificate; files that cannot be read any more count as not known, connections report them.
    """
    with suppress(OSError):
        left = settings.expires_at() - datetime.now(UTC)
        if left < EXPIRY_WARNING:
            return left // timedelta(days=1)
    return None


# -- contexts, kept until a file changes -----------------------------------------------------------------------------

Stamp = tuple[tuple[int, int, int], ...]

_kept: dict[tuple[TlsSettings, Role], tuple[Stamp, ssl.SSLContext]] = {}
_lock = threading.Lock()


def _current_context(settings: TlsSettings, role: Role) -> ssl.SSLContext:
    """A context of the files as they are; while they cannot be used, of the files as they were."""
    with _lock:
        kept = _kept.get((settings, role))
        try:
            stamp = _stamp(settings)
            if kept is not None and kept[0] == stamp:
                return kept[1]
            context = _make_context(settings, role)
        except OSError as fault:
            if kept is None:
                raise
            # Certificate and key cannot be replaced in one step, so this may last for a moment, or be a mistake.
            log.error("tls_files_unusable", code="TLS_FILES_UNUSABLE", kind=type(fault).__name__)
            return kept[1]
        _kept[settings, role] = (stamp, context)
        return context


def _stamp(settings: TlsSettings) -> Stamp:
    facts = [path.stat() for path in (settings.certificate, settings.key, settings.trusted)]
    return tuple((fact.st_mtime_ns, fact.st_size, fact.st_ino) for fact in facts)


def _make_context(settings: TlsSettings, role: Role) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if role == "server" else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[settings.minimum_version]
    context.set_ciphers(":".join(TLS_1_2_CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.load_cert_chain(settings.certificate, settings.key, password="")  # without one OpenSSL would ask a person
    context.load_verify_locations(settings.trusted)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # so that a peer's own certificate can be trusted
    if role == "server":
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_certificate else ssl.CERT_NONE
    else:
        context.check_hostname = settings.check_host_name
    return context


def _handshake_in_memory(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The client's side of a finished handshake."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    for _ in range(4):  # flights of a TLS 1.2 handshake
        for side in (theirs, ours):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return theirs


def _why_unreadable(path: Path) -> str:
    try:
        path.read_bytes()
    except OSError as fault:
        return os.strerror(fault.errno or 0)
    return ""


def _is_pem(path: Path) -> bool:
    return b"-----BEGIN " in path.read_bytes()


def _is_encrypted(key: Path) -> bool:
    return b"ENCRYPTED" in key.read_bytes()
