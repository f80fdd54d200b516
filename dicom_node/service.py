"""Puts the node together and runs it: self-test, receiver, intake, engine; a clean stop on SIGTERM.

The only place where the parts are wired. No imaging library here: receiving and heavy work happen in child processes
(`network.receiver_process`, `child`), so an idle node is small and a crash in native code cannot take it down.
"""

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import structlog

from dicom_node.audit.shipper import Shipper
from dicom_node.audit.trail import AuditTrail
from dicom_node.cases import CaseFolder
from dicom_node.child import SELF_TEST, run_in_child
from dicom_node.config import NodeSettings
from dicom_node.door_checks import CertificateWatch, check_door
from dicom_node.durable_files import make_directory
from dicom_node.errors import NodeAlreadyRunning, SelfTestFailed
from dicom_node.job_engine import JobEngine
from dicom_node.jobs import JobBook
from dicom_node.network.archive import expected_instances
from dicom_node.network.commitment import CommitmentBook
from dicom_node.network.commitment_service import CommitmentParts
from dicom_node.network.receiver_process import ReceiverParts
from dicom_node.network.receiver_processes import ReceiverProcesses
from dicom_node.received_structures import ReceivedStructures
from dicom_node.reception.intake import Intake
from dicom_node.reception.spool import Spool
from dicom_node.structures import StructureStore

_LOOK_S = 0.5
_STOP_LIMIT_S = 55.0
"""Receivers get 30 s to finish, the engine 5 s; service managers kill after 90 s."""
_COMMITMENTS_KEPT_S = 30 * 86400.0
"""An archive that answers a request for commitment later than this is not believed."""


def serve(settings: NodeSettings) -> None:
    """Run the node until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: a file of the TLS settings cannot be used.
        NodeAlreadyRunning: another node uses the same data directory.
        SelfTestFailed: the engines do not find what the digital thorax holds, or a model must not be used.
    """
    log = structlog.get_logger()
    stopping = _stop_on_signals()
    os.umask(0o077)  # what we keep is patient data
    check_door(settings)
    make_directory(settings.data_dir)
    with sole_owner(settings.data_dir):
        self_test(settings)
        spool = Spool(settings.data_dir / "spool", minimum_free_mb=settings.minimum_free_mb)
        spool.sweep()
        audit = settings.audit_trail()
        CommitmentBook.under(settings.shared_dir).sweep(_COMMITMENTS_KEPT_S)
        engine = JobEngine(settings)
        engine.launch()
        receiver = ReceiverProcesses(_receiver_parts(settings, spool, audit))
        with JobBook(settings.database, settings.cases()) as jobs, _shipped(audit, settings):
            intake = _intake(settings, spool, jobs)
            intake.recover()
            audit.node_started()
            receiver.start()
            log.info("node_ready", ae_title=settings.receiver.ae_title, port=receiver.port)
            _watch(intake, CertificateWatch(settings), stopping)
            log.info("node_stopping")
            _end_for_certain()
            receiver.stop()
            engine.close()
            audit.node_stopped()


def self_test(settings: NodeSettings) -> None:
    """Run the configured engines on the digital thorax and compare with what it holds.

    Raises:
        SelfTestFailed: the answer is wrong, or no answer came.
    """
    folder = CaseFolder(settings.data_dir / "selftest")
    make_directory(folder.path)
    timeout_s = settings.stage_timeout_s
    if run_in_child(SELF_TEST, folder.path, settings.source, timeout_s=timeout_s, stop=lambda: False) != 0:
        outcome = folder.outcome(SELF_TEST) or {}
        code, message = str(outcome.get("code", "")), str(outcome.get("message", ""))
        raise SelfTestFailed(code, message if code == SelfTestFailed.code else f"{code}: {message}")


@contextmanager
def sole_owner(data_dir: Path) -> Iterator[None]:
    """Hold the data directory; the lock goes with the process, however it ends.

    Raises:
        NodeAlreadyRunning: another process holds it.
    """
    with (data_dir / "node.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise NodeAlreadyRunning(str(data_dir)) from fault
        file.write(str(os.getpid()))
        file.flush()
        yield


def _receiver_parts(settings: NodeSettings, spool: Spool, audit: AuditTrail) -> ReceiverParts:
    return ReceiverParts(
        spool.root,
        settings.receiver,
        minimum_free_mb=settings.minimum_free_mb,
        audit=audit,
        services=(CommitmentParts(settings.data_dir, settings.shared_dir, settings.called_entities()),),
        log_level=settings.log_level,
        log_format=settings.log_format,
    )


def _intake(settings: NodeSettings, spool: Spool, jobs: JobBook) -> Intake:
    archive = settings.completeness.count_from
    return Intake.of(
        settings.data_dir,
        settings.cases(),
        spool,
        jobs,
        settings.rules,
        settings.completeness,
        expected_instances=partial(expected_instances, settings.peer(archive)) if archive else None,
        structures=ReceivedStructures(StructureStore.under(settings.shared_dir), settings.subtraction),
        room_mb=2.0 * settings.minimum_free_mb,
    )


@contextmanager
def _shipped(audit: AuditTrail, settings: NodeSettings) -> Iterator[None]:
    """Send the audit trail to the syslog server of the site, if it has one; at the end, what is left."""
    if settings.audit.syslog is None:
        yield
        return
    shipper = Shipper(audit.log_file, settings.audit.syslog)
    shipper.start()
    try:
        yield
    finally:
        shipper.stop()


def _watch(intake: Intake, certificates: CertificateWatch, stopping: threading.Event) -> None:
    log = structlog.get_logger()
    while not stopping.wait(_LOOK_S):
        certificates.look()
        try:
            intake.take_complete()
        except Exception as fault:  # the disk, or a bug; the series stays in the spool and is looked at again
            log.error("intake_failed", code="INTAKE_FAILED", kind=type(fault).__name__)


def _end_for_certain() -> None:
    """End the process after a while, whatever still waits in it; what it was doing is repeated at the next start."""

    def end() -> None:
        structlog.get_logger().error("node_stop_overdue", code="STOP_OVERDUE", after_s=_STOP_LIMIT_S)
        os._exit(1)

    timer = threading.Timer(_STOP_LIMIT_S, end)
    timer.daemon = True
    timer.start()


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping
