"""What our TLS contexts let in: openssl's client, dcmtk, and certificates of every unwelcome kind."""

import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicom_node.network import tls as tls_module
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, echo
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.network.tls import TLS_1_2_CIPHERS, TlsSettings, days_left
from dicom_node.reception.spool import Spool
from tests.certificates import Identity, certificates, issue
from tests.peers import PEER_ENVIRONMENT, eventually, free_port, listens, program
from tests.small_ct import write_series


def settings_of(identity: Identity | None = None, **changes: object) -> TlsSettings:
    ours = identity or certificates().server
    return TlsSettings(ours.certificate, ours.key, certificates().authority, **changes)  # type: ignore[arg-type]


class Listener:
    """Does the server's half of handshakes, and writes down how they ended."""

    def __init__(self, settings: TlsSettings) -> None:
        self.outcomes: list[str] = []
        self._settings = settings
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                tcp, _ = self._listening.accept()
            except OSError:
                return
            with tcp:
                tcp.settimeout(5)
                self.outcomes.append(self._handshake(tcp))

    def _handshake(self, tcp: socket.socket) -> str:
        try:
            with self._settings.server_context().wrap_socket(tcp, server_side=True) as secured:
                with suppress(OSError):
                    while secured.recv(1024):
                        pass
                return f"{secured.version()} {secured.cipher()[0]}"  # type: ignore[index]
        except ssl.SSLError as fault:
            return fault.reason or "closed"
        except OSError:
            return "closed"


@contextmanager
def listener(settings: TlsSettings) -> Iterator[Listener]:
    made = Listener(settings)
    try:
        yield made
    finally:
        made.close()


def s_client(port: int, *options: str, identity: Identity | None = None, typed: str = "") -> str:
    """What openssl's client says; it sends `typed` and ends."""
    shown = [] if identity is None else ["-cert", str(identity.certificate), "-key", str(identity.key)]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *shown, *options]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def outcome(settings: TlsSettings, *options: str, identity: Identity | None = None) -> str:
    """How the server sees the handshake of openssl's client."""
    with listener(settings) as server:
        s_client(server.port, *options, identity=identity)
        assert eventually(lambda: bool(server.outcomes))
    return server.outcomes[0]


WEAK = ("-cipher", "ALL:COMPLEMENTOFALL@SECLEVEL=0")
VERSIONS = [
    ("1.2", ("-tls1", *WEAK), "UNSUPPORTED_PROTOCOL"),
    ("1.2", ("-tls1_1", *WEAK), "UNSUPPORTED_PROTOCOL"),
    ("1.2", ("-tls1_2",), "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("1.2", ("-tls1_3",), "TLSv1.3 TLS_AES_256_GCM_SHA384"),
    ("1.2", (), "TLSv1.3 TLS_AES_256_GCM_SHA384"),
    ("1.3", ("-tls1_2",), "UNSUPPORTED_PROTOCOL"),
    ("1.3", ("-tls1_3",), "TLSv1.3 TLS_AES_256_GCM_SHA384"),
]


@pytest.mark.parametrize(("minimum", "options", "expected"), VERSIONS)
def test_only_tls_1_2_and_1_3_are_spoken(minimum: str, options: Sequence[str], expected: str) -> None:
    assert outcome(settings_of(minimum_version=minimum), *options, identity=certificates().client) == expected


@pytest.fixture(scope="module")
def rsa() -> Identity:
    return issue(certificates(), "rsa", algorithm="RSA")


@pytest.mark.parametrize("cipher", TLS_1_2_CIPHERS)
def test_the_suites_of_the_profile_are_accepted(cipher: str, rsa: Identity) -> None:
    ours = rsa if "-RSA-" in cipher else certificates().server
    assert outcome(settings_of(ours), "-tls1_2", "-cipher", cipher, identity=certificates().client) == (
        f"TLSv1.2 {cipher}"
    )


REFUSED_CIPHERS = [
    "ECDHE-RSA-AES256-SHA384",  # CBC
    "ECDHE-RSA-AES128-SHA",
    "DHE-RSA-AES256-GCM-SHA384",
    "AES256-GCM-SHA384",  # no forward secrecy
    "AES128-SHA",
    "ECDHE-RSA-NULL-SHA",
    "AECDH-AES256-SHA",  # no certificate
    "ECDHE-RSA-CHACHA20-POLY1305",
]


@pytest.mark.parametrize("cipher", REFUSED_CIPHERS)
def test_other_suites_are_refused(cipher: str, rsa: Identity) -> None:
    options = ("-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert outcome(settings_of(rsa), *options, identity=certificates().client) == "NO_SHARED_CIPHER"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("nobody", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("stranger", "CERTIFICATE_VERIFY_FAILED"),
        ("expired", "CERTIFICATE_VERIFY_FAILED"),
        ("client", "TLSv1"),
    ],
)
def test_a_peer_must_show_a_certificate_that_we_trust_and_that_is_valid(who: str, expected: str, version: str) -> None:
    identity = None if who == "nobody" else getattr(certificates(), who)
    assert outcome(settings_of(), version, identity=identity).startswith(expected)


