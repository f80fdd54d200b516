"""Storage Commitment (PS3.4 annex J) as its user: an archive says, instance by instance, that it vouches for it.

C-STORE Success says that the bytes arrived; some archives lose them afterwards. A commitment is asked for by N-ACTION
under a transaction UID and answered by N-EVENT-REPORT: at once on the same association, or minutes later on one that
the archive opens to us. Whichever process gets the answer writes it into the `CommitmentBook`, a folder that all of our
processes share; whoever asked reads it there. Answers to questions that nobody asked are refused.
"""

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import structlog
from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.pdu import P_DATA_TF

from dicom_node.durable_files import make_directory, write_json
from dicom_node.errors import CommitmentRefused, DeliveryInterrupted, UnknownTransaction
from dicom_node.network.commitment_messages import (
    ALL_COMMITTED,
    CLASS_NOT_SUPPORTED,
    DUPLICATE_TRANSACTION,
    FAILURES_EXIST,
    INVALID_ARGUMENT,
    MAXIMUM_BYTES,
    NO_SUCH_EVENT_TYPE,
    PROCESSING_FAILURE,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST_COMMITMENT,
    RESOURCE_LIMITATION,
    SUCCESS,
    SYNTAXES,
    CommitmentReport,
    InstanceReference,
    action_information,
    read_report,
)
from dicom_node.network.requestor import Peer, association

log = structlog.get_logger()

_ANSWERED_WITHIN_S: Final = 2.0
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class CommitmentBook:
    """Transactions that were asked for and what came of them, one or two small files each."""

    folder: Path

    @classmethod
    def under(cls, data_dir: Path) -> Self:
        """The book of the node with that data directory."""
        return cls(data_dir / "commitments")

    def note_request(self, transaction_uid: str, instances: Sequence[InstanceReference]) -> None:
        """Keep durably what is about to be asked, so that the answer is known whenever it comes."""
        make_directory(self.folder)
        asked = [[i.sop_class_uid, i.sop_instance_uid] for i in instances]
        write_json(self._request(transaction_uid), {"transaction_uid": transaction_uid, "instances": asked})

    def keep(self, report: CommitmentReport) -> None:
        """Keep an answer durably; only what was asked for counts, and "failed" wins over "committed".

        Raises:
            UnknownTransaction: nobody asked.
        """
        try:
            asked = json.loads(self._request(report.transaction_uid).read_text())["instances"]
        except FileNotFoundError as fault:
            raise UnknownTransaction from fault
        uids = {uid for _, uid in asked}
        failed = {i.sop_instance_uid: reason for i, reason in report.failed.items() if i.sop_instance_uid in uids}
        committed = {i.sop_instance_uid for i in report.committed if i.sop_instance_uid in uids} - set(failed)
        write_json(self._answer(report.transaction_uid), {"committed": sorted(committed), "failed": failed})

    def report(self, transaction_uid: str) -> CommitmentReport | None:
        """The answer to a transaction, or `None` if it has not come."""
        try:
            answer = json.loads(self._answer(transaction_uid).read_text())
            asked = json.loads(self._request(transaction_uid).read_text())["instances"]
        except FileNotFoundError:
            return None
        by_uid = {uid: InstanceReference(sop_class, uid) for sop_class, uid in asked}
        return CommitmentReport(
            transaction_uid,
            tuple(by_uid[uid] for uid in answer["committed"]),
            {by_uid[uid]: reason for uid, reason in answer["failed"].items()},
        )

    def forget(self, transaction_uid: str) -> None:
        """Forget a question and its answer; the same question may be asked anew, and only a new answer counts."""
        for path in (self._request(transaction_uid), self._answer(transaction_uid)):
            path.unlink(missing_ok=True)

    def sweep(self, older_than_s: float) -> int:
        """Forget transactions that were asked for so long ago, and return how many files that were."""
        before = time.time() - older_than_s
        old = [path for path in self.folder.glob("*") if path.stat().st_mtime < before]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _request(self, transaction_uid: str) -> Path:
        return self.folder / f"{_key(transaction_uid)}.json"

    def _answer(self, transaction_uid: str) -> Path:
        return self.folder / f"{_key(transaction_uid)}.report.json"


