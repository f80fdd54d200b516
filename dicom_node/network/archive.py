"""One way to ask an archive and to fetch from it, whichever protocol it speaks. The only place that knows both."""

from collections.abc import Sequence
from datetime import date

from dicom_node.audit.trail import AuditTrail
from dicom_node.network import dicomweb, query, retrieve
from dicom_node.network.query import ArchivePeer, FoundSeries, FoundStudy
from dicom_node.network.requestor import Peer
from dicom_node.network.web_peer import DicomwebPeer
from dicom_node.reception.spool import Spool

AnyPeer = Peer | DicomwebPeer


def find_studies(
    peer: AnyPeer,
    *,
    patient_id: str = "",
    accession_number: str = "",
    study_instance_uid: str = "",
    study_dates: tuple[date, date] | None = None,
) -> list[FoundStudy]:
    """As `query.find_studies`."""
    find = dicomweb.find_studies if isinstance(peer, DicomwebPeer) else query.find_studies
    return find(
        peer,  # type: ignore[arg-type]  # of the kind that `find` was chosen for
        patient_id=patient_id,
        accession_number=accession_number,
        study_instance_uid=study_instance_uid,
        study_dates=study_dates,
    )


def find_series(peer: AnyPeer, study_instance_uid: str, modality: str = "") -> list[FoundSeries]:
    """As `query.find_series`."""
    if isinstance(peer, DicomwebPeer):
        return dicomweb.find_series(peer, study_instance_uid, modality)
    return query.find_series(peer, study_instance_uid, modality)


def find_instances(peer: AnyPeer, study_instance_uid: str, series_instance_uid: str) -> set[str]:
    """As `query.find_instances`."""
    if isinstance(peer, DicomwebPeer):
        return dicomweb.stored_instances(peer, study_instance_uid, series_instance_uid)
    return query.find_instances(peer, study_instance_uid, series_instance_uid)


def expected_instances(peer: AnyPeer, study_instance_uid: str, series_instance_uid: str) -> int | None:
    """As `query.expected_instances`."""
    if isinstance(peer, DicomwebPeer):
        return dicomweb.expected_instances(peer, study_instance_uid, series_instance_uid)
    return query.expected_instances(peer, study_instance_uid, series_instance_uid)


def comes_through_receiver(peer: AnyPeer) -> bool:
    """Whether what is fetched arrives at a port that is listened on (C-MOVE), rather than over our own association."""
    return isinstance(peer, ArchivePeer) and peer.retrieve == "c-move"


def fetch_series(
    peer: AnyPeer,
    series: FoundSeries,
    spool: Spool,
    audit: AuditTrail,
    *,
    classes: Sequence[str] = retrieve.FETCHED_CLASSES,
    to_ae_title: str = "",
) -> int | None:
    """Fetch a series in the way that the site has configured for the peer; how many instances came, if it is known.

    Args:
        peer: the archive.
        series: which.
        spool: where it goes, unless it comes through a receiver.
        audit: told what came.
        classes: SOP classes that are taken, where we must say so beforehand.
        to_ae_title: where C-MOVE sends; our own AE title unless said.

    Raises:
        PeerUnreachable, QueryRefused, RetrievalIncomplete: as `retrieve.get_series`.
    """
    if isinstance(peer, DicomwebPeer):
        return dicomweb.get_series(peer, series, spool, audit=audit)
    if comes_through_receiver(peer):
        return retrieve.move_series(peer, series, to_ae_title=to_ae_title)
    return retrieve.get_series(peer, series, spool, classes=classes, audit=audit)
