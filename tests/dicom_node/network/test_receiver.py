"""The receiver on real sockets: Success only for what is on disk, whatever the peer does."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage, RTPlanStorage, Verification
from structlog.testing import capture_logs

from dicom_node.errors import DeliveryInterrupted, PeerUnreachable, SpoolFull, StoreRefused
from dicom_node.network.access import AccessPolicy, Sender, parse_network
from dicom_node.network.addresses import AeAddress
from dicom_node.network.bounded_sockets import SocketLimits
from dicom_node.network.delivery import Destination, InstanceDelivery, echo, send
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.reception.spool import Spool
from tests import peers
from tests.peers import eventually, listens, program, store_bytes, storescu
from tests.small_ct import CANARY, SERIES, dataset_bytes, encoded, small_ct, write_series

QUICK = SocketLimits(maximum_pdu_bytes=1 << 18, maximum_message_bytes=1 << 20, pdu_deadline_s=0.8)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", minimum_free_mb=1)


@pytest.fixture
def receiver(spool: Spool) -> Iterator[Receiver]:
    settings = ReceiverSettings(
        "PERFNODE", port=0, maximum_associations=4, association_timeout_s=0.8, idle_timeout_s=20.0, limits=QUICK
    )
    receiver = Receiver(spool, settings)
    receiver.start()
    yield receiver
    receiver.stop(grace_s=0.2)


def address(receiver: Receiver) -> AeAddress:
    return AeAddress("PERFNODE", "127.0.0.1", receiver.port)


def destination(receiver: Receiver) -> Destination:
    return Destination("node", address(receiver), "SCANNER", response_timeout_s=10.0)


def associate(receiver: Receiver, calling_ae_title: str = "SCANNER") -> Association:
    return peers.associate(address(receiver), calling_ae_title=calling_ae_title)


def is_idle(receiver: Receiver) -> bool:
    return eventually(lambda: receiver.associations == 0)


@pytest.mark.peers
def test_what_storescu_sends_is_kept_byte_for_byte(receiver: Receiver, spool: Spool, tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 5, side=64)
    sent = storescu(address(receiver), files, "-aet", "SCANNER", "-xe")
    assert sent.returncode == 0, sent.stderr
    (series,) = spool.series()
    assert sorted(map(dataset_bytes, series.instances)) == sorted(map(dataset_bytes, files))
    assert series.is_complete
    assert series.calling_ae_titles == ("SCANNER",)


@pytest.mark.peers
def test_storescu_with_a_wrong_called_ae_title_is_rejected(receiver: Receiver, spool: Spool, tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 1)
    wrong = AeAddress("OTHER", "127.0.0.1", receiver.port)
    sent = storescu(wrong, files)
    assert sent.returncode != 0
    assert "Called AE Title Not Recognized" in sent.stderr
    assert spool.series() == []


def test_only_listed_calling_ae_titles_are_accepted(spool: Spool) -> None:
    access = AccessPolicy("PERFNODE", senders=(Sender("SCANNER", (parse_network("127.0.0.0/8"),)),))
    receiver = Receiver(spool, ReceiverSettings("PERFNODE", port=0, access=access))
    receiver.start()
    try:
        assert peers.rejection(address(receiver), "STRANGER") == (1, 1, 3)
        good = associate(receiver, "SCANNER")
        assert good.is_established
        good.release()
    finally:
        receiver.stop()


def test_the_node_answers_an_echo(receiver: Receiver) -> None:
    assert 0 < echo(destination(receiver)) < 5


def test_lossy_deflated_and_foreign_contexts_are_refused(receiver: Receiver) -> None:
    contexts = [
        build_context(Verification),
        build_context(CTImageStorage, DeflatedExplicitVRLittleEndian),
        build_context(CTImageStorage, "1.2.840.10008.1.2.4.50"),
        build_context(RTPlanStorage, ImplicitVRLittleEndian),
    ]
    association = AE().associate("127.0.0.1", receiver.port, contexts, ae_title="PERFNODE")
    assert [str(context.abstract_syntax) for context in association.accepted_contexts] == [Verification]
    association.release()


REFUSED = {
    "cut off": (SERIES + ".1", encoded(small_ct())[:-8], 0xC000),
    "random bytes": (SERIES + ".1", bytes(range(256)) * 4, 0xC000),
    "another instance": (SERIES + ".9", encoded(small_ct()), 0xA900),
    "path as uid": ("../../../../etc/x", encoded(small_ct()), 0xA900),
    "no series": (SERIES + ".1", encoded(small_ct(series="1.2.3")).replace(b"\x0e\0UI", b"\x0f\0UI", 1), None),
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_complete_instance_never_gets_success(receiver: Receiver, spool: Spool, case: str) -> None:
    uid, content, expected = REFUSED[case]
    association = associate(receiver)
    status = store_bytes(association, CTImageStorage, uid, content)
    assert status != 0x0000
    assert expected is None or status == expected
    if association.is_established:
        association.release()
    assert is_idle(receiver)
    assert spool.series() == []
    assert [path for path in spool.root.rglob("*") if path.is_file()] == []


def test_other_content_under_a_known_uid_gets_a_failure_and_the_first_one_stays(
    receiver: Receiver, spool: Spool
) -> None:
    association = associate(receiver)
    first, second = small_ct(fill=1), small_ct(fill=2)
    statuses = [
        store_bytes(association, CTImageStorage, SERIES + ".1", encoded(dataset)) for dataset in (first, first, second)
    ]
    association.release()
    assert statuses == [0x0000, 0x0000, 0xC001]
    (series,) = spool.series()
    assert dataset_bytes(series.instances[0]) == encoded(first)


def test_a_full_disk_is_answered_out_of_resources(tmp_path: Path) -> None:
    receiver = Receiver(Spool(tmp_path, minimum_free_mb=1e12), ReceiverSettings("PERFNODE", port=0))
    receiver.start()
    try:
        files = write_series(tmp_path / "ct", 1)
        with pytest.raises(StoreRefused) as caught:
            send(files, destination(receiver))
        assert (caught.value.status, caught.value.permanent) == (0xA700, SpoolFull.permanent)
    finally:
        receiver.stop()


@pytest.mark.parametrize("how", ["abort", "network loss"])
def test_a_transfer_that_breaks_off_blocks_the_series_until_it_is_sent_again(
    receiver: Receiver, spool: Spool, tmp_path: Path, how: str
) -> None:
    files = write_series(tmp_path / "ct", 3)
    association = associate(receiver)
    assert [association.send_c_store(path).Status for path in files[:2]] == [0, 0]
    if how == "abort":
        association.abort()
    else:
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    assert is_idle(receiver)
    (series,) = spool.series()
    assert series.interrupted
    assert not series.is_complete
    send(files, destination(receiver))
    (series,) = spool.series()
    assert series.is_complete
    assert len(series.instances) == 3


def test_series_of_interleaved_senders_are_kept_apart(receiver: Receiver, spool: Spool, tmp_path: Path) -> None:
    one = write_series(tmp_path / "one", 4, series="1.2.1")
    two = write_series(tmp_path / "two", 4, series="1.2.2")
    batches = [one[:2] + two[:2], two[2:] + one[2:], one, two]
    senders = [threading.Thread(target=send, args=(batch, destination(receiver))) for batch in batches]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert [(len(series.instances), series.is_complete) for series in spool.series()] == [(4, True), (4, True)]


CHILD = """
import sys, threading
from pathlib import Path
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.reception.spool import Spool
receiver = Receiver(Spool(Path(sys.argv[1]), minimum_free_mb=1), ReceiverSettings("PERFNODE", port=0))
receiver.start()
print("port", receiver.port, flush=True)
threading.Event().wait()
"""


def test_kill_9_during_a_transfer_loses_nothing_acknowledged_and_blocks_the_series(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 400, side=32)
    root = tmp_path / "spool"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(root)], stdout=subprocess.PIPE, text=True)
    acknowledged: list[str] = []

    def count(instance: InstanceDelivery) -> None:
        acknowledged.append(instance.sop_instance_uid)
        if len(acknowledged) == 25:
            threading.Timer(0.013, child.send_signal, (signal.SIGKILL,)).start()

    try:
        assert child.stdout is not None
        port = next(int(line.split()[1]) for line in child.stdout if line.startswith("port"))
        with pytest.raises(DeliveryInterrupted):
            send(files, Destination("node", AeAddress("PERFNODE", "127.0.0.1", port)), count)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    spool = Spool(root, minimum_free_mb=1)
    spool.sweep()
    (series,) = spool.series()
    assert 25 <= len(acknowledged) <= len(series.instances) < 400
    sent = {dataset_bytes(path) for path in files}
    assert all(dataset_bytes(path) in sent for path in series.instances)
    assert series.interrupted
    receiver = Receiver(spool, ReceiverSettings("PERFNODE", port=0))
    receiver.start()
    send(files, destination(receiver))
    receiver.stop()
    (series,) = spool.series()
    assert (len(series.instances), series.is_complete) == (400, True)


BAD_STARTS = {
    "silent": b"",
    "one byte": b"\x01",
    "half an association request": b"\x01\x00\x00\x00\x10\x00" + b"\0" * 40,
    "4 GiB announced": b"\x01\x00\xff\xff\xff\xf0" + b"\0" * 4096,
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("start", BAD_STARTS)
def test_stalled_and_foreign_clients_are_closed_and_block_nobody(receiver: Receiver, start: str) -> None:
    threads_before = threading.active_count()
    clients = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(12)]
    try:
        for client in clients:
            client.sendall(BAD_STARTS[start])
        assert echo(destination(receiver)) < 1.0
        for client in clients:
            client.settimeout(10.0)
            try:
                while client.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    finally:
        for client in clients:
            client.close()
    assert eventually(lambda: threading.active_count() <= threads_before)


@pytest.mark.parametrize("tail", ["half a PDU", "oversized PDU", "message without end"])
def test_an_association_that_stalls_or_floods_is_ended(receiver: Receiver, spool: Spool, tail: str) -> None:
    association = associate(receiver)
    assert store_bytes(association, CTImageStorage, SERIES + ".1", encoded(small_ct())) == 0x0000
    tcp = association.dul.socket.socket
    if tail == "half a PDU":
        tcp.sendall(b"\x04\x00\x00\x01\x00\x00" + b"\0" * 10)
    elif tail == "oversized PDU":
        tcp.sendall(b"\x04\x00\x00\x10\x00\x00" + b"\0" * 10)
    else:
        fragment = b"\x04\x00\x00\x02\x00\x06" + b"\x00\x02\x00\x02" + b"\x01\x00" + b"\0" * 0x20000
        with pytest.raises(OSError, match=r"Broken pipe|reset by peer|Bad file descriptor"):
            tcp.sendall(fragment * 256)
    assert echo(destination(receiver)) < 1.0
    assert is_idle(receiver)
    assert spool.series()[0].interrupted
    if association.is_established:
        association.abort()


def test_a_pdu_that_drips_in_is_cut_at_its_deadline(receiver: Receiver) -> None:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", receiver.port)) as client:
        client.sendall(b"\x01\x00\x00\x00\x10\x00")
        with pytest.raises(OSError, match=r"Broken pipe|reset by peer|Bad file descriptor"):
            drip(client)
    assert 0.5 < time.monotonic() - started < 3.0


def drip(client: socket.socket) -> None:
    for _ in range(100):
        client.sendall(b"\0")
        time.sleep(0.05)


def test_more_associations_than_allowed_are_rejected_not_queued(receiver: Receiver) -> None:
    held = [associate(receiver) for _ in range(4)]
    assert all(association.is_established for association in held)
    assert peers.rejection(address(receiver)) == (2, 3, 2)
    for association in held:
        association.release()
    assert is_idle(receiver)
    again = associate(receiver)
    assert again.is_established
    again.release()


def test_stopping_refuses_new_peers_and_lets_a_running_one_finish(receiver: Receiver, spool: Spool) -> None:
    association, port = associate(receiver), receiver.port
    stopping = threading.Thread(target=receiver.stop, kwargs={"grace_s": 10.0})
    stopping.start()
    assert eventually(lambda: not listens(port))
    assert store_bytes(association, CTImageStorage, SERIES + ".1", encoded(small_ct())) == 0x0000
    association.release()
    started = time.monotonic()
    stopping.join()
    assert time.monotonic() - started < 5
    assert spool.series()[0].is_complete


def test_stopping_aborts_a_peer_that_does_not_finish(receiver: Receiver, spool: Spool) -> None:
    association = associate(receiver)
    store_bytes(association, CTImageStorage, SERIES + ".1", encoded(small_ct()))
    receiver.stop(grace_s=0.2)
    assert eventually(lambda: association.is_aborted)
    assert spool.series()[0].interrupted


def test_two_receivers_cannot_share_a_port(receiver: Receiver, spool: Spool) -> None:
    with pytest.raises(OSError, match="in use"):
        Receiver(spool, ReceiverSettings("PERFNODE", port=receiver.port)).start()


def test_logs_name_codes_and_no_patient(receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    files = write_series(tmp_path / "ct", 2)
    with capture_logs() as events:
        send(files, destination(receiver))
        association = associate(receiver)
        store_bytes(association, CTImageStorage, SERIES + ".1", encoded(small_ct(fill=7)))
        store_bytes(association, CTImageStorage, SERIES + ".1", encoded(small_ct())[:-3])
        association.abort()
        assert is_idle(receiver)
    assert {"INSTANCE_CONFLICT", "INVALID_INSTANCE"} <= {event.get("code") for event in events}
    text = repr(events) + caplog.text
    for secret in (CANARY, "CANARY-ID", SERIES, small_ct().StudyInstanceUID):
        assert secret not in text


def test_an_unreachable_node_is_named_as_such(receiver: Receiver) -> None:
    target = destination(receiver)
    receiver.stop()
    with pytest.raises(PeerUnreachable):
        echo(target)


def test_the_peers_of_these_tests_are_not_the_virtual_environments() -> None:
    assert Path(program("storescu")).parent != Path(sys.executable).parent
    assert os.access(program("storescu"), os.X_OK)