def test_a_site_may_do_without_client_certificates() -> None:
    assert outcome(settings_of(require_client_certificate=False)).startswith("TLSv1.3")


def test_a_peer_may_be_trusted_by_its_own_certificate_without_its_authority() -> None:
    only_client = replace(settings_of(), trusted=certificates().client.certificate)
    assert outcome(only_client, identity=certificates().client).startswith("TLSv1.3")
    assert outcome(only_client, identity=certificates().server) == "CERTIFICATE_VERIFY_FAILED"


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.0\r\n\r\n", b"\x01\x00\x00\x00\x00\xce" + b"\x00" * 206, b""])
def test_who_does_not_speak_tls_is_refused(sent: bytes) -> None:
    with listener(settings_of()) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as tcp:
            tcp.sendall(sent)
            with suppress(OSError):  # it may have closed the connection already
                tcp.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                assert not tcp.recv(1024).startswith(b"\x02")  # no DICOM answer; at most an alert
        assert eventually(lambda: bool(server.outcomes))
    assert not server.outcomes[0].startswith("TLS")


def test_a_peer_cannot_negotiate_anew() -> None:
    with listener(settings_of()) as server:
        said = s_client(server.port, "-tls1_2", identity=certificates().client, typed="R\n")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said.lower()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_there_are_no_session_tickets_and_no_compression(version: ssl.TLSVersion) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(certificates().authority)
    client.load_cert_chain(certificates().client.certificate, certificates().client.key)
    client.minimum_version = client.maximum_version = version
    with listener(settings_of()) as server:
        tcp = socket.create_connection(("127.0.0.1", server.port))
        with tcp, client.wrap_socket(tcp, server_hostname="localhost") as secured:
            secured.settimeout(0.5)
            with pytest.raises(TimeoutError):
                secured.recv(1)  # in TLS 1.3 tickets come after the handshake
            assert secured.session is None or not secured.session.has_ticket
            assert secured.compression() is None


# -- connections that we open ----------------------------------------------------------------------------------------


@contextmanager
def s_server(identity: Identity, *options: str) -> Iterator[int]:
    """openssl's server."""
    port = free_port()
    shown = ["-cert", str(identity.certificate), "-key", str(identity.key)]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", *shown, *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: listens(port))
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=10)


def connect(settings: TlsSettings, port: int, host: str = "127.0.0.1") -> str | None:
    context = settings.client_context()
    tcp = socket.create_connection(("127.0.0.1", port), timeout=5)
    with tcp, context.wrap_socket(tcp, server_hostname=host) as secured:
        return secured.version()


def test_we_call_a_server_that_we_trust_and_no_other() -> None:
    ours = settings_of(certificates().client)
    with s_server(certificates().server) as port:
        assert connect(ours, port) == "TLSv1.3"
    for identity in (certificates().stranger, certificates().expired):
        with s_server(identity) as port, pytest.raises(ssl.SSLCertVerificationError):
            connect(ours, port)


def test_the_name_of_the_host_is_checked_where_the_site_says_so() -> None:
    loose, strict = (settings_of(certificates().client, check_host_name=check) for check in (False, True))
    with s_server(certificates().server) as port:
        assert connect(loose, port, "pacs.hospital.example") == "TLSv1.3"
        assert connect(strict, port, "localhost") == "TLSv1.3"
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            connect(strict, port, "pacs.hospital.example")


