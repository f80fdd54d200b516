"""What no peer may send, each kind once: it ends that association, with an A-ABORT and a code in the log."""

import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicom_node.network.access import AccessPolicy, Sender, parse_network
from dicom_node.network.addresses import AeAddress
from dicom_node.network.bounded_sockets import SocketLimits
from dicom_node.network.delivery import Destination, echo
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.reception.spool import Spool
from tests.peers import eventually
from tests.small_ct import CANARY, SERIES, encoded, small_ct
from tests.torture import wire
from tests.torture.wire import Association, Context, NotAssociated

LIMITS = SocketLimits(
    maximum_pdu_bytes=1 << 16,
    maximum_message_bytes=24 << 20,
    large_messages_bytes=4 << 20,
    pdu_deadline_s=1.0,
    message_deadline_s=2.0,
)
CONTEXTS = (Context(1, wire.CT), Context(3, wire.VERIFICATION))
ABORT = 7


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", minimum_free_mb=1)


@pytest.fixture
def receiver(spool: Spool) -> Iterator[Receiver]:
    settings = ReceiverSettings("PERFNODE", port=0, association_timeout_s=5.0, idle_timeout_s=20.0, limits=LIMITS)
    receiver = Receiver(spool, settings)
    receiver.start()
    yield receiver
    receiver.stop(grace_s=0.2)


def address(receiver: Receiver) -> AeAddress:
    return AeAddress("PERFNODE", "127.0.0.1", receiver.port)


def answers(receiver: Receiver) -> float:
    return echo(Destination("node", address(receiver), "SCANNER", response_timeout_s=5.0))


def pdv(context_id: int, control: int, content: bytes = b"", length: int | None = None) -> bytes:
    declared = len(content) + 2 if length is None else length
    return struct.pack(">LBB", declared, context_id, control) + content


