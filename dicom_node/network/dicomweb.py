"""DICOMweb client: delivery by STOW-RS, questions by QIDO-RS, retrieval by WADO-RS (PS3.18 sections 10.4 to 10.6).

It gives the same reports and errors as its DIMSE sisters `delivery`, `query` and `retrieve`, and keeps their rules: an
object counts as stored only if the service says so for this very object, an answer that does not belong to the question
is dropped, and a series of which something is missing stays marked as interrupted. Questions go through
dicomweb-client; bodies of objects do not, see `multipart` for why.
"""

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import requests
import structlog
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info

from dicom_node.audit.trail import AuditTrail, NoAuditTrail
from dicom_node.errors import (
    DeliveryInterrupted,
    InvalidInstance,
    PeerUnreachable,
    QueryRefused,
    QueryTooWide,
    RetrievalIncomplete,
    StoreRefused,
)
from dicom_node.network.acceptance import TRANSFER_SYNTAXES
from dicom_node.network.delivery import DeliveryReport, InstanceDelivery
from dicom_node.network.foreign_file import read_foreign_file
from dicom_node.network.multipart import CONTENT_TYPE, CutOff, MultipartUpload, boundary_of, parts
from dicom_node.network.query import (
    MAXIMUM_ANSWERS,
    MAXIMUM_IMAGES,
    SERIES_FIELDS,
    STUDY_FIELDS,
    FoundSeries,
    FoundStudy,
    checked_key,
    checked_uid,
    date_range,
    instances_in,
    series_in,
    studies_in,
    study_keys,
)
from dicom_node.network.retrieve import Kept, kept_as_one
from dicom_node.network.web_peer import DicomwebPeer
from dicom_node.network.web_session import (
    FAULTS,
    WebSession,
    check_available,
    dimse_status,
    network_error,
    pieces,
)
from dicom_node.reception.spool import Spool, key_of

__all__ = [
    "DicomwebPeer",
    "echo",
    "expected_instances",
    "find_series",
    "find_studies",
    "get_series",
    "store",
    "stored_instances",
]

log = structlog.get_logger()

Search = Callable[[int, int], Sequence[Mapping[str, Any]]]
"""Asks for at most so many answers, from an offset."""

_PAGE: Final = 500
_STORED: Final = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT)
"""Answers that say for each instance what became of it: all stored, some, none (PS3.18 table 10.5.3-1)."""


@dataclass(frozen=True, slots=True)
class _Object:
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    size: int


# -- STOW-RS -----------------------------------------------------------------------------------------------------------


def store(
    paths: Sequence[Path],
    peer: DicomwebPeer,
    progress: Callable[[InstanceDelivery], None] | None = None,
) -> DeliveryReport:
    """Send DICOM files in requests of a limited size; each file is read in pieces while it goes out.

    Args:
        paths: DICOM files (PS3.10), at least one.
        peer: Where to.
        progress: Called after each object.

    Raises:
        PeerUnreachable: No connection, or the service is down behind its gateway.
        DeliveryInterrupted: An object got no status; its `instances` are those of earlier requests, which did.
        StoreRefused: At least one object was refused, after all were tried; as `delivery.send` raises it.
    """
    if not paths:
        raise ValueError("there is nothing to send")
    done: list[InstanceDelivery] = []
    with WebSession(peer) as session:
        for batch in _batches([_object(path) for path in paths], peer.maximum_request_bytes):
            try:
                statuses = _statuses(session, peer, batch)
            except DeliveryInterrupted as fault:
                raise DeliveryInterrupted(peer.url, fault.reason, instances=tuple(done)) from fault
            for item, status in zip(batch, statuses, strict=True):
                done.append(InstanceDelivery(item.sop_class_uid, item.sop_instance_uid, status))
                if progress is not None:
                    progress(done[-1])
    refused = [instance for instance in done if not instance.is_stored]
    if refused:
        passing = [instance for instance in refused if not instance.is_permanent]
        shown = sorted({f"0x{instance.status:04X}" for instance in refused})
        log.warning("objects_refused", destination=peer.name, count=len(refused), statuses=shown)
        worst = (passing or refused)[0].status
        raise StoreRefused(peer.url, worst, permanent=not passing, instances=tuple(done))
    return DeliveryReport(peer.name, tuple(done))


def _object(path: Path) -> _Object:
    meta = read_file_meta_info(path)
    return _Object(path, str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), path.stat().st_size)


def _batches(objects: Sequence[_Object], maximum_bytes: int) -> Iterator[list[_Object]]:
    batch: list[_Object] = []
    for item in objects:
        if batch and sum(other.size for other in batch) + item.size > maximum_bytes:
            yield batch
            batch = []
        batch.append(item)
    yield batch


