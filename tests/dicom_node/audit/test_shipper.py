"""The audit file on its way to a syslog server: real sockets, real TLS, servers that go away, and rsyslog."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicom_node.audit import shipper, syslog
from dicom_node.audit.chain import verify
from dicom_node.audit.shipper import Shipper
from dicom_node.audit.syslog import SyslogServer
from dicom_node.audit.trail import AuditTrail
from dicom_node.network.tls import TlsSettings
from tests.audit_messages import parse_line
from tests.certificates import Certificates, Identity, certificates
from tests.peers import eventually, free_port
from tests.syslog_receivers import rsyslog, tls_receiver


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that suit loopback."""
    monkeypatch.setattr(shipper, "_LOOK_S", 0.05)
    monkeypatch.setattr(shipper, "_LONGEST_WAIT_S", 0.2)
    monkeypatch.setattr(syslog, "_SETTLE_S", 0.2)


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "audit", "PERFNODE")


def tls_server(port: int, identity: Identity | None = None, trusted: Path | None = None) -> SyslogServer:
    known = certificates()
    ours = identity or known.client
    tls = TlsSettings(ours.certificate, ours.key, trusted or known.authority, check_host_name=True)
    return SyslogServer("tls", "127.0.0.1", port, tls)


def act(trail: AuditTrail, first: int, last: int) -> None:
    for number in range(first, last + 1):
        trail.operator_action("retry", f"case-{number}")


def cases(messages: list[bytes]) -> list[int]:
    """The numbers of `act` in the order of the messages."""
    path = "ParticipantObjectIdentification/@ParticipantObjectID"
    return [int(parse_line(m).value(path).rpartition("-")[2]) for m in messages]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_everything_arrives_in_order_over_tls(trail: AuditTrail, version: str) -> None:
    act(trail, 1, 3)
    with tls_receiver(certificates(), version=version) as receiver:
        running = Shipper(trail.log_file, tls_server(receiver.port))
        running.start()
        act(trail, 4, 5)
        assert eventually(lambda: len(receiver.messages) == 5)
        running.stop()
        assert running.waiting_bytes == 0
    assert cases(receiver.messages) == [1, 2, 3, 4, 5]
    assert b"\n".join(receiver.messages) + b"\n" == trail.log_file.read_bytes()  # with its numbers and hashes


def test_a_server_that_is_away_holds_up_nothing_and_gets_all_when_it_is_back(trail: AuditTrail) -> None:
    port = free_port()
    running = Shipper(trail.log_file, tls_server(port))
    with capture_logs() as logs:
        running.start()
        started = time.monotonic()
        act(trail, 1, 20)
        assert time.monotonic() - started < 2.0
        assert eventually(lambda: any(log["event"] == "audit_not_shipped" for log in logs))
        with tls_receiver(certificates(), port) as receiver:
            assert eventually(lambda: len(receiver.messages) == 20)
            running.stop()
    assert cases(receiver.messages) == list(range(1, 21))


def test_a_restart_continues_where_it_stopped(trail: AuditTrail) -> None:
    act(trail, 1, 3)
    with tls_receiver(certificates()) as receiver:
        for last in (3, 6):
            act(trail, last - 2, last) if last > 3 else None
            running = Shipper(trail.log_file, tls_server(receiver.port))
            running.start()
            running.stop()
    assert cases(receiver.messages) == [1, 2, 3, 4, 5, 6]


def test_what_is_left_at_the_end_is_sent_before_it(trail: AuditTrail) -> None:
    with tls_receiver(certificates()) as receiver:
        running = Shipper(trail.log_file, tls_server(receiver.port))
        running.start()
        trail.node_stopped()
        running.stop()
    assert [parse_line(m).value("EventIdentification/EventTypeCode/@originalText") for m in receiver.messages] == [
        "Application Stop"
    ]


def test_a_server_that_hangs_up_in_the_middle_loses_nothing(trail: AuditTrail) -> None:
    act(trail, 1, 10)
    with tls_receiver(certificates()) as receiver:
        receiver.hangs_up_after = 4
        running = Shipper(trail.log_file, tls_server(receiver.port))
        with capture_logs():
            running.start()
            assert eventually(lambda: len(receiver.messages) >= 4)
            assert running.waiting_bytes > 0
            time.sleep(0.3)
            receiver.hangs_up_after = None
            assert eventually(lambda: running.waiting_bytes == 0)
            running.stop()
    assert sorted(set(cases(receiver.messages))) == list(range(1, 11))  # some twice, none never


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_that_refuses_our_certificate_is_not_taken_for_one_that_has_the_messages(
    trail: AuditTrail, version: str
) -> None:
    """In TLS 1.3 the refusal comes when we have long sent."""
    act(trail, 1, 2)
    with tls_receiver(certificates(), version=version) as receiver, capture_logs() as logs:
        running = Shipper(trail.log_file, tls_server(receiver.port, certificates().stranger))
        running.start()
        assert eventually(lambda: any(log["event"] == "audit_not_shipped" for log in logs))
        running.stop(1.0)
        assert running.waiting_bytes == trail.log_file.stat().st_size
    assert receiver.messages == []


def test_a_server_that_we_do_not_trust_gets_nothing(trail: AuditTrail) -> None:
    act(trail, 1, 1)
    with tls_receiver(certificates()) as receiver, capture_logs() as logs:
        running = Shipper(trail.log_file, tls_server(receiver.port, trusted=certificates().other_authority))
        running.start()
        assert eventually(lambda: any(log["event"] == "audit_not_shipped" for log in logs))
        running.stop(1.0)
    assert receiver.messages == []