STORE = wire.store_command(SERIES + ".1")
ECHO_IN_ONE_PDU = wire.echo_request(3)[6:]
FRAGMENT_WITHOUT_END = wire.pdu(4, pdv(1, 0, bytes(60000)))
WRONG = {
    "unknown PDU type": (wire.pdu(9, bytes(4)), "UNKNOWN_PDU"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "UNKNOWN_PDU"),
    "4 GiB announced": (wire.pdu(4, b"", 0xFFFFFFF0), "PDU_TOO_LARGE"),
    "release of 1 KiB": (wire.pdu(5, bytes(1024)), "PDU_TOO_LARGE"),
    "half a PDU": (wire.pdu(4, bytes(10), 2000), "PDU_TOO_SLOW"),
    "no presentation data value": (wire.pdu(4, b""), "EMPTY_PDU"),
    "empty presentation data value": (wire.pdu(4, pdv(1, 3, length=0)[:4]), "MALFORMED_PDV"),
    "value of one byte": (wire.pdu(4, pdv(1, 3, length=1)), "MALFORMED_PDV"),
    "value longer than its PDU": (wire.pdu(4, pdv(1, 3, b"abc", length=100)), "MALFORMED_PDV"),
    "context that was not accepted": (wire.p_data(7, 1, STORE), "UNKNOWN_CONTEXT"),
    "dataset without command": (wire.p_data(1, 0, b"abcd"), "UNEXPECTED_FRAGMENT"),
    "command within a dataset": (wire.p_data(1, 1, STORE) + wire.p_data(1, 1, STORE), "UNEXPECTED_FRAGMENT"),
    "two contexts in a message": (wire.p_data(1, 1, STORE) + wire.p_data(3, 0, b"abcd"), "MIXED_CONTEXTS"),
    "random bytes as command": (wire.p_data(1, 1, bytes(range(1, 200))), "MALFORMED_COMMAND"),
    "command without fields": (wire.p_data(1, 1, wire.command()), "MALFORMED_COMMAND"),
    "unknown command": (wire.p_data(1, 1, wire.command((0x0100, wire.number(0x7777)))), "MALFORMED_COMMAND"),
    "endless command": (wire.pdu(4, pdv(1, 1, bytes(60000))) * 2, "COMMAND_TOO_LARGE"),
    "many requests in one PDU": (wire.pdu(4, ECHO_IN_ONE_PDU * 100), "TOO_MANY_REQUESTS_AT_ONCE"),
    "storing as Verification": (
        wire.p_data(3, 1, STORE) + wire.p_data(3, 0, encoded(small_ct())),
        "CLASS_NOT_OF_CONTEXT",
    ),
    "message without end": (wire.p_data(1, 1, STORE) + FRAGMENT_WITHOUT_END * 260, "TOO_MANY_LARGE_MESSAGES"),
    "a second association request": (wire.association_request(), "UNEXPECTED_PDU"),
    "an acceptance": (wire.pdu(2, bytes(80)), "UNEXPECTED_PDU"),
    "the answer to a release": (wire.pdu(6, bytes(4)), "UNEXPECTED_PDU"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_no_peer_may_send_ends_its_association_with_an_abort(
    receiver: Receiver, spool: Spool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, code = WRONG[kind]
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    with capture_logs() as events, Association.open(address(receiver), CONTEXTS, timeout_s=5.0) as association:
        try:
            association.tcp.sendall(content)
        except OSError:
            assert kind == "message without end"  # it may be cut off before it has sent all
        else:
            assert association.read()[0] == ABORT
        association.tcp.close()
        assert eventually(lambda: receiver.associations == 0, 3.0)
    aborted = [event for event in events if event["event"] == "association_aborted"]
    assert [event["code"] for event in aborted] == [code]
    assert CANARY not in repr(events)
    assert not died
    assert answers(receiver) < 1.0
    assert spool.series() == []


BEFORE_ASSOCIATION = {
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "UNKNOWN_PDU"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "UNKNOWN_PDU"),
    "data": (wire.p_data(1, 1, STORE), "UNEXPECTED_PDU"),
    "garbage as request": (wire.pdu(1, bytes(range(100))), "MALFORMED_PDU"),
    "4 GiB as request": (wire.pdu(1, b"", 0xFFFFFFF0), "PDU_TOO_LARGE"),
}


@pytest.mark.parametrize("kind", BEFORE_ASSOCIATION)
def test_a_stranger_who_speaks_something_else_gets_an_abort(receiver: Receiver, kind: str) -> None:
    content, code = BEFORE_ASSOCIATION[kind]
    with capture_logs() as events, socket.create_connection(address(receiver).endpoint, 5.0) as tcp:
        tcp.sendall(content)
        assert tcp.recv(1) == bytes([ABORT])
    assert eventually(lambda: code in [event.get("code") for event in events])
    assert answers(receiver) < 1.0


def test_an_instance_is_not_kept_when_the_peer_ends_in_the_middle_of_it(receiver: Receiver, spool: Spool) -> None:
    whole = wire.store_request(1, SERIES + ".1", encoded(small_ct()))
    for cut in range(0, len(whole), 97):
        with Association.open(address(receiver), CONTEXTS) as association:
            association.tcp.sendall(whole[:cut])
            if cut % 2:
                association.reset()
    assert eventually(lambda: receiver.associations == 0)
    assert spool.series() == []


def test_a_message_that_trickles_in_is_cut_at_its_deadline(receiver: Receiver) -> None:
    started = time.monotonic()
    with Association.open(address(receiver), CONTEXTS) as association:
        association.tcp.sendall(wire.p_data(1, 1, STORE))
        with pytest.raises(OSError, match=r"pipe|reset"):
            trickle(association)
    assert 1.5 < time.monotonic() - started < 6.0


def trickle(association: Association) -> None:
    for _ in range(100):
        association.tcp.sendall(wire.pdu(4, pdv(1, 0, b"x")))
        time.sleep(0.05)


def test_a_flood_of_event_reports_starts_no_threads(receiver: Receiver) -> None:
    with Association.open(address(receiver), CONTEXTS) as association:
        association.echo(3)
        before = threading.active_count()
        association.tcp.sendall(wire.event_report(3) * 200)
        peak = max(threading.active_count() for _ in range(50) if time.sleep(0.01) is None)
    assert peak <= before
    assert answers(receiver) < 1.0


def test_one_address_cannot_take_the_places_of_all(spool: Spool) -> None:
    settings = ReceiverSettings("PERFNODE", port=0, maximum_connections_per_address=3, maximum_associations=4)
    receiver = Receiver(spool, settings)
    receiver.start()
    held = [socket.create_connection(address(receiver).endpoint, 5.0, ("127.0.0.2", 0)) for _ in range(5)]
    try:
        assert eventually(lambda: sum(is_closed(tcp) for tcp in held) == 2)
        for source in ("127.0.0.1", "127.0.0.3"):
            with Association.open(address(receiver), CONTEXTS, source=source) as association:
                assert association.echo(3) == 0x0000
                assert association.release()
    finally:
        for tcp in held:
            tcp.close()
        receiver.stop(grace_s=0.2)


def test_silent_connections_from_everywhere_give_way_to_one_that_asks(spool: Spool) -> None:
    settings = ReceiverSettings("PERFNODE", port=0, maximum_associations=2, spare_connections=6)
    receiver = Receiver(spool, settings)
    receiver.start()
    held = [socket.create_connection(address(receiver).endpoint, 5.0, (f"127.0.0.{n}", 0)) for n in range(10, 40)]
    try:
        assert eventually(lambda: sum(is_closed(tcp) for tcp in held) >= 22)
        with Association.open(address(receiver), CONTEXTS) as association:
            for tcp in held:
                tcp.close()
            held = [
                socket.create_connection(address(receiver).endpoint, 5.0, (f"127.0.1.{n}", 0)) for n in range(10, 40)
            ]
            assert association.echo(3) == 0x0000
            assert association.release()
    finally:
        for tcp in held:
            tcp.close()
        receiver.stop(grace_s=0.2)


def is_closed(tcp: socket.socket) -> bool:
    tcp.setblocking(False)
    try:
        return tcp.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_an_address_that_may_not_call_is_closed_before_anything_is_read(spool: Spool) -> None:
    access = AccessPolicy("PERFNODE", senders=(Sender("SCANNER", (parse_network("127.0.0.2/32"),)),))
    receiver = Receiver(spool, ReceiverSettings("PERFNODE", port=0, access=access))
    receiver.start()
    try:
        with capture_logs() as events:
            with socket.create_connection(address(receiver).endpoint, 5.0, ("127.0.0.3", 0)) as stranger:
                assert stranger.recv(1) == b""
            with pytest.raises(NotAssociated, match="PDU 3: 00010103"):
                Association.open(address(receiver), calling="STRANGER", source="127.0.0.2")
            with pytest.raises(NotAssociated, match="PDU 3: 00010107"):
                Association.open(AeAddress("OTHER", *address(receiver).endpoint), calling="SCANNER", source="127.0.0.2")
            with Association.open(address(receiver), calling="SCANNER", source="127.0.0.2") as association:
                assert association.release()
            expected = {"ADDRESS_NOT_ALLOWED", "UNKNOWN_CALLING_AE", "WRONG_CALLED_AE"}
            assert eventually(lambda: {event["code"] for event in events if "code" in event} == expected)
    finally:
        receiver.stop(grace_s=0.2)


class Undecided(AccessPolicy):
    def refusal(self, ip: str, calling: str, called: str) -> None:
        raise ValueError(calling)


def test_who_cannot_be_judged_is_not_let_in(spool: Spool) -> None:
    receiver = Receiver(spool, ReceiverSettings("PERFNODE", port=0, access=Undecided("PERFNODE")))
    receiver.start()
    try:
        with pytest.raises(NotAssociated, match="PDU 3: 00020101"):
            Association.open(address(receiver), CONTEXTS)
    finally:
        receiver.stop(grace_s=0.2)


def test_a_flood_of_refused_connections_is_a_few_lines_in_the_log(spool: Spool) -> None:
    access = AccessPolicy("PERFNODE", senders=(Sender("SCANNER", (parse_network("127.0.0.2/32"),)),))
    receiver = Receiver(spool, ReceiverSettings("PERFNODE", port=0, access=access))
    receiver.start()
    try:
        with capture_logs() as events:
            for _ in range(100):
                socket.create_connection(address(receiver).endpoint, 5.0).close()
            time.sleep(0.3)
        assert 1 <= len([event for event in events if event.get("code") == "ADDRESS_NOT_ALLOWED"]) <= 3
    finally:
        receiver.stop(grace_s=0.2)


def test_more_than_a_thousand_open_files_are_no_obstacle(receiver: Receiver) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        with Association.open(address(receiver), CONTEXTS) as association:
            assert association.tcp.fileno() > 1024
            assert association.store(SERIES + ".1", encoded(small_ct())) == 0x0000
            assert association.release()
        assert answers(receiver) < 1.0
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
