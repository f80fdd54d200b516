"""What the node reports to the audit trail, one method for each event.

A message that cannot be written, because the disk is full, must not stop a patient's images: the fault is logged, and
the first message that can be written again is preceded by one that says how many are missing.
"""

import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

import structlog

from dicom_node.audit import codes, events, people
from dicom_node.audit.chain import AuditLog, Link
from dicom_node.audit.events import SUCCESS, Reporter, StudyTransfer
from dicom_node.audit.flood import Flood
from dicom_node.audit.message import AuditMessage, AuditSource, to_xml
from dicom_node.audit.people import AtPage
from dicom_node.audit.pseudonyms import Identifiers, read_key
from dicom_node.audit.syslog import SyslogServer, syslog_line
from dicom_node.durable_files import make_directory
from dicom_node.login import login_at_host

__all__ = ["SUCCESS", "AuditSettings", "AuditTrail", "NoAuditTrail", "StudyTransfer", "audit_folder"]

log = structlog.get_logger()

LOG_NAME: Final = "audit.log"
KEY_NAME: Final = "pseudonyms.key"


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """How the trail is kept."""

    source_id: str | None = None
    """Name of this node in the messages; without one, AE title and host name."""
    enterprise_site_id: str | None = None
    plain_identifiers: bool = False
    """Patient IDs and Study UIDs as they are, as PS3.15 A.5 foresees, instead of as pseudonyms."""
    syslog: SyslogServer | None = None


def audit_folder(data_dir: Path) -> Path:
    """Where the trail of a node stands."""
    return data_dir / "audit"