def request_commitment(
    instances: Sequence[InstanceReference], peer: Peer, transaction_uid: str, book: CommitmentBook, *, wait_s: float
) -> CommitmentReport | None:
    """Ask an archive to commit to instances, and wait a little for its answer.

    Asking again under the same transaction UID, as after a crash, looks for the answer first.

    Args:
        instances: what was stored there.
        peer: the archive.
        transaction_uid: derived from content, never used for another question.
        book: where the answer is kept, whichever process gets it.
        wait_s: how long the association is held for an answer on it.

    Returns:
        The answer, or `None`: the archive took the question and has not answered yet.

    Raises:
        PeerUnreachable: no association.
        DeliveryInterrupted: the question got no status; whether the archive took it is unknown.
        CommitmentRefused: it does not offer commitment (status 0x0122) or refused the question.
    """
    if (known := book.report(transaction_uid)) is not None:
        return known
    book.note_request(transaction_uid, instances)
    arrived, answered = threading.Event(), threading.Event()

    def on_report(event: Any) -> tuple[int, None]:
        answered.clear()
        arrived.set()  # from here on we owe a response, and must not release before it is sent
        return take_report(event, book), None

    def on_sent(event: Any) -> None:
        if arrived.is_set() and isinstance(event.pdu, P_DATA_TF):  # the response to the report is all we send by then
            answered.set()

    handlers = [(evt.EVT_N_EVENT_REPORT, on_report), (evt.EVT_PDU_SENT, on_sent)]
    with association(peer, [build_context(PUSH_MODEL, list(SYNTAXES))], handlers=handlers) as opened:
        if opened is None:
            raise CommitmentRefused(str(peer.address), CLASS_NOT_SUPPORTED)
        _ask(opened, peer, action_information(transaction_uid, instances))
        deadline = time.monotonic() + wait_s
        while opened.is_established and time.monotonic() < deadline and book.report(transaction_uid) is None:
            time.sleep(_LOOK_S)
        if arrived.is_set():
            answered.wait(_ANSWERED_WITHIN_S)
    return book.report(transaction_uid)


def _ask(opened: Any, peer: Peer, information: Dataset) -> None:
    response, _ = opened.send_n_action(information, REQUEST_COMMITMENT, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    status = response.get("Status")
    if status is None:
        raise DeliveryInterrupted(str(peer.address), "it did not answer the request for commitment")
    if status not in (SUCCESS, DUPLICATE_TRANSACTION):  # a duplicate was asked before a crash: its answer will come
        raise CommitmentRefused(str(peer.address), int(status))


def take_report(event: Any, book: CommitmentBook) -> int:
    """Handle N-EVENT-REPORT: keep the answer durably and return the status of PS3.7 annex C for the archive."""
    try:
        if event.event_type not in (ALL_COMMITTED, FAILURES_EXIST):
            return NO_SUCH_EVENT_TYPE
        if _size(event.request.EventInformation) > MAXIMUM_BYTES:
            return RESOURCE_LIMITATION
        report = read_report(event.event_information)
        book.keep(report)
    except OSError as error:
        log.error("commitment_not_kept", code=type(error).__name__)
        return PROCESSING_FAILURE
    except Exception as error:  # UnknownTransaction, or bytes that are no such dataset
        code = getattr(error, "code", type(error).__name__)
        log.warning("commitment_report_refused", code=code, calling=_calling(event))
        return INVALID_ARGUMENT
    log.info("commitment_report", committed=len(report.committed), failed=len(report.failed))
    return SUCCESS


def _size(information: Any) -> int:
    return 0 if information is None else len(information.getbuffer())


def _calling(event: Any) -> str:
    user = event.assoc.requestor if event.assoc.is_acceptor else event.assoc.acceptor
    return str(user.ae_title)


def _key(uid: str) -> str:
    """A file name that a UID from outside cannot steer."""
    return hashlib.sha256(uid.encode("ascii", "replace")).hexdigest()[:32]
