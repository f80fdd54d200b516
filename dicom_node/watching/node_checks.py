"""The checks of a node: does it receive, work and send, and is anything late? `watchdog` makes them again and again.

Each gives a `Check` and none raises; what it says holds no patient data. `docs/operating.md` lists them.
"""

import shutil
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from dicom_node.constancy.stop import SELF_TEST_FAILED, VerdictFile
from dicom_node.errors import DeliveryError
from dicom_node.network.addresses import AeAddress
from dicom_node.network.requestor import Peer
from dicom_node.reception.last_received import LastReceived
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.job_watch import JobsSeen

Look = Callable[[], "Check"]


class Weight(StrEnum):
    """What follows from a check that fails."""

    VITAL = "vital"
    """The node cannot serve, and a new start may help: after some failures in a row it ends itself."""
    READY = "ready"
    """The node is not ready; somebody is told."""
    LATE = "late"
    """The node is ready; somebody is told that something is late."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one look found."""

    name: str
    ok: bool
    weight: Weight
    code: str = ""
    """Why not; empty if it is well."""
    detail: str = ""
    """A sentence."""
    since: str = ""
    """Tells one time of trouble from the next of the same kind, where the check knows that itself."""


@dataclass(frozen=True, slots=True)
class CheckKind:
    """One line of the documentation."""

    name: str
    weight: Weight
    code: str
    question: str


RECEIVER: Final = CheckKind(
    "receiver",
    Weight.VITAL,
    "RECEIVER_SILENT",
    "Does our own port answer a C-ECHO, called as a peer does?",
)
SUPERVISOR: Final = CheckKind(
    "supervisor",
    Weight.VITAL,
    "SUPERVISOR_STUCK",
    "Does the main loop, which takes series and starts processes, turn?",
)
DATABASE: Final = CheckKind("database", Weight.READY, "DATABASE_AWAY", "Can the job database be asked?")
DISK: Final = CheckKind("disk", Weight.READY, "DISK_LOW", "Is more disk free than `minimum_free_mb`?")
ENGINES: Final = CheckKind("engines", Weight.READY, "ENGINE_DOWN", "Does every process that works on cases run?")
OLDEST_JOB: Final = CheckKind(
    "oldest-job", Weight.LATE, "JOB_LATE", "Is the oldest job younger than `watchdog.oldest_job_h`?"
)
ARRIVALS: Final = CheckKind(
    "arrivals", Weight.LATE, "NOTHING_RECEIVED", "Did an image come within `watchdog.quiet_working_hours`?"
)
ANSWER: Final = CheckKind(
    "answer", Weight.READY, SELF_TEST_FAILED, "Did the last self-test through the port find the answer it should?"
)
SELF_TEST: Final = CheckKind(
    "self-test",
    Weight.LATE,
    "SELF_TEST_LATE",
    "Did a self-test through the port give an answer within two intervals of `self_test.every_h`?",
)
KINDS: Final = (RECEIVER, SUPERVISOR, DATABASE, DISK, ENGINES, ANSWER, OLDEST_JOB, ARRIVALS, SELF_TEST)
"""Every check that there is."""


def passed(kind: CheckKind, detail: str = "") -> Check:
    """A check that found nothing."""
    return Check(kind.name, ok=True, weight=kind.weight, detail=detail)


def failed(kind: CheckKind, detail: str, since: str = "") -> Check:
    """A check that found what it looks for."""
    return Check(kind.name, ok=False, weight=kind.weight, code=kind.code, detail=detail, since=since)


def check_receiver(settings: NodeSettings, port: int | None = None) -> Check:
    """Call our own port: connection, TLS, association and C-ECHO, under our own AE title.

    Args:
        settings: of the node.
        port: where it listens, if the system chose that.
    """
    from dicom_node.network.delivery import echo

    receiver, timeout_s = settings.receiver, settings.watchdog.echo_timeout_s
    host, port = own_host(receiver.host), port or receiver.port
    tls = receiver.tls and replace(receiver.tls, check_host_name=False)
    try:
        if tls is not None and not tls.accepts_itself():
            return _check_tls_port(host, port, timeout_s)
        address = AeAddress(receiver.ae_title, f"[{host}]" if ":" in host else host, port)
        took_s = echo(Peer("self", address, receiver.ae_title, timeout_s, timeout_s, timeout_s, tls))
    except (DeliveryError, OSError) as fault:
        if _is_at_its_limit(fault, host, port):
            return passed(RECEIVER, "The port turned us away, because it serves as many as it may.")
        return failed(RECEIVER, f"No answer to C-ECHO ({getattr(fault, 'code', type(fault).__name__)}).")
    return passed(RECEIVER, f"C-ECHO answered in {1000 * took_s:.0f} ms.")


def _is_at_its_limit(fault: Exception, host: str, port: int) -> bool:
    """Whether we were turned away by a receiver that is busy, which must not be taken for one that is stuck.

    One that has all its associations rejects; one that has all its connections, or all that one address may have,
    hangs up at once. One that is stuck does nothing.
    """
    if _LIMIT_REACHED in str(getattr(fault, "reason", "")).lower():
        return True
    try:
        with socket.create_connection((host, port), _HANGS_UP_WITHIN_S) as connection:
            return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except OSError:
        return False


