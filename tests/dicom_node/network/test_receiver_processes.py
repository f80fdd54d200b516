"""Several receiver processes on one port: they share the work and the limits, and one that dies is replaced."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from dicom_node.audit.trail import AuditTrail
from dicom_node.errors import DeliveryInterrupted
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, InstanceDelivery, echo, send
from dicom_node.network.receiver import ReceiverSettings
from dicom_node.network.receiver_process import ReceiverParts
from dicom_node.network.receiver_processes import ReceiverProcesses
from dicom_node.network.tls import TlsSettings
from dicom_node.reception.spool import Spool
from tests.certificates import certificates
from tests.peers import eventually, listens
from tests.small_ct import CANARY, SERIES, dataset_bytes, encoded, small_ct, write_series
from tests.torture import wire
from tests.torture.wire import Association, Context, NotAssociated

CONTEXTS = (Context(1, wire.CT), Context(3, wire.VERIFICATION))


def parts(folder: Path, **settings: object) -> ReceiverParts:
    listening = replace(ReceiverSettings("PERFNODE", port=0), **settings)
    return ReceiverParts(folder / "spool", listening, minimum_free_mb=1, log_format="json")


@contextmanager
def running(receive: ReceiverParts, **options: float) -> Iterator[ReceiverProcesses]:
    receivers = ReceiverProcesses(receive, **options)
    receivers.start()
    try:
        yield receivers
    finally:
        receivers.stop(grace_s=0.2)


def address(receivers: ReceiverProcesses) -> AeAddress:
    return AeAddress("PERFNODE", "127.0.0.1", receivers.port)


def destination(receivers: ReceiverProcesses) -> Destination:
    return Destination("node", address(receivers), "SCANNER", response_timeout_s=10.0)


def spool(folder: Path) -> Spool:
    return Spool(folder / "spool", minimum_free_mb=1)


def test_senders_at_the_same_time_are_shared_among_processes(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 40)
    with running(parts(tmp_path)) as receivers:
        held = [Association.open(address(receivers), CONTEXTS) for _ in range(4)]
        served = {pid: len(psutil.Process(pid).net_connections("tcp")) for pid in receivers.process_ids}
        for association in held:
            assert association.release()
        senders = [threading.Thread(target=send, args=(files[n::4], destination(receivers))) for n in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert list(served.values()) == [3, 3]  # two associations each, and the listening socket
    (series,) = spool(tmp_path).series()
    assert sorted(map(dataset_bytes, series.instances)) == sorted(map(dataset_bytes, files))
    assert series.is_complete


def test_limits_hold_over_all_processes_and_a_dead_one_holds_no_places(tmp_path: Path) -> None:
    with (
        running(parts(tmp_path, maximum_associations=2)) as receivers,
        Association.open(address(receivers), CONTEXTS),
        Association.open(address(receivers), CONTEXTS),
    ):
        with pytest.raises(NotAssociated, match="PDU 3: 00020302"):
            Association.open(address(receivers), CONTEXTS)
        os.kill(receivers.process_ids[0], signal.SIGKILL)
        assert eventually(lambda: served(address(receivers)), 5.0)


def served(where: AeAddress) -> bool:
    try:
        with Association.open(where, CONTEXTS, timeout_s=2.0) as association:
            return association.echo(3) == 0x0000 and association.release()
    except NotAssociated:
        return False


def test_a_process_killed_while_receiving_loses_nothing_acknowledged_and_is_replaced(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 120, side=32)
    acknowledged: list[str] = []
    with running(parts(tmp_path, processes=1)) as receivers, capture_logs() as events:
        (victim,) = receivers.process_ids

        def count(instance: InstanceDelivery) -> None:
            acknowledged.append(instance.sop_instance_uid)
            if len(acknowledged) == 25:
                threading.Timer(0.013, os.kill, (victim, signal.SIGKILL)).start()

        with pytest.raises(DeliveryInterrupted):
            send(files, destination(receivers), count)
        (series,) = spool(tmp_path).series()
        assert 25 <= len(acknowledged) <= len(series.instances) < 120
        assert {dataset_bytes(path) for path in series.instances} <= {dataset_bytes(path) for path in files}
        assert series.interrupted
        assert eventually(lambda: receivers.process_ids not in ([], [victim]))
        send(files, destination(receivers))
        (series,) = spool(tmp_path).series()
        assert (len(series.instances), series.is_complete) == (120, True)
    died = [event for event in events if event.get("code") == "PROCESS_DIED"]
    assert [event["how"] for event in died] == ["SIGKILL"]


def test_a_stuck_process_is_replaced_while_others_serve(tmp_path: Path) -> None:
    with running(parts(tmp_path), stuck_after_s=1.0) as receivers, capture_logs() as events:
        stuck = receivers.process_ids[0]
        os.kill(stuck, signal.SIGSTOP)
        assert echo(destination(receivers)) < 1.0
        assert eventually(lambda: len(receivers.process_ids) == 2 and stuck not in receivers.process_ids, 6.0)
    assert "RECEIVER_PROCESS_STUCK" in [event.get("code") for event in events]


def test_stopping_refuses_new_peers_and_lets_a_running_one_finish(tmp_path: Path) -> None:
    receivers = ReceiverProcesses(parts(tmp_path))
    receivers.start()
    port = receivers.port
    with Association.open(address(receivers), CONTEXTS) as association:
        stopping = threading.Thread(target=receivers.stop, kwargs={"grace_s": 10.0})
        stopping.start()
        assert eventually(lambda: not listens(port))
        assert association.store(SERIES + ".1", encoded(small_ct())) == 0x0000
        assert association.release()
        started = time.monotonic()
        stopping.join()
        assert time.monotonic() - started < 5
    assert receivers.process_ids == []
    assert spool(tmp_path).series()[0].is_complete


def test_stopping_aborts_a_peer_that_does_not_finish(tmp_path: Path) -> None:
    with running(parts(tmp_path)) as receivers:
        association = Association.open(address(receivers), CONTEXTS)
        assert association.store(SERIES + ".1", encoded(small_ct())) == 0x0000
    assert association.read()[0] == 7
    association.tcp.close()
    assert spool(tmp_path).series()[0].interrupted


PARENT = """
import sys, threading
from pathlib import Path
from dicom_node.network.receiver import ReceiverSettings
from dicom_node.network.receiver_process import ReceiverParts
from dicom_node.network.receiver_processes import ReceiverProcesses
receivers = ReceiverProcesses(ReceiverParts(Path(sys.argv[1]), ReceiverSettings("PERFNODE", port=0)))
receivers.start()
print("processes", *receivers.process_ids, flush=True)
threading.Event().wait()
"""


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        children = next(line.split()[1:] for line in parent.stdout if line.startswith("processes"))
        processes = [psutil.Process(int(pid)) for pid in children]
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert len(processes) == 2
    assert eventually(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes))


def test_tls_audit_and_logs_work_in_the_processes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own, known = certificates().server, certificates().client
    tls = TlsSettings(own.certificate, own.key, certificates().authority)
    audit = AuditTrail(tmp_path / "audit", "PERFNODE")
    with running(replace(parts(tmp_path, tls=tls), audit=audit)) as receivers:
        context = TlsSettings(known.certificate, known.key, certificates().authority).client_context()
        with Association.open(address(receivers), CONTEXTS, tls=context) as association:
            assert association.store(SERIES + ".1", encoded(small_ct())) == 0x0000
            assert association.release()
        with pytest.raises(NotAssociated):
            Association.open(AeAddress("OTHER", *address(receivers).endpoint), CONTEXTS, tls=context)
    said = capfd.readouterr().err
    assert "association_established" in said
    assert "WRONG_CALLED_AE" in said
    trail = audit.log_file.read_text()
    assert "WRONG_CALLED_AE" in trail
    for secret in (CANARY, "CANARY-ID", SERIES):
        assert secret not in said
    assert CANARY not in trail


def test_what_cannot_work_is_said_at_the_start(tmp_path: Path) -> None:
    missing = TlsSettings(tmp_path / "none.pem", tmp_path / "none.key", tmp_path / "none.pem")
    with pytest.raises(Exception, match=r"none\.|No such file"):
        ReceiverProcesses(parts(tmp_path, tls=missing)).start()
    with running(parts(tmp_path, processes=1)) as receivers, pytest.raises(OSError, match="in use"):
        ReceiverProcesses(parts(tmp_path, port=receivers.port)).start()