def _statuses(session: WebSession, peer: DicomwebPeer, batch: Sequence[_Object]) -> list[int]:
    """The status of each object of one request; objects are sent one by one if the request as a whole is refused.

    Raises:
        PeerUnreachable, DeliveryInterrupted: as `store`.
    """
    response = _post(session, peer, batch)
    if response.status_code not in _STORED:
        if len(batch) > 1 and response.status_code not in (401, 403):
            return [status for item in batch for status in _statuses(session, peer, [item])]
        return [dimse_status(response.status_code)] * len(batch)
    said = _said_of_instances(response)
    if not said and response.status_code == HTTPStatus.CONFLICT:
        return [dimse_status(response.status_code)] * len(batch)
    missing = [item for item in batch if item.sop_instance_uid not in said]
    if missing:
        raise DeliveryInterrupted(peer.url, f"its answer does not mention {len(missing)} of {len(batch)} objects")
    return [said[item.sop_instance_uid] for item in batch]


def _post(session: WebSession, peer: DicomwebPeer, batch: Sequence[_Object]) -> requests.Response:
    body = MultipartUpload([item.path for item in batch])
    headers = {"Content-Type": CONTENT_TYPE, "Accept": "application/dicom+json"}
    timeout = (peer.connect_timeout_s, peer.response_timeout_s)
    try:
        response = session.post(f"{peer.url}/studies", data=body, headers=headers, timeout=timeout)
    except FAULTS as fault:
        raise network_error(fault, peer, body.sent) from fault
    finally:
        body.close()
    check_available(response, peer)
    return response


def _said_of_instances(response: requests.Response) -> dict[str, int]:
    """Status by SOP Instance UID, from a Store Instances Response Module (PS3.18 annex I.2)."""
    try:
        said = json.loads(response.content)
        answer = _dataset(said[0] if isinstance(said, list) else said)
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    statuses = {}
    for item in answer.get("ReferencedSOPSequence") or ():
        statuses[str(item.get("ReferencedSOPInstanceUID", ""))] = int(item.get("WarningReason") or 0)
    for item in answer.get("FailedSOPSequence") or ():
        statuses[str(item.get("ReferencedSOPInstanceUID", ""))] = int(item.get("FailureReason") or 0x0110)
    return statuses


def echo(peer: DicomwebPeer) -> float:
    """Ask for one study, whichever, and return how many seconds that took: there is no C-ECHO on the web.

    Raises:
        PeerUnreachable: No answer.
        QueryRefused: The service answered with a failure.
    """
    started = time.monotonic()
    with WebSession(peer) as session:
        search = _client(session, peer).search_for_studies
        _page(peer, lambda limit, offset: search(limit=limit, offset=offset), 1, 0)
    return time.monotonic() - started


# -- QIDO-RS -----------------------------------------------------------------------------------------------------------


def find_studies(
    peer: DicomwebPeer,
    *,
    patient_id: str = "",
    accession_number: str = "",
    study_instance_uid: str = "",
    study_dates: tuple[date, date] | None = None,
    limit: int = MAXIMUM_ANSWERS,
) -> list[FoundStudy]:
    """As `query.find_studies`."""
    asked = study_keys(patient_id, accession_number, study_instance_uid)
    if not asked and study_dates is None:
        raise ValueError("a patient, an accession number, a study or dates must be given")
    filters = {**asked} if study_dates is None else {**asked, "StudyDate": date_range(study_dates)}
    with WebSession(peer) as session:
        search = _client(session, peer).search_for_studies
        answers = _all_pages(
            peer,
            limit,
            lambda limit, offset: search(search_filters=filters, fields=STUDY_FIELDS, limit=limit, offset=offset),
        )
    return studies_in(answers, peer.name, asked, study_dates)


def find_series(peer: DicomwebPeer, study_instance_uid: str, modality: str = "") -> list[FoundSeries]:
    """As `query.find_series`."""
    asked = {"StudyInstanceUID": checked_uid(study_instance_uid)}
    filters = {"Modality": checked_key(modality)} if modality else {}
    with WebSession(peer) as session:
        search = _client(session, peer).search_for_series
        answers = _all_pages(
            peer,
            MAXIMUM_ANSWERS,
            lambda limit, offset: search(
                study_instance_uid, search_filters=filters, fields=SERIES_FIELDS, limit=limit, offset=offset
            ),
        )
    _name_study(answers, study_instance_uid)
    return series_in(answers, peer.name, {**asked, **filters})


def stored_instances(peer: DicomwebPeer, study_instance_uid: str, series_instance_uid: str) -> set[str]:
    """The SOP Instance UIDs that the service has of a series; as `query.find_instances`."""
    asked = {"SeriesInstanceUID": checked_uid(series_instance_uid), "StudyInstanceUID": checked_uid(study_instance_uid)}
    with WebSession(peer) as session:
        search = _client(session, peer).search_for_instances
        answers = _all_pages(
            peer,
            MAXIMUM_IMAGES,
            lambda limit, offset: search(study_instance_uid, series_instance_uid, limit=limit, offset=offset),
        )
    _name_study(answers, study_instance_uid, series_instance_uid)
    return instances_in(answers, peer.name, asked)


def expected_instances(peer: DicomwebPeer, study_instance_uid: str, series_instance_uid: str) -> int | None:
    """As `query.expected_instances`."""
    for series in find_series(peer, study_instance_uid):
        if series.series_instance_uid == series_instance_uid:
            if series.instances is not None:
                return series.instances
            return len(stored_instances(peer, study_instance_uid, series_instance_uid)) or None
    return None


def _client(session: WebSession, peer: DicomwebPeer) -> DICOMwebClient:
    client = DICOMwebClient(peer.url, session=session, timeout=(peer.connect_timeout_s, peer.response_timeout_s))
    client.set_http_retry_params(retry=False)
    return client


def _all_pages(peer: DicomwebPeer, limit: int, search: Search) -> list[Dataset]:
    """Every answer, page by page. A service that knows no offset repeats itself, which ends the search.

    Raises:
        PeerUnreachable, QueryRefused, QueryTooWide: as `query.find_studies`.
    """
    found: dict[str, Dataset] = {}
    while True:
        page = _page(peer, search, _PAGE, len(found))
        before = len(found)
        found.update({json.dumps(answer, sort_keys=True): _dataset(answer) for answer in page})
        if len(found) > limit:
            raise QueryTooWide(peer.url, limit)
        if len(found) == before or len(page) < _PAGE:
            return list(found.values())


def _page(peer: DicomwebPeer, search: Search, limit: int, offset: int) -> Sequence[Mapping[str, Any]]:
    try:
        return search(limit, offset)
    except (ValueError, RecursionError) as fault:  # an answer that is no JSON
        raise QueryRefused(peer.url, 0xC000) from fault
    except FAULTS as fault:
        if isinstance(fault, requests.HTTPError) and fault.response is not None:
            check_available(fault.response, peer)
            raise QueryRefused(peer.url, dimse_status(fault.response.status_code)) from fault
        raise PeerUnreachable(peer.url, network_error(fault, peer).reason) from fault


def _dataset(answer: object) -> Dataset:
    """An answer in DICOM JSON (PS3.18 annex F); one that cannot be read is empty, and so belongs to no question."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings repeat the value
        try:
            return Dataset.from_json(answer)  # type: ignore[arg-type]
        except Exception:  # whatever the text is
            return Dataset()


def _name_study(answers: Sequence[Dataset], study_instance_uid: str, series_instance_uid: str = "") -> None:
    """Put in the UIDs that stand in the URL of the question, where an answer leaves them out, as it may."""
    for answer in answers:
        if "StudyInstanceUID" not in answer:
            answer.StudyInstanceUID = study_instance_uid
        if series_instance_uid and "SeriesInstanceUID" not in answer:
            answer.SeriesInstanceUID = series_instance_uid


# -- WADO-RS -----------------------------------------------------------------------------------------------------------


def get_series(
    peer: DicomwebPeer,
    series: FoundSeries,
    spool: Spool,
    *,
    audit: AuditTrail | None = None,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Fetch a series into the spool, each dataset byte for byte as the service has it, and return how many came.

    Raises:
        PeerUnreachable, QueryRefused, RetrievalIncomplete: as `retrieve.get_series`.
    """
    kept = Kept(
        spool, series.series_instance_uid, "DICOMWEB", progress, address=peer.url, audit=audit or NoAuditTrail()
    )
    with kept_as_one(kept), WebSession(peer) as session:
        _fetch(session, peer, series, kept)
        if shortfall := kept.shortfall(series.instances):
            raise RetrievalIncomplete(peer.url, shortfall)
    log.info("series_fetched", series=key_of(series.series_instance_uid)[:8], instances=len(kept.instances))
    return len(kept.instances)


def _fetch(session: WebSession, peer: DicomwebPeer, series: FoundSeries, kept: Kept) -> None:
    study, uid = checked_uid(series.study_instance_uid), checked_uid(series.series_instance_uid)
    headers = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    timeout = (peer.connect_timeout_s, peer.retrieve_timeout_s)
    try:
        with session.get(
            f"{peer.url}/studies/{study}/series/{uid}", headers=headers, timeout=timeout, stream=True
        ) as response:
            check_available(response, peer)
            if response.status_code != HTTPStatus.OK:
                raise QueryRefused(peer.url, dimse_status(response.status_code))
            boundary = boundary_of(response.headers.get("Content-Type", ""))
            body = pieces(response, None, peer.retrieve_timeout_s * max(1, series.instances or MAXIMUM_ANSWERS))
            for part in parts(body, boundary):
                _keep(part, kept)
    except (CutOff, InvalidInstance) as fault:
        raise RetrievalIncomplete(peer.url, str(fault)) from fault
    except FAULTS as fault:
        raise PeerUnreachable(peer.url, network_error(fault, peer).reason) from fault


def _keep(part: bytes, kept: Kept) -> None:
    try:
        file = read_foreign_file(part)
        if file.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            raise ValueError("its transfer syntax is not accepted")
    except ValueError:
        kept.refused += 1
        log.warning("instance_refused", code=InvalidInstance.code, association=kept.association_id[:8])
        return
    kept.keep(file.sop_class_uid, file.sop_instance_uid, file.transfer_syntax_uid, part[file.dataset_offset :])
