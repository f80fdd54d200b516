"""C-GET and C-MOVE SCU: one series at a time from an archive into the spool, whole or marked as interrupted.

With C-GET the images come back over the association that we open, and this process puts them into the spool itself,
checked and made durable exactly as the receiver does. With C-MOVE the archive opens associations to the node's own port
and the running node receives; here is only counted. An archive's "success" is not enough in either case: the numbers of
what it sent, what it failed to send, what was kept and what it said to have must agree. PS3.4 sections C.4.2 and C.4.3.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SpatialRegistrationStorage,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.audit.trail import AuditTrail, NoAuditTrail, StudyTransfer
from dicom_node.errors import InstanceMismatch, NodeError, PeerUnreachable, QueryRefused, RetrievalIncomplete
from dicom_node.network.acceptance import STATUS_BY_ERROR, SUCCESS, TRANSFER_SYNTAXES
from dicom_node.network.query import SOP_CLASS_NOT_SUPPORTED, ArchivePeer, FoundSeries, checked_uid
from dicom_node.network.requestor import Peer, association
from dicom_node.reception.encoded_dataset import read_header
from dicom_node.reception.spool import ReceivedBytes, Spool, key_of

log = structlog.get_logger()

GET: Final = StudyRootQueryRetrieveInformationModelGet
MOVE: Final = StudyRootQueryRetrieveInformationModelMove
FETCHED_CLASSES: Final = (CTImageStorage, EnhancedCTImageStorage, RTStructureSetStorage)
"""What is fetched. With one context per class and syntax an archive sends each object as it is, and 128 are enough."""
FOLDER_CLASSES: Final = (
    *FETCHED_CLASSES,
    LegacyConvertedEnhancedCTImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    SpatialRegistrationStorage,
)
"""What is fetched into a folder: also perfusion images, and what says how they lie on a CT. The node takes none."""

_QUERY_SYNTAXES: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(frozen=True, slots=True)
class Suboperations:
    """What an archive says it has done (PS3.7 sections 9.1.3 and 9.1.4)."""

    status: int
    completed: int | None
    """`None` if it never said; all counts are optional."""
    failed: int
    warning: int

    @property
    def is_whole(self) -> bool:
        """Whether it says that everything went well."""
        return self.status == SUCCESS and self.failed == 0 and self.warning == 0


@dataclass(slots=True)
class Kept:
    """What came into the spool for one series under one association id."""

    spool: Spool
    series_instance_uid: str
    calling_ae_title: str
    progress: Callable[[], None] = lambda: None
    association_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    address: str = ""
    """Of the archive, for the audit trail."""
    audit: AuditTrail = field(default_factory=NoAuditTrail)
    instances: set[str] = field(default_factory=set)
    refused: int = 0
    _by_study: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def keep(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, encoded: bytes) -> int:
        """Keep one instance; the C-STORE status for it, Success only when it is durable."""
        try:
            header = read_header(encoded, transfer_syntax_uid)
            if header.series_instance_uid != self.series_instance_uid:
                raise InstanceMismatch("it is of another series than was asked for")
            received = ReceivedBytes(
                sop_class_uid,
                sop_instance_uid,
                transfer_syntax_uid,
                self.calling_ae_title,
                self.association_id,
                encoded,
            )
            self.spool.keep(received)
        except Exception as error:  # whatever happens, the archive gets a status and never Success
            self.refused += 1
            status = next(status for kind, status in STATUS_BY_ERROR if isinstance(error, kind))
            code = error.code if isinstance(error, NodeError) else type(error).__name__
            log.warning("instance_refused", code=code, status=f"0x{status:04X}", association=self.association_id[:8])
            return status
        self.instances.add(sop_instance_uid)
        study = header.study_instance_uid, header.patient_id
        self._by_study.setdefault(study, Counter())[sop_class_uid] += 1
        self.progress()
        return SUCCESS

    def tell_audit(self) -> None:
        """Report what came to the audit trail."""
        studies = [StudyTransfer(study, patient, classes) for (study, patient), classes in self._by_study.items()]
        if studies:
            self.audit.instances_received(self.address, self.calling_ae_title, self.association_id, studies)

    def shortfall(self, expected: int | None) -> str:
        """Why what was kept is not the whole series; empty if it is."""
        if self.refused:
            return f"{self.refused} instances could not be kept"
        if not self.instances:
            return "nothing came"
        if expected is not None and len(self.instances) < expected:
            return f"{len(self.instances)} of {expected} instances came"
        return ""


@contextmanager
def kept_as_one(kept: Kept) -> Iterator[Kept]:
    """The life of an association id in the spool: what was kept is closed only if the body ends without an error."""
    kept.spool.association_opened(kept.association_id)
    try:
        yield kept
        kept.spool.association_released(kept.association_id)
    finally:
        kept.spool.association_ended(kept.association_id)
        kept.tell_audit()


def get_series(
    peer: Peer,
    series: FoundSeries,
    spool: Spool,
    *,
    classes: Sequence[str] = FETCHED_CLASSES,
    audit: AuditTrail | None = None,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Fetch a series by C-GET into the spool and return how many instances came.

    Args:
        peer: The archive.
        series: Which; with the number of instances that the archive has, as far as it is known.
        spool: Where they go; a running node may use it at the same time.
        classes: SOP classes that are taken; with all transfer syntaxes at most 127 contexts.
        audit: Told what came.
        progress: Called after each instance.

    Raises:
        PeerUnreachable: No association, or it ended or fell silent; what came before is kept, marked as interrupted.
        QueryRefused: The archive does not do C-GET, or refused.
        RetrievalIncomplete: Not everything came; likewise.
    """
    contexts = [build_context(GET, list(_QUERY_SYNTAXES))]
    contexts += [build_context(kind, syntax) for kind in classes for syntax in TRANSFER_SYNTAXES]
    roles = [build_role(kind, scp_role=True) for kind in classes]
    kept = Kept(
        spool,
        series.series_instance_uid,
        peer.address.ae_title,
        progress,
        address=peer.address.endpoint[0],
        audit=audit or NoAuditTrail(),
    )
    with (
        kept_as_one(kept),
        association(_patient(peer), contexts, handlers=[(evt.EVT_C_STORE, _keeper(kept))], roles=roles) as opened,
    ):
        done = _outcome(opened, peer, GET, lambda: opened.send_c_get(_identifier(series), GET))
        _check(done, peer, kept.shortfall(series.instances))
    log.info("series_fetched", series=key_of(series.series_instance_uid)[:8], instances=len(kept.instances))
    return len(kept.instances)


def move_series(peer: Peer, series: FoundSeries, *, to_ae_title: str = "") -> int | None:
    """Have an archive send a series to us and return how many instances it says it has sent, if it does.

    Args:
        peer: The archive.
        series: Which.
        to_ae_title: Where it sends; our own AE title unless said. The archive must know at which host and port that
            is, and it must be listened there: by the node, for its own title.

    Raises:
        PeerUnreachable: No association, or it ended or fell silent.
        QueryRefused: The archive does not do C-MOVE, does not know us (A801), or refused.
        RetrievalIncomplete: It could not send everything.
    """
    context = build_context(MOVE, list(_QUERY_SYNTAXES))
    with association(_patient(peer), [context]) as opened:
        done = _outcome(
            opened,
            peer,
            MOVE,
            lambda: opened.send_c_move(_identifier(series), to_ae_title or peer.calling_ae_title, MOVE),
        )
    sent, expected = done.completed, series.instances
    short = sent is not None and sent < (expected or 1)
    _check(done, peer, f"it sent {sent} of {expected} instances" if short else "")
    return sent


def _patient(peer: Peer) -> Peer:
    wait_s = peer.retrieve_timeout_s if isinstance(peer, ArchivePeer) else peer.response_timeout_s
    return replace(peer, response_timeout_s=wait_s)


def _identifier(series: FoundSeries) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    identifier.StudyInstanceUID = checked_uid(series.study_instance_uid)
    identifier.SeriesInstanceUID = checked_uid(series.series_instance_uid)
    return identifier


def _keeper(kept: Kept) -> Callable[[Any], int]:
    def on_store(event: Any) -> int:
        return kept.keep(
            str(event.request.AffectedSOPClassUID),
            str(event.request.AffectedSOPInstanceUID),
            str(event.context.transfer_syntax),
            event.encoded_dataset(include_meta=False),
        )

    return on_store


def _outcome(opened: Any, peer: Peer, model: str, send: Callable[[], Any]) -> Suboperations:
    if opened is None or model not in {str(context.abstract_syntax) for context in opened.accepted_contexts}:
        raise QueryRefused(str(peer.address), SOP_CLASS_NOT_SUPPORTED)
    done = None
    for response, _ in send():
        if response.get("Status") is None:
            raise PeerUnreachable(str(peer.address), "it fell silent, or ended the association, during a retrieval")
        before = None if done is None else done.completed
        done = Suboperations(
            int(response.Status),
            response.get("NumberOfCompletedSuboperations", before),
            int(response.get("NumberOfFailedSuboperations") or 0),
            int(response.get("NumberOfWarningSuboperations") or 0),
        )
    if done is None:
        raise PeerUnreachable(str(peer.address), "it gave no answer to a retrieval")
    return done


def _check(done: Suboperations, peer: Peer, shortfall: str) -> None:
    """Compare what the archive says with what came.

    Raises:
        QueryRefused: It refused before it sent anything.
        RetrievalIncomplete: It says that something failed, or something is missing.
    """
    if not done.is_whole:
        log.warning(
            "retrieval_incomplete",
            peer=peer.name,
            status=f"0x{done.status:04X}",
            completed=done.completed,
            failed=done.failed,
            warning=done.warning,
        )
        if not done.completed and done.failed + done.warning == 0:
            raise QueryRefused(str(peer.address), done.status)
        counts = f"{done.completed or 0} sent, {done.failed} failed, {done.warning} with warnings"
        raise RetrievalIncomplete(str(peer.address), f"status 0x{done.status:04X}, {counts}")
    if shortfall:
        raise RetrievalIncomplete(str(peer.address), shortfall)
