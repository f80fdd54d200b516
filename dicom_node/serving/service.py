"""Puts the node together and runs it: a supervisor of processes, which does no work itself; a clean stop on SIGTERM.

    perfnode serve ─┬─ receiver processes                       role receiver: instances into the spool
                    ├─ intake, chores, status page: threads     role receiver; all roles; role web
                    ├─ page process                             role web: the operator's page
                    └─ engine processes ── stage processes      roles worker and sender: the queues

The only place where the parts are wired. What may crash, hang or be killed for memory is a process of its own and is
started again; whatever ends, the others go on.
"""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import structlog

from dicom_node.commissioning.self_test_timer import SelfTestTimer
from dicom_node.durable_files import make_directory
from dicom_node.errors import NodeAlreadyRunning, SelfTestFailed
from dicom_node.jobs.cases import CaseFolder
from dicom_node.keeping import retention
from dicom_node.metrics import begin_counting
from dicom_node.named_locks import NamedLocks
from dicom_node.processes.programs import PROGRAMS, Programs
from dicom_node.processes.roles import ALL_ROLES, Role
from dicom_node.review import returned_watch, series_log
from dicom_node.serving.audit_shipping import shipped
from dicom_node.serving.door_checks import CertificateWatch, check_door
from dicom_node.serving.receiving import Receiving
from dicom_node.serving.supervisor import Supervisor
from dicom_node.serving.web_page import WebPage
from dicom_node.settings.alert_settings import AlertEvent
from dicom_node.settings.config import NodeSettings
from dicom_node.watching import line_watch
from dicom_node.watching.alerts import Happening, tell_at_once
from dicom_node.watching.chores import Chore, Chores
from dicom_node.watching.node_watch import NodeWatch
from dicom_node.work.child import SELF_TEST
from dicom_node.work.stage_process import run_in_child

_LOOK_S = 0.2
_STOP_LIMIT_S = 55.0
"""Receivers get 30 s to finish, the engine 5 s; service managers kill after 90 s."""


def serve(
    settings: NodeSettings,
    roles: Collection[Role] = ALL_ROLES,
    *,
    name: str = "1",
    programs: Programs = PROGRAMS,
) -> None:
    """Run the node until SIGTERM or SIGINT.

    Args:
        settings: of the node.
        roles: what this host does.
        name: tells several `serve` of one host apart.
        programs: what is started for engine and stages.

    Raises:
        ConfigurationError: a file of the TLS settings cannot be used.
        NodeAlreadyRunning: another process of this name, or another receiver, uses the same data directory.
        PortInUse: the page cannot listen where the site wants it.
        SelfTestFailed: the engines do not find what the digital thorax holds, or a model must not be used.
    """
    stopping = _stop_on_signals()
    os.umask(0o077)  # what we keep is patient data
    check_door(settings)
    make_directory(settings.data_dir)
    with sole_owner(settings.data_dir, name, roles):
        begin_counting(settings.data_dir, name)
        if Role.WORKER in roles:
            _tested(settings, name, programs)
        _run(settings, frozenset(roles), name, programs, stopping)


def _run(
    settings: NodeSettings, roles: frozenset[Role], name: str, programs: Programs, stopping: threading.Event
) -> None:
    log, audit = structlog.get_logger(), settings.audit_trail()
    supervisor = Supervisor(settings, roles, name, programs)
    receiving = Receiving(settings, audit) if Role.RECEIVER in roles else None
    page = WebPage(settings, roles, programs)
    watch = NodeWatch(
        settings,
        roles,
        port=lambda: receiving.port if receiving else 0,
        engines=lambda: len(supervisor.process_ids),
        wanted_engines=supervisor.wanted,
    )
    chores = Chores([*_chores(settings, roles), *watch.chores], NamedLocks(settings.database, settings.data_dir))
    with ExitStack() as parts:
        parts.enter_context(shipped(audit, settings))
        audit.node_started()
        parts.callback(audit.node_stopped)
        supervisor.start()
        parts.callback(supervisor.stop)
        if receiving is not None:
            receiving.start()
            parts.callback(receiving.stop)
        chores.start()
        parts.callback(chores.stop)
        # A part that stops when the node does is entered into `parts` here.
        page.start()
        parts.callback(page.stop)
        watch.start()
        parts.callback(watch.stop)
        port = receiving.port if receiving is not None else None
        log.info("node_ready", ae_title=settings.receiver.ae_title, port=port, roles=sorted(roles))
        looks = (supervisor.look, page.look, CertificateWatch(settings).look, watch.watchdog.beat)
        _watch(looks, stopping)
        log.info("node_stopping")
        _end_for_certain()
        supervisor.begin_stop()


def _chores(settings: NodeSettings, roles: frozenset[Role]) -> list[Chore]:
    """What comes round on this host."""
    sending = [line_watch.chore(settings)] if Role.SENDER in roles else []
    testing = SelfTestTimer(settings).chores() if Role.RECEIVER in roles else []
    return [
        retention.chore(settings),
        returned_watch.chore(settings),
        series_log.chore(settings),
        *sending,
        *testing,
    ]


def _tested(settings: NodeSettings, name: str, programs: Programs) -> None:
    """Self-test; who wants to know hears of its failure now, since the node that failed sends nothing later."""
    try:
        self_test(settings, name, programs)
    except SelfTestFailed as fault:
        tell_at_once(settings, Happening(AlertEvent.NODE, f"self-test {time.time()}", fault.code, str(fault)))
        raise


def self_test(settings: NodeSettings, name: str = "1", programs: Programs = PROGRAMS) -> None:
    """Run the configured engines on the digital thorax and compare with what it holds.

    Raises:
        SelfTestFailed: the answer is wrong, or no answer came.
    """
    # Of its own: several `serve` of one host may start at the same time.
    folder = CaseFolder(settings.data_dir / "selftest" / name)
    make_directory(folder.path)
    ended = run_in_child(
        SELF_TEST,
        folder.path,
        settings.source,
        timeout_s=settings.limits.timeout_s,
        stop=lambda: False,
        program=programs.stage,
    )
    if ended != 0:
        outcome = folder.outcome(SELF_TEST) or {}
        code, message = str(outcome.get("code", "")), str(outcome.get("message", ""))
        raise SelfTestFailed(code, message if code == SelfTestFailed.code else f"{code}: {message}")


@contextmanager
def sole_owner(data_dir: Path, name: str, roles: Collection[Role]) -> Iterator[None]:
    """Hold the data directory under this name, and its spool if we receive; the locks go with the process.

    Raises:
        NodeAlreadyRunning: another process holds one of them.
    """
    with ExitStack() as locks:
        for lock in [f"node-{name}.lock", *(["node.lock"] if Role.RECEIVER in roles else [])]:
            file = locks.enter_context((data_dir / lock).open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as fault:
                raise NodeAlreadyRunning(str(data_dir)) from fault
            file.write(str(os.getpid()))
            file.flush()
        yield


def _watch(looks: Collection[Callable[[], None]], stopping: threading.Event) -> None:
    while not stopping.wait(_LOOK_S):
        for look in looks:
            look()


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