@pytest.mark.parametrize("options", [("-tls1_1", *WEAK), ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256")])
def test_we_do_not_stoop_to_what_an_old_server_speaks(options: Sequence[str]) -> None:
    with s_server(certificates().server, *options) as port, pytest.raises(ssl.SSLError):
        connect(settings_of(certificates().client), port)


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> TlsSettings:
    """Files that a test may spoil."""
    known = certificates()
    copies = [Path(shutil.copy2(path, tmp_path)) for path in (known.server.certificate, known.server.key)]
    return TlsSettings(*copies, Path(shutil.copy2(known.authority, tmp_path)))


def _encrypted(key: Path) -> bytes:
    command = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-passout", "pass:secret"]
    return subprocess.run(command, capture_output=True, check=True).stdout


SPOILED = [
    ("key", lambda own: own.key.unlink(), "server.key cannot be read: No such file"),
    ("trusted", lambda own: own.trusted.unlink(), "authority.pem cannot be read"),
    ("mode", lambda own: own.key.chmod(0o644), r"server.key is open to others \(mode 0644\): make it 0600"),
    ("other key", lambda own: own.key.write_bytes(certificates().client.key.read_bytes()), "is not the key of"),
    ("encrypted", lambda own: own.key.write_bytes(_encrypted(own.key)), "is encrypted"),
    ("no key", lambda own: own.key.write_text("nothing"), "server.key is not a PEM file"),
    ("no certificate", lambda own: own.certificate.write_text("nothing"), "server.pem is not a PEM file"),
    ("no authority", lambda own: own.trusted.write_text("nothing"), "authority.pem is not a PEM file"),
    ("broken", lambda own: own.trusted.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n"), "cannot be used together"),
]


@pytest.mark.parametrize(("name", "spoil", "words"), SPOILED, ids=[name for name, _, _ in SPOILED])
def test_a_file_that_cannot_be_used_is_named(name: str, spoil: object, words: str, own: TlsSettings) -> None:
    assert own.problems() == ()
    spoil(own)  # type: ignore[operator]
    (problem,) = own.problems()
    assert re.search(words, problem), problem


def test_a_key_that_the_group_may_read_is_allowed(own: TlsSettings) -> None:
    """Debian's group ssl-cert."""
    own.key.chmod(0o640)
    assert own.problems() == ()


def test_an_expired_certificate_is_a_problem_with_its_date() -> None:
    (problem,) = settings_of(certificates().expired).problems()
    assert problem.endswith("expired.pem expired on 2024-02-01")


def test_the_end_of_a_certificate_is_the_one_that_openssl_reads() -> None:
    command = ["openssl", "x509", "-noout", "-enddate", "-in", str(certificates().server.certificate)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    expected = datetime.strptime(said, "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert settings_of().expires_at() == expected


@pytest.mark.parametrize(("days", "left"), [(29, 28), (5, 4), (40, None)])
def test_a_certificate_that_ends_within_thirty_days_is_told(days: int, left: int | None) -> None:
    soon = issue(certificates(), f"ends-in-{days}", days=days)
    assert settings_of(soon).problems() == ()
    assert days_left(settings_of(soon)) == left


def test_an_expired_certificate_has_less_than_no_days() -> None:
    left = days_left(settings_of(certificates().expired))
    assert left is not None
    assert left < 0


def _serial(port: int) -> str:
    said = s_client(port, "-showcerts", identity=certificates().client)
    return ssl.PEM_cert_to_DER_cert(said[said.index("-----BEGIN") : said.index("-----END") + 25]).hex()


def test_a_certificate_that_is_replaced_is_used_from_the_next_connection_on(own: TlsSettings) -> None:
    new = issue(certificates(), "renewed", days=60)
    with listener(own) as server:
        before = _serial(server.port)
        assert _serial(server.port) == before
        shutil.copy(new.certificate, own.certificate)
        shutil.copy(new.key, own.key)
        after = _serial(server.port)
    assert before == ssl.PEM_cert_to_DER_cert(certificates().server.certificate.read_text()).hex()
    assert after == ssl.PEM_cert_to_DER_cert(new.certificate.read_text()).hex()


def test_half_a_replacement_leaves_the_old_certificate_in_force(own: TlsSettings) -> None:
    new = issue(certificates(), "half", days=60)
    old = own.server_context()
    shutil.copy(new.certificate, own.certificate)  # its key is not there yet
    with capture_logs() as logs:
        assert own.server_context() is old
    assert [log["code"] for log in logs] == ["TLS_FILES_UNUSABLE"]
    shutil.copy(new.key, own.key)
    assert own.server_context() is not old


def test_a_context_is_made_once_as_long_as_the_files_stay() -> None:
    assert settings_of().server_context() is settings_of().server_context()
    assert settings_of().server_context() is not settings_of().client_context()


def test_files_that_never_worked_are_an_error(own: TlsSettings) -> None:
    own.key.unlink()
    tls_module._kept.pop((own, "server"), None)
    with pytest.raises(OSError, match="No such file"):
        own.server_context()


# -- dcmtk -----------------------------------------------------------------------------------------------------------


def dcmtk(name: str, address: AeAddress, *options: str, files: Sequence[Path] = ()) -> int:
    host, port = address.endpoint
    command = [program(name), "-aec", address.ae_title, *options, host, str(port), *map(str, files)]
    return subprocess.run(command, env=PEER_ENVIRONMENT, capture_output=True, timeout=60, check=False).returncode


def shows(identity: Identity) -> list[str]:
    return ["+tls", str(identity.key), str(identity.certificate), "+cf", str(certificates().authority)]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AeAddress]:
    receiver = Receiver(Spool(tmp_path / "spool"), ReceiverSettings("PERFNODE", port=0, tls=settings_of()))
    receiver.start()
    try:
        yield AeAddress("PERFNODE", "127.0.0.1", receiver.port)
    finally:
        receiver.stop(grace_s=5)


@pytest.mark.peers
@pytest.mark.parametrize("profile", [(), ("--profile-bcp195",), ("--profile-bcp195-ex",)], ids=str)
def test_dcmtk_with_a_certificate_is_let_in(node: AeAddress, profile: Sequence[str]) -> None:
    """By default dcmtk has the non-downgrading profile."""
    assert dcmtk("echoscu", node, *shows(certificates().client), *profile) == 0


@pytest.mark.peers
def test_dcmtk_stores_over_tls(node: AeAddress, tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 3)
    assert dcmtk("storescu", node, *shows(certificates().client), files=files) == 0
    (series,) = Spool(tmp_path / "spool").series()
    assert len(series.instances) == len(files)


@pytest.mark.peers
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--anonymous-tls", "+cf", "AUTHORITY"],
        ["stranger"],
        ["expired"],
        ["client", "--profile-null"],
        ["client", "--profile-aes"],
    ],
    ids=" ".join,
)
def test_dcmtk_without_one_or_with_old_suites_is_not(node: AeAddress, options: list[str]) -> None:
    known = certificates()
    words = [str(known.authority) if word == "AUTHORITY" else word for word in options]
    if words and words[0] in ("stranger", "expired", "client"):
        words = [*shows(getattr(known, words[0])), *words[1:]]
    assert dcmtk("echoscu", node, *words) != 0
    assert dcmtk("echoscu", node, *shows(known.client)) == 0  # and the node still serves the others


@pytest.mark.peers
def test_we_call_dcmtk_with_our_certificate(tmp_path: Path) -> None:
    port = free_port()
    command = [program("storescp"), *shows(certificates().server), "--require-peer-cert", "-od", str(tmp_path)]
    process = subprocess.Popen([*command, str(port)], env=PEER_ENVIRONMENT, stdout=subprocess.DEVNULL)
    try:
        assert eventually(lambda: listens(port))
        peer = Destination("pacs", AeAddress("PACS", "127.0.0.1", port), tls=settings_of(certificates().client))
        assert echo(peer) > 0
        with pytest.raises(Exception, match="cannot be reached"):
            echo(replace(peer, tls=settings_of(certificates().stranger)))
        with pytest.raises(Exception, match="cannot be reached"):
            echo(replace(peer, tls=None))
    finally:
        process.terminate()
        process.wait(10)