@pytest.fixture
def datagrams() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.bind(("127.0.0.1", 0))
        receiving.settimeout(5)
        yield receiving


def test_over_udp_each_message_is_a_datagram(trail: AuditTrail, datagrams: socket.socket) -> None:
    act(trail, 1, 3)
    running = Shipper(trail.log_file, SyslogServer("udp", "127.0.0.1", datagrams.getsockname()[1]))
    running.start()
    assert cases([datagrams.recv(65536) for _ in range(3)]) == [1, 2, 3]
    running.stop()
    assert running.waiting_bytes == 0


def test_over_udp_a_port_on_which_nothing_listens_is_noticed(trail: AuditTrail) -> None:
    act(trail, 1, 1)  # with a second one, sending it would show the fault
    running = Shipper(trail.log_file, SyslogServer("udp", "127.0.0.1", free_port()))
    with capture_logs() as logs:
        running.start()
        assert eventually(lambda: any(log["event"] == "audit_not_shipped" for log in logs))
        running.stop(1.0)
    assert running.waiting_bytes > 0


def test_what_a_crash_left_of_a_line_is_not_sent(trail: AuditTrail, datagrams: socket.socket) -> None:
    act(trail, 1, 2)
    trail.log_file.write_bytes(trail.log_file.read_bytes()[:-40])
    act(trail, 3, 3)
    assert verify(trail.log_file).torn == (2,)
    running = Shipper(trail.log_file, SyslogServer("udp", "127.0.0.1", datagrams.getsockname()[1]))
    running.start()
    assert cases([datagrams.recv(65536) for _ in range(2)]) == [1, 3]
    running.stop()


def test_a_line_that_is_being_written_waits_for_its_end(trail: AuditTrail, datagrams: socket.socket) -> None:
    act(trail, 1, 2)
    content = trail.log_file.read_bytes()
    trail.log_file.write_bytes(content[:-1])
    running = Shipper(trail.log_file, SyslogServer("udp", "127.0.0.1", datagrams.getsockname()[1]))
    running.start()
    assert cases([datagrams.recv(65536)]) == [1]
    trail.log_file.write_bytes(content)
    assert cases([datagrams.recv(65536)]) == [2]
    running.stop()


@pytest.mark.parametrize("position", ["nonsense", json.dumps({"offset": 10**9}), json.dumps([])])
def test_a_position_that_cannot_be_true_means_from_the_start(
    trail: AuditTrail, datagrams: socket.socket, position: str
) -> None:
    act(trail, 1, 2)
    trail.log_file.with_name("shipped.json").write_text(position)
    with capture_logs() as logs:
        running = Shipper(trail.log_file, SyslogServer("udp", "127.0.0.1", datagrams.getsockname()[1]))
    assert [log["log_level"] for log in logs] == ["error"]
    running.start()
    assert cases([datagrams.recv(65536) for _ in range(2)]) == [1, 2]
    running.stop()


def has_lines(file: Path, count: int) -> bool:
    return file.exists() and file.read_bytes().count(b"\n") == count


@pytest.mark.peers
def test_rsyslog_takes_our_messages_over_tls_and_udp(trail: AuditTrail, tmp_path: Path) -> None:
    known: Certificates = certificates()
    act(trail, 1, 3)
    trail.association_refused("10.9.9.9", "Ä\nEVIL", "PERFNODE", "UNKNOWN_CALLING_AE")
    with rsyslog(tmp_path, known) as (tls_port, udp_port, output):
        for round_number, server in enumerate((tls_server(tls_port), SyslogServer("udp", "127.0.0.1", udp_port)), 1):
            trail.log_file.with_name("shipped.json").unlink(missing_ok=True)
            running = Shipper(trail.log_file, server)
            running.start()
            assert eventually(partial(has_lines, output, 4 * round_number)), server
            running.stop()
            lines = [line.split("|", 5) for line in output.read_text("utf-8").splitlines()[-4:]]
            assert {tuple(line[:2]) for line in lines} == {(socket.gethostname(), "perfnode")}
            assert {line[3] for line in lines} == {"DICOM+RFC3881"}
            assert [line[4].split('"')[1] for line in lines] == ["1", "2", "3", "4"]
            assert all(line[5].lstrip("\ufeff").startswith("<?xml") for line in lines)
            assert "\\x0aEVIL" in lines[3][5]
        with capture_logs() as logs:
            trail.log_file.with_name("shipped.json").unlink()
            refused = Shipper(trail.log_file, tls_server(tls_port, known.stranger))
            refused.start()
            assert eventually(lambda: any(log["event"] == "audit_not_shipped" for log in logs))
            refused.stop(1.0)
            assert refused.waiting_bytes > 0


def test_nothing_is_lost_or_torn_while_several_threads_write(trail: AuditTrail, datagrams: socket.socket) -> None:
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    running = Shipper(trail.log_file, SyslogServer("udp", "127.0.0.1", datagrams.getsockname()[1]))
    running.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: trail.operator_action("retry", f"case-{n}"), range(200)))
    received = [datagrams.recv(65536) for _ in range(200)]
    running.stop()
    assert sorted(cases(received)) == list(range(200))
    assert b"\n".join(received) + b"\n" == trail.log_file.read_bytes()