def _check_tls_port(host: str, port: int, timeout_s: float) -> Check:
    """Our own certificate is not among those that the port accepts, so no more is seen than that somebody answers."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(_TLS_HELLO_CUT)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(timeout_s)
            connection.recv(1)  # an alert, or the end of the connection: both come from the process that serves
    except ConnectionResetError:
        return passed(RECEIVER, "The port answered; our own certificate is not trusted there, so without C-ECHO.")
    except OSError as fault:
        return failed(RECEIVER, f"No answer on the port ({type(fault).__name__}).")
    return passed(RECEIVER, "The port answered; our own certificate is not trusted there, so without C-ECHO.")


_LIMIT_REACHED: Final = "local limit exceeded"
"""PS3.8 table 9-21: rejected transient, by the service provider, local limit exceeded."""
_HANGS_UP_WITHIN_S: Final = 1.0
"""Much less than the time that a connection has to ask for an association."""
_TLS_HELLO_CUT: Final = bytes((0x16, 0x03, 0x01, 0x00, 0x10, 0x01))
"""Begin of a TLS record that never ends (RFC 8446 section 5.1)."""


def own_host(host: str) -> str:
    """Where to call what listens on `host`: all addresses include loopback."""
    bare = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(bare, bare)  # noqa: S104


def check_database(seen: JobsSeen | None) -> Check:
    """Whether the database was asked with success a short time ago."""
    if seen is None:
        return failed(DATABASE, "The job database does not answer; images are received all the same.")
    return passed(DATABASE)


def check_disk(folders: Sequence[Path], minimum_free_mb: float) -> Check:
    """Whether every disk has room; below the limit no image is accepted."""
    free_mb = min(shutil.disk_usage(folder).free / 1e6 for folder in folders)
    told = f"{free_mb:.0f} MB free, at least {minimum_free_mb:.0f} MB must be."
    return passed(DISK, told) if free_mb >= minimum_free_mb else failed(DISK, told)


def check_engines(running: int, wanted: int) -> Check:
    """Whether all processes that work on cases run."""
    told = f"{running} of {wanted} processes run."
    return passed(ENGINES, told) if running >= wanted else failed(ENGINES, told)


def check_answer(verdict: VerdictFile) -> Check:
    """Whether patients wait because the self-test found another answer than it should."""
    why = verdict.stopped()
    if not why:
        return passed(ANSWER)
    last = verdict.path.stat().st_mtime if verdict.path.exists() else 0.0
    return failed(ANSWER, why, str(round(last)))


def check_self_test(verdict: VerdictFile, every_h: float, now_s: float | None = None) -> Check:
    """Whether self-tests are made at all: one that could not be made stops nobody, and must not stay unseen."""
    last = verdict.read()
    if last is None:
        return passed(SELF_TEST, "None was made yet.")
    age_h = ((time.time() if now_s is None else now_s) - last.answered_at_s) / 3600
    told = f"The last answer was {age_h:.1f} h ago; the last self-test: {last.outcome.value} {last.code}".rstrip() + "."
    if not every_h or age_h <= _INTERVALS * every_h:
        return passed(SELF_TEST, told)
    return failed(SELF_TEST, told, str(round(last.answered_at_s)))


_INTERVALS: Final = 2.0
"""After so many without an answer a self-test is late; ours."""


def check_oldest_job(seen: JobsSeen | None, limit_h: float, now_s: float | None = None) -> Check:
    """Whether a job waits for longer than it should; nothing is said while the database is away."""
    if seen is None:
        return passed(OLDEST_JOB, "Not known.")
    now_s = time.time() if now_s is None else now_s
    age_s = seen.oldest_s(now_s)
    told = f"The oldest job is {age_s / 3600:.1f} h old, the limit is {limit_h:g} h."
    since = str(round(now_s - age_s))
    return passed(OLDEST_JOB, told) if age_s <= 3600 * limit_h else failed(OLDEST_JOB, told, since)


def check_arrivals(settings: NodeSettings, now_s: float | None = None) -> Check:
    """Whether images came within some working hours; a scanner that lost our address sends no error."""
    limit_h = settings.watchdog.quiet_h
    last_s = LastReceived.beside(settings.data_dir / "spool").at_s()
    quiet_h = settings.watchdog.hours.worked_s(last_s, time.time() if now_s is None else now_s) / 3600
    told = f"Nothing was received for {quiet_h:.1f} working hours."
    if not limit_h or quiet_h <= limit_h:
        return passed(ARRIVALS, told)
    return failed(ARRIVALS, told, str(round(last_s)))


def guarded(kind: CheckKind, look: Look) -> Look:
    """A check that cannot be made has failed."""

    def safe() -> Check:
        try:
            return look()
        except Exception as fault:
            return failed(kind, f"It could not be looked at ({type(fault).__name__}).")

    return safe
