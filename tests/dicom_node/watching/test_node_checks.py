"""The checks, made against real receiver processes: with access lists, with TLS, stopped and gone."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage

from dicom_node.jobs.job_rows import QueueState
from dicom_node.network.receiver_process import ReceiverParts
from dicom_node.network.receiver_processes import ReceiverProcesses
from dicom_node.network.tls import TlsSettings
from dicom_node.reception.last_received import LastReceived
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.watching.job_watch import JobsSeen
from dicom_node.watching.node_checks import (
    RECEIVER,
    check_arrivals,
    check_database,
    check_disk,
    check_engines,
    check_oldest_job,
    check_receiver,
    guarded,
)
from tests.certificates import certificates
from tests.peers import associate, free_port
from tests.torture import wire
from tests.torture.wire import Association, Context, NotAssociated

STRANGERS_ONLY = [{"ae_title": "CT1", "networks": ["10.0.0.0/8"]}]


def settings_of(folder: Path, **tables: Any) -> NodeSettings:
    node = {"data_dir": "data", "port": free_port(), "receiver_processes": 1, "minimum_free_mb": 1}
    return parse_settings({"node": node, "watchdog": {"every_s": 1.0}, **tables}, base=folder)


@contextmanager
def receiving(settings: NodeSettings) -> Iterator[ReceiverProcesses]:
    spool = settings.data_dir / "spool"
    receivers = ReceiverProcesses(ReceiverParts(spool, settings.receiver, minimum_free_mb=1, log_format="json"))
    receivers.start()
    try:
        yield receivers
    finally:
        receivers.stop(grace_s=0.2)


def test_the_port_answers_us_though_no_sender_lets_us_in_and_takes_no_image_from_us(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, senders=STRANGERS_ONLY)
    with receiving(settings):
        check = check_receiver(settings)
        assert check.ok, check
        ours = wire_address(settings)
        association = Association.open(ours, (Context(1, wire.CT), Context(3, wire.VERIFICATION)), calling="PERFNODE")
        assert set(association.accepted) == {3}
        assert association.release()
        with pytest.raises(NotAssociated):
            Association.open(ours, (Context(3, wire.VERIFICATION),), calling="STRANGER")


def wire_address(settings: NodeSettings) -> Any:
    from dicom_node.network.addresses import AeAddress

    return AeAddress("PERFNODE", "127.0.0.1", settings.receiver.port)


def test_stopped_receivers_are_noticed_while_the_port_still_takes_connections(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    settings = replace(settings, receiver=replace(settings.receiver, processes=2))
    with receiving(settings) as receivers:
        assert check_receiver(settings).ok
        for pid in receivers.process_ids:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        check = check_receiver(settings)
        took_s = time.monotonic() - began
        for pid in receivers.process_ids:
            os.kill(pid, signal.SIGCONT)
        assert (check.ok, check.code) == (False, "RECEIVER_SILENT")
        assert took_s < 10.0
    assert not check_receiver(settings).ok  # nobody listens any more


@pytest.mark.parametrize("limit", [{"maximum_associations": 1}, {"maximum_connections_per_address": 1}], ids=str)
def test_a_receiver_that_serves_as_many_as_it_may_is_not_stuck(tmp_path: Path, limit: dict[str, int]) -> None:
    settings = settings_of(tmp_path)
    settings = replace(settings, receiver=replace(settings.receiver, **limit))
    with receiving(settings):
        held = Association.open(wire_address(settings), (Context(3, wire.VERIFICATION),), calling="CT1")
        check = check_receiver(settings)
        assert check.ok
        assert "as many as it may" in check.detail
        assert held.release()


def with_tls(settings: NodeSettings, trusted: Path) -> NodeSettings:
    known = certificates()
    tls = TlsSettings(known.server.certificate, known.server.key, trusted, check_host_name=True)
    return replace(settings, receiver=replace(settings.receiver, tls=tls), tls=tls)


def test_a_port_with_tls_answers_us_with_our_own_certificate(tmp_path: Path) -> None:
    settings = with_tls(settings_of(tmp_path, senders=STRANGERS_ONLY), certificates().authority)
    with receiving(settings):
        check = check_receiver(settings)
    assert check.ok
    assert "C-ECHO answered" in check.detail


def test_a_port_that_trusts_only_others_is_seen_to_answer_and_to_be_stuck(tmp_path: Path) -> None:
    settings = with_tls(settings_of(tmp_path), certificates().other_authority)
    with receiving(settings) as receivers:
        check = check_receiver(settings)
        assert check.ok
        assert "without C-ECHO" in check.detail
        for pid in receivers.process_ids:
            os.kill(pid, signal.SIGSTOP)
        assert not check_receiver(settings).ok
        for pid in receivers.process_ids:
            os.kill(pid, signal.SIGCONT)


def test_the_last_image_is_remembered_and_counted_in_working_hours(tmp_path: Path) -> None:
    always = {"working_days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "working_hours": "00:00-24:00"}
    settings = settings_of(tmp_path, watchdog={"quiet_working_hours": 2, **always})
    last = LastReceived.beside(settings.data_dir / "spool")
    settings.data_dir.mkdir()
    last.begin()
    now_s = last.at_s()
    assert check_arrivals(settings, now_s + 3600).ok
    silent = check_arrivals(settings, now_s + 3 * 3600)
    assert (silent.ok, silent.code) == (False, "NOTHING_RECEIVED")
    assert "3.0 working hours" in silent.detail
    os.utime(last.path, (now_s - 7200, now_s - 7200))
    last.begin()
    assert last.at_s() == now_s - 7200  # a start is no image
    never = replace(settings, watchdog=replace(settings.watchdog, quiet_h=0.0))
    assert check_arrivals(never, now_s + 1e6).ok


def test_an_image_sets_the_time_of_the_last_one(tmp_path: Path) -> None:
    from tests.small_ct import write_series

    settings = settings_of(tmp_path)
    files = write_series(tmp_path / "ct", 1)
    with receiving(settings):
        last = LastReceived.beside(settings.data_dir / "spool")
        last.begin()
        os.utime(last.path, (1.0, 1.0))
        assert check_receiver(settings).ok
        assert last.at_s() == 1.0  # an echo is no image
        from dicom_node.network.delivery import Destination, send

        send(files, Destination("node", wire_address(settings), "CT1"))
        associate(wire_address(settings), CTImageStorage).release()
    assert last.at_s() > 1.0


def test_jobs_are_late_by_their_age_and_alerts_are_no_jobs() -> None:
    queues = (QueueState("work", 1, 0, 0, 1000.0), QueueState("alerts", 1, 0, 0, 1.0), QueueState("x", 0, 0, 0, None))
    seen = JobsSeen(queues, {})
    assert check_oldest_job(seen, 1.0, now_s=4500.0).ok
    late = check_oldest_job(seen, 1.0, now_s=4700.0)
    assert (late.ok, late.code, late.since) == (False, "JOB_LATE", "1000")
    assert check_oldest_job(JobsSeen((), {}), 1.0, now_s=1e9).ok
    assert check_oldest_job(None, 1.0).ok  # the database is away, which is another check


def test_database_disk_and_engines(tmp_path: Path) -> None:
    assert not check_database(None).ok
    assert check_database(JobsSeen((), {})).ok
    assert check_disk([tmp_path], 1.0).ok
    assert check_disk([tmp_path], 1e9).code == "DISK_LOW"
    assert not check_disk([tmp_path], 1e9).ok
    assert not check_engines(1, 2).ok
    assert check_engines(2, 2).ok


def test_a_check_that_cannot_be_made_has_failed_and_tells_no_text() -> None:
    def broken() -> Any:
        raise ValueError("ZZCANARY")

    check = guarded(RECEIVER, broken)()
    assert not check.ok
    assert "ZZCANARY" not in check.detail