class AuditTrail:
    """Writes audit messages; threads and processes may use it at the same time, and it may be sent to a process.

    Args:
        folder: where `audit.log` stands; made if absent.
        ae_title: our AE title.
        settings: how to keep it.
    """

    def __init__(self, folder: Path, ae_title: str, settings: AuditSettings | None = None) -> None:
        self._folder = folder
        self._ae_title = ae_title
        self._settings = settings or AuditSettings()
        self._log = AuditLog(folder / LOG_NAME)
        self._lock = threading.Lock()
        self._flood = Flood()
        self._lost = 0

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), (self._folder, self._ae_title, self._settings)

    @property
    def log_file(self) -> Path:
        """The file of the messages."""
        return self._log.path

    def node_started(self) -> None:
        """The node is ready."""
        self._write(events.application_activity(self._us(), _now(), codes.APPLICATION_START))

    def node_stopped(self) -> None:
        """The node has ended as it was told to."""
        self.flush()
        self._write(events.application_activity(self._us(), _now(), codes.APPLICATION_STOP))

    def association_refused(self, ip: str, calling: str, called: str, code: str) -> None:
        """A peer was turned away: `code` is that of `Refusal`, or of a failed TLS handshake.

        Refusals of one address for one reason are counted after the first and written once a minute.
        """
        with self._lock:
            unreported = self._flood.note(ip, code, time.monotonic())
        if unreported is not None:
            self._write(events.association_refused(self._us(), _now(), ip, calling, called, code, unreported))

    def instances_received(self, ip: str, calling: str, association_id: str, studies: Sequence[StudyTransfer]) -> None:
        """What one association brought and we keep; called at its end, once."""
        identifiers = self._known_identifiers()
        self._write(*events.instances_received(self._us(), _now(), (ip, calling), association_id, studies, identifiers))

    def instances_sent(self, peer_address: str, studies: Sequence[StudyTransfer], outcome: str = SUCCESS) -> None:
        """What went to a destination (`AET@host:port`, or the URL of a web service).

        Args:
            peer_address: where to.
            studies: what.
            outcome: `SUCCESS` or the code of the error. Where a part failed, call twice.
        """
        identifiers = self._known_identifiers()
        self._write(*events.instances_sent(self._us(), _now(), peer_address, studies, outcome, identifiers))

    def query(self, peer_address: str, sop_class: str, keys_digest: str) -> None:
        """We asked a peer (`AET@host:port`); `keys_digest` is a hash of the keys, which may name a patient."""
        self._write(events.query(self._us(), _now(), peer_address, sop_class, keys_digest))

    def operator_action(
        self, action: str, object_id: str, by: str = "", details: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """A person changed the course of something: `retry` of a case, `release` of a series.

        Args:
            action: what was done.
            object_id: to what.
            by: who; whoever runs this process if empty.
            details: more that must be found again; no patient data.
        """
        self._write(events.operator_action(self._us(), _now(), action, object_id, by, details))

    def signed_in(self, who: AtPage, how: str = "") -> None:
        """A person has signed in at the page; `how` says more in words, for instance with which role."""
        self._write(people.user_authentication(self._us(), _now(), who, codes.LOGIN, how=how))

    def signed_out(self, who: AtPage) -> None:
        """A person has signed out."""
        self._write(people.user_authentication(self._us(), _now(), who, codes.LOGOUT))

    def sign_in_refused(self, who: AtPage, code: str) -> None:
        """Somebody could not sign in; the caller sees to it that this is not told without end."""
        self._write(people.user_authentication(self._us(), _now(), who, codes.LOGIN, code))

    def case_seen(self, who: AtPage, case_id: str, studies: Sequence[StudyTransfer]) -> None:
        """A person looked at a case, which is of one patient."""
        identifiers = self._known_identifiers()
        self._write(people.instances_accessed(self._us(), _now(), who, case_id, studies, identifiers))

    def cases_listed(self, who: AtPage, patient_ids: Mapping[str, str]) -> None:
        """A person was shown whose cases these are, in a list: Patient IDs by the ids of the cases."""
        identifiers = self._known_identifiers()
        self._write(*people.cases_listed(self._us(), _now(), who, patient_ids, identifiers))

    def log_used(self, who: AtPage | None = None, patient: str = "") -> None:
        """A person read the trail with our command or on our page.

        Args:
            who: reads; whoever runs this process if None.
            patient: pseudonym of the one whose messages were read; empty for all.
        """
        reader = who.participant() if who else None
        self._write(events.log_used(self._us(), _now(), self._log.path.resolve().as_uri(), reader, patient))

    def flush(self) -> None:
        """Write what was only counted so far; for the end of a process."""
        self._write_counted(everything=True)

    def pseudonym(self, patient_id: str) -> str:
        """What stands in the messages for a patient.

        Raises:
            OSError: the key cannot be read.
        """
        return self._identifiers.patient(patient_id)

    def study_pseudonym(self, study_instance_uid: str) -> str:
        """What stands in the messages for a study.

        Raises:
            OSError: the key cannot be read.
        """
        return self._identifiers.study(study_instance_uid)

    @cached_property
    def _identifiers(self) -> Identifiers:
        if self._settings.plain_identifiers:
            return Identifiers(None)
        make_directory(self._folder)
        return Identifiers(read_key(self._folder / KEY_NAME))

    def _known_identifiers(self) -> Identifiers:
        try:
            return self._identifiers
        except OSError as fault:
            log.error("audit_key_unreadable", code="AUDIT_KEY", kind=type(fault).__name__)
            return Identifiers(os.urandom(32))  # rather a pseudonym that nobody can resolve than a name or nothing

    def _write(self, *messages: AuditMessage) -> None:
        self._write_counted()
        for message in messages:
            self._write_one(message)

    def _write_counted(self, *, everything: bool = False) -> None:
        with self._lock:
            counted = self._flood.overdue(time.monotonic(), everything=everything)
        for ip, code, number in counted:
            self._write_one(events.association_refused(self._us(), _now(), ip, "", "", code, number))

    def _write_one(self, message: AuditMessage) -> None:
        try:
            if self._lost:
                self._append(events.recording_resumed(self._us(), _now(), self._lost))
                self._lost = 0
            self._append(message)
        except OSError as fault:
            self._lost += 1
            log.error("audit_not_written", code="AUDIT_NOT_WRITTEN", kind=type(fault).__name__, lost=self._lost)

    def _append(self, message: AuditMessage) -> None:
        us, settings = self._us(), self._settings
        source = AuditSource(settings.source_id or f"{self._ae_title}@{us.host}", settings.enterprise_site_id)
        xml = to_xml(message, source)

        def line(link: Link) -> bytes:
            return syslog_line(xml, message.outcome, _now(), us.host, us.process_id, link)

        self._log.append(line)

    def _us(self) -> Reporter:
        host = socket.gethostname()
        return Reporter(self._ae_title, os.getpid(), host, login_at_host())


class NoAuditTrail(AuditTrail):
    """Keeps nothing; for the demo, for tests, and for a receiver that is used on its own."""

    def __init__(self) -> None:
        super().__init__(Path(), "NONE")

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), ()

    def _write(self, *messages: AuditMessage) -> None:
        """Keep nothing."""

    def _write_counted(self, *, everything: bool = False) -> None:
        """Keep nothing."""

    def _known_identifiers(self) -> Identifiers:
        return Identifiers(None)


def _now() -> datetime:
    return datetime.now(UTC)
