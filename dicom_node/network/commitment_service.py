"""Storage Commitment on associations that others open: we vouch for what we hold, and hear what archives vouch for.

Both are parts of one SOP class (PS3.4 annex J) with the roles reversed, so they are one service of the receiver:

    N-ACTION        a peer that sent us instances asks us to commit to them; we answer 0x0000, look, and report
    N-EVENT-REPORT  an archive answers a question of ours (`commitment`), on an association that it opened

Our report goes out on the same association if the peer still holds it a second later, and otherwise on a new one to the
address that the site knows for its AE title. A peer with neither gets none, and asks again. Nothing that we promised to
report survives a restart: commitment is a question about now, and asking again is always safe.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any, Final

import structlog
from pynetdicom import build_context, build_role, evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode

from dicom_node.errors import PeerUnreachable
from dicom_node.network.commitment import CommitmentBook, take_report
from dicom_node.network.commitment_messages import (
    CLASS_INSTANCE_CONFLICT,
    INVALID_ARGUMENT,
    MAXIMUM_BYTES,
    NO_SUCH_ACTION,
    NO_SUCH_INSTANCE,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST_COMMITMENT,
    RESOURCE_LIMITATION,
    SUCCESS,
    SYNTAXES,
    CommitmentReport,
    InstanceReference,
    event_information,
    read_action,
)
from dicom_node.network.requestor import Peer, association
from dicom_node.reception.holdings import Holdings

log = structlog.get_logger()

MAXIMUM_TRANSACTIONS: Final = 8
"""Worked on at the same time, each in a thread; a further one is answered 0x0213."""


@dataclass(frozen=True, slots=True)
class CommitmentTimes:
    """How long we wait before and between reports, in seconds."""

    grace_s: float = 1.0
    """A peer that means to release after our response has done so by then."""
    answer_s: float = 10.0
    """For the response to a report on the same association."""
    retry_delays_s: tuple[float, ...] = (5.0, 60.0)
    """Between attempts to reach the peer on a new association."""


@dataclass(frozen=True, slots=True)
class CommitmentParts:
    """Makes the service in a receiving process; every part can be pickled."""

    data_dir: Path
    shared_dir: Path
    peers: tuple[Peer, ...]
    """Whom we can call; a report goes to the one whose AE title asked."""

    def __call__(self, spool: object) -> "CommitmentService":
        """The service; it finds the spool by itself."""
        addresses = {peer.address.ae_title: peer for peer in reversed(self.peers)}
        holdings = Holdings.under(self.data_dir, self.shared_dir)
        return CommitmentService(CommitmentBook.under(self.shared_dir), holdings.classes_of, addresses.get)


@dataclass(slots=True)
class _Transaction:
    """A question of a peer, and the association that it came on."""

    uid: str
    instances: list[InstanceReference]
    calling_ae_title: str
    association: Any
    context_id: int
    transfer_syntax: Any


@dataclass(slots=True)
class CommitmentService:
    """The service to add to a receiver; one for each of its processes."""

    book: CommitmentBook
    classes_of: Callable[[Sequence[str]], dict[str, str]]
    """SOP Class UID of each instance that we hold durably, by SOP Instance UID."""
    address_of: Callable[[str], Peer | None]
    """Where a peer that calls itself so can be called, if the site knows."""
    times: CommitmentTimes = CommitmentTimes()
    _free: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(MAXIMUM_TRANSACTIONS))
    _stopping: threading.Event = field(default_factory=threading.Event)
    _answers: dict[tuple[int, int], threading.Event] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: count(1))

    @property
    def contexts(self) -> Sequence[tuple[str, Sequence[Any], bool | None, bool | None]]:
        """Abstract syntax, transfer syntaxes, and that the peer may take either role."""
        return ((PUSH_MODEL, SYNTAXES, True, True),)

    @property
    def handlers(self) -> Sequence[tuple[Any, Callable[[Any], Any]]]:
        """Events and who handles them."""
        return (
            (evt.EVT_N_ACTION, self._on_action),
            (evt.EVT_N_EVENT_REPORT, self._on_report),
            (evt.EVT_DIMSE_RECV, self._on_message),
        )

    def stop(self) -> None:
        """Let reports that wait for another attempt go."""
        self._stopping.set()

    # -- events, in the thread of the association --------------------------------------------------------------------

    def _on_action(self, event: Any) -> tuple[int, None]:
        if event.action_type != REQUEST_COMMITMENT:
            return NO_SUCH_ACTION, None
        information = event.request.ActionInformation
        if information is None:
            return INVALID_ARGUMENT, None
        if len(information.getbuffer()) > MAXIMUM_BYTES:
            return RESOURCE_LIMITATION, None
        try:
            uid, instances = read_action(event.action_information)
        except Exception as error:  # whatever the bytes are, they are no request
            log.warning("commitment_refused", code=type(error).__name__, calling=event.assoc.requestor.ae_title)
            return INVALID_ARGUMENT, None
        if not self._free.acquire(blocking=False):
            log.warning("commitment_refused", code="TOO_MANY_TRANSACTIONS", calling=event.assoc.requestor.ae_title)
            return RESOURCE_LIMITATION, None
        _send_one_message_at_a_time(event.assoc)
        asked = _Transaction(
            uid,
            instances,
            event.assoc.requestor.ae_title,
            event.assoc,
            event.context.context_id,
            event.context.transfer_syntax,
        )
        threading.Thread(target=self._work, args=(asked,), name="commitment", daemon=True).start()
        return SUCCESS, None

    def _on_report(self, event: Any) -> tuple[int, None]:
        return take_report(event, self.book), None

    def _on_message(self, event: Any) -> None:
        """Called for every message before it is handled: note responses to our reports."""
        message = event.message
        if type(message).__name__ == "N_EVENT_REPORT_RSP":
            answered = self._answers.get((id(event.assoc), message.command_set.MessageIDBeingRespondedTo))
            if answered is not None and message.command_set.Status == SUCCESS:
                answered.set()

    # -- one transaction, in a thread of its own ---------------------------------------------------------------------

    def _work(self, asked: _Transaction) -> None:
        try:
            report = self._look(asked)
            log.info("commitment_given", committed=len(report.committed), failed=len(report.failed))
            self._tell(asked, report)
        except Exception as error:  # a thread has nobody to raise to; the peer asks again
            log.error("commitment_failed", code="COMMITMENT_FAILED", kind=type(error).__name__)
        finally:
            self._free.release()

    def _look(self, asked: _Transaction) -> CommitmentReport:
        held = self.classes_of([instance.sop_instance_uid for instance in asked.instances])
        failed = {}
        for instance in asked.instances:
            sop_class = held.get(instance.sop_instance_uid)
            if sop_class != instance.sop_class_uid:
                failed[instance] = NO_SUCH_INSTANCE if sop_class is None else CLASS_INSTANCE_CONFLICT
        committed = tuple(i for i in dict.fromkeys(asked.instances) if i not in failed)
        return CommitmentReport(asked.uid, committed, failed)

    def _tell(self, asked: _Transaction, report: CommitmentReport) -> None:
        self._stopping.wait(self.times.grace_s)
        if asked.association.is_established and self._tell_on_same(asked, report):
            return
        peer = self.address_of(asked.calling_ae_title)
        if peer is None:
            log.warning("commitment_not_reported", code="NO_ADDRESS_KNOWN", calling=asked.calling_ae_title)
            return
        for delay_s in (*self.times.retry_delays_s, None):
            if _tell_on_new(peer, report):
                return
            if delay_s is None or self._stopping.wait(delay_s):
                break
        log.warning("commitment_not_reported", code="PEER_UNREACHABLE", calling=asked.calling_ae_title)

    def _tell_on_same(self, asked: _Transaction, report: CommitmentReport) -> bool:
        event_type, information = event_information(report)
        request = N_EVENT_REPORT()
        request.MessageID = 1 + next(self._numbers) % 65535
        request.AffectedSOPClassUID = PUSH_MODEL
        request.AffectedSOPInstanceUID = PUSH_MODEL_INSTANCE
        request.EventTypeID = event_type
        syntax = asked.transfer_syntax
        request.EventInformation = BytesIO(encode(information, syntax.is_implicit_VR, syntax.is_little_endian) or b"")
        key = (id(asked.association), request.MessageID)
        answered = self._answers[key] = threading.Event()
        try:
            asked.association.dimse.send_msg(request, asked.context_id)
            return answered.wait(self.times.answer_s)
        finally:
            del self._answers[key]


def _tell_on_new(peer: Peer, report: CommitmentReport) -> bool:
    """Report on an association of our own, as SCP; whether the peer took it."""
    event_type, information = event_information(report)
    roles = [build_role(PUSH_MODEL, scp_role=True)]
    try:
        with association(peer, [build_context(PUSH_MODEL, list(SYNTAXES))], roles=roles) as opened:
            if opened is None:
                return False
            status, _ = opened.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    except PeerUnreachable:
        return False
    return bool(status.get("Status") == SUCCESS)


def _send_one_message_at_a_time(association: Any) -> None:
    """Serialise what is sent: our report comes from another thread than responses, and fragments must not mix."""
    if "send_msg" in vars(association.dimse):
        return
    send, lock = association.dimse.send_msg, threading.Lock()

    def send_alone(primitive: Any, context_id: int) -> None:
        with lock:
            send(primitive, context_id)

    association.dimse.send_msg = send_alone
