"""Puts the node together and runs it: self-test, receiver, intake, engine; a clean stop on SIGTERM.

The only place where the parts are wired. One process, no imaging library in it: heavy work happens in child processes
(`child`), so an idle node is small and a crash in native code cannot take it down.
"""

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import structlog

from dicom_node.cases import CaseFolder, CaseStore
from dicom_node.child import SELF_TEST, run_in_child
from dicom_node.config import NodeSettings
from dicom_node.durable_files import make_directory
from dicom_node.errors import NodeAlreadyRunning, SelfTestFailed
from dicom_node.job_engine import JobEngine
from dicom_node.jobs import JobBook
from dicom_node.network.receiver import Receiver
from dicom_node.reception.intake import Intake
from dicom_node.reception.spool import Spool

_LOOK_S = 0.5


def serve(settings: NodeSettings) -> None:
    """Run the node until SIGTERM or SIGINT.

    Raises:
        NodeAlreadyRunning: another node uses the same data directory.
        SelfTestFailed: the engines do not find what the digital thorax holds, or a model must not be used.
    """
    log = structlog.get_logger()
    stopping = _stop_on_signals()
    os.umask(0o077)  # what we keep is patient data
    make_directory(settings.data_dir)
    with sole_owner(settings.data_dir):
        self_test(settings)
        spool = Spool(settings.data_dir / "spool", minimum_free_mb=settings.minimum_free_mb)
        spool.sweep()
        engine = JobEngine(settings)
        engine.launch()
        receiver = Receiver(spool, settings.receiver)
        with JobBook(settings.data_dir) as jobs:
            intake = Intake(spool, CaseStore.under(settings.data_dir), jobs, settings.quiet_period_s)
            intake.recover()
            receiver.start()
            log.info("node_ready", ae_title=settings.receiver.ae_title, port=receiver.port)
            _watch(intake, stopping)
            log.info("node_stopping")
            receiver.stop()
        engine.close()


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


def _watch(intake: Intake, stopping: threading.Event) -> None:
    log = structlog.get_logger()
    while not stopping.wait(_LOOK_S):
        try:
            intake.take_complete()
        except Exception as fault:  # the disk, or a bug; the series stays in the spool and is looked at again
            log.error("intake_failed", code="INTAKE_FAILED", kind=type(fault).__name__)


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping
