"""Study Root C-FIND SCU: what an archive has, asked in such a way that a wrong answer does no harm.

Archives answer with what they like: other patients than asked for, counts that are empty, more answers than fit in
memory, text in any character set. So every question names one patient, study, series or span of days and never holds a
wildcard, every answer is compared with the question and dropped if it does not belong to it, and too many answers are
an error rather than a shorter list. Information model: PS3.4 section C.6.2.
"""

import re
import time
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from dicom_node.errors import PeerUnreachable, QueryInterrupted, QueryRefused, QueryTooWide
from dicom_node.network.requestor import Peer, association

log = structlog.get_logger()

FIND: Final = StudyRootQueryRetrieveInformationModelFind
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
MAXIMUM_ANSWERS: Final = 2000
"""Studies of a day, series of a study; a series of more images than this is counted by its own question."""
MAXIMUM_IMAGES: Final = 20_000

STUDY_FIELDS: Final = ("StudyInstanceUID", "StudyDate", "StudyDescription", "ModalitiesInStudy")
SERIES_FIELDS: Final = (
    "Modality",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "NumberOfSeriesRelatedInstances",
)

_PENDING: Final = (0xFF00, 0xFF01)
"""Matches are coming; FF01: the archive did not look at all optional keys (PS3.4 table C.4-1)."""
_QUERY_DEADLINE_S: Final = 600.0
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+")


@dataclass(frozen=True, slots=True)
class ArchivePeer(Peer):
    """An archive that we ask and fetch from."""

    retrieve: Literal["c-get", "c-move"] = "c-get"
    """C-GET brings the images over the association we open; C-MOVE sends them to the running node's own port."""
    retrieve_timeout_s: float = 600.0
    """From one sign of life to the next during a retrieval; an archive may have to load a tape first."""
    folder_ae_title: str | None = None
    """With C-MOVE: what we are called, and where we listen, while series are fetched into a folder. Not the node's own
    title and port, where what comes is a patient to work on."""
    folder_port: int | None = None


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study that an archive has."""

    study_instance_uid: str
    study_date: str
    """As answered, `YYYYMMDD`, or empty."""
    description: str
    modalities: tuple[str, ...]
    """Empty if the archive does not say."""


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """A series that an archive has."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str
    number: str
    description: str
    instances: int | None
    """How many instances the archive says it has; `None` if it does not say."""


def find_studies(
    peer: Peer,
    *,
    patient_id: str = "",
    accession_number: str = "",
    study_instance_uid: str = "",
    study_dates: tuple[date, date] | None = None,
    limit: int = MAXIMUM_ANSWERS,
) -> list[FoundStudy]:
    """The studies that fit all of what is given, oldest first.

    Raises:
        ValueError: nothing is given, or something that would match more than one value.
        PeerUnreachable: no association, or no answer.
        QueryRefused: the archive answered with a failure.
        QueryTooWide: more than `limit` studies fit.
    """
    asked = study_keys(patient_id, accession_number, study_instance_uid)
    if not asked and study_dates is None:
        raise ValueError("a patient, an accession number, a study or dates must be given")
    extra = {} if study_dates is None else {"StudyDate": date_range(study_dates)}
    answers = _find(peer, "STUDY", {**asked, **extra}, STUDY_FIELDS, limit)
    return studies_in(answers, peer.name, asked, study_dates)


def find_series(peer: Peer, study_instance_uid: str, modality: str = "") -> list[FoundSeries]:
    """The series of a study, of one modality or of all.

    Raises:
        ValueError, PeerUnreachable, QueryRefused, QueryTooWide: as `find_studies`.
    """
    asked = {"StudyInstanceUID": checked_uid(study_instance_uid)}
    if modality:
        asked["Modality"] = checked_key(modality)
    return series_in(_find(peer, "SERIES", asked, SERIES_FIELDS, MAXIMUM_ANSWERS), peer.name, asked)


def find_instances(peer: Peer, study_instance_uid: str, series_instance_uid: str) -> set[str]:
    """The SOP Instance UIDs that the archive has of a series.

    Raises:
        ValueError, PeerUnreachable, QueryRefused, QueryTooWide: as `find_studies`.
    """
    asked = {
        "StudyInstanceUID": checked_uid(study_instance_uid),
        "SeriesInstanceUID": checked_uid(series_instance_uid),
    }
    return instances_in(_find(peer, "IMAGE", asked, ("SOPInstanceUID",), MAXIMUM_IMAGES), peer.name, asked)


def expected_instances(peer: Peer, study_instance_uid: str, series_instance_uid: str) -> int | None:
    """How many instances the archive has of a series, or `None` if it does not know the series.

    Number of Series Related Instances (0020,1209) is optional; an archive that leaves it empty is asked for the images
    themselves, which are counted.

    Raises:
        ValueError, PeerUnreachable, QueryRefused, QueryTooWide: as `find_studies`.
    """
    for series in find_series(peer, study_instance_uid):
        if series.series_instance_uid == series_instance_uid:
            if series.instances is not None:
                return series.instances
            return len(find_instances(peer, study_instance_uid, series_instance_uid)) or None
    return None


# -- questions, shared with the web client ---------------------------------------------------------------------------


def study_keys(patient_id: str, accession_number: str, study_instance_uid: str) -> dict[str, str]:
    """The matching keys of a question for studies, by keyword; those not given are absent.

    Raises:
        ValueError: one of them would match more than itself.
    """
    keys = {
        "PatientID": patient_id and checked_key(patient_id),
        "AccessionNumber": accession_number and checked_key(accession_number),
        "StudyInstanceUID": study_instance_uid and checked_uid(study_instance_uid),
    }
    return {keyword: value for keyword, value in keys.items() if value}


def checked_key(value: str) -> str:
    """A value that matches nothing but itself: `*` and `?` are wildcards, a backslash separates (PS3.4 C.2.2.2).

    Raises:
        ValueError: it might match more. The message does not repeat it.
    """
    stripped = value.strip()
    if not stripped or len(stripped) > 64 or not stripped.isprintable() or re.search(r"[*?\\]", stripped):
        raise ValueError("a value to search for must have 1 to 64 printable characters without *, ? and backslash")
    return stripped


def checked_uid(uid: str) -> str:
    """A UID (PS3.5 section 9.1).

    Raises:
        ValueError: it is none.
    """
    if len(uid) > 64 or not _UID.fullmatch(uid):
        raise ValueError("a UID has at most 64 digits and points")
    return uid


def date_range(dates: tuple[date, date]) -> str:
    """Two days as a range to match, both included (PS3.4 section C.2.2.2.5).

    Raises:
        ValueError: the second day is before the first.
    """
    first, last = dates
    if last < first:
        raise ValueError("the last day is before the first")
    return f"{first:%Y%m%d}-{last:%Y%m%d}"


# -- answers, shared likewise ----------------------------------------------------------------------------------------


def studies_in(
    answers: Iterable[Dataset], peer: str, asked: Mapping[str, str], study_dates: tuple[date, date] | None
) -> list[FoundStudy]:
    """The studies in answers, without answers to another question; one without a date is taken as matched."""
    found = {}
    for answer in answers:
        study = FoundStudy(
            _text(answer, "StudyInstanceUID"),
            _text(answer, "StudyDate"),
            _text(answer, "StudyDescription"),
            tuple(part for part in _text(answer, "ModalitiesInStudy").split("\\") if part),
        )
        if _is_asked_for(answer, "StudyInstanceUID", asked) and _within(study.study_date, study_dates):
            found[study.study_instance_uid] = study
        else:
            _log_dropped(peer, "STUDY")
    return sorted(found.values(), key=lambda study: (study.study_date, study.study_instance_uid))


def series_in(answers: Iterable[Dataset], peer: str, asked: Mapping[str, str]) -> list[FoundSeries]:
    """The series in answers, without answers to another question."""
    found = {}
    for answer in answers:
        if not _is_asked_for(answer, "SeriesInstanceUID", asked):
            _log_dropped(peer, "SERIES")
            continue
        series = FoundSeries(
            asked["StudyInstanceUID"],
            _text(answer, "SeriesInstanceUID"),
            _text(answer, "Modality"),
            _text(answer, "SeriesNumber"),
            _text(answer, "SeriesDescription"),
            _count(answer, "NumberOfSeriesRelatedInstances"),
        )
        found[series.series_instance_uid] = series
    return sorted(found.values(), key=lambda series: series.series_instance_uid)


def instances_in(answers: Iterable[Dataset], peer: str, asked: Mapping[str, str]) -> set[str]:
    """The SOP Instance UIDs in answers, without answers to another question."""
    found = set()
    for answer in answers:
        if _is_asked_for(answer, "SOPInstanceUID", asked):
            found.add(_text(answer, "SOPInstanceUID"))
        else:
            _log_dropped(peer, "IMAGE")
    return found


def _is_asked_for(answer: Dataset, key: str, asked: Mapping[str, str]) -> bool:
    is_uid = bool(_UID.fullmatch(_text(answer, key)))
    return is_uid and all(_text(answer, keyword) == value for keyword, value in asked.items())


def _within(study_date: str, dates: tuple[date, date] | None) -> bool:
    return not study_date or dates is None or f"{dates[0]:%Y%m%d}" <= study_date <= f"{dates[1]:%Y%m%d}"


def _log_dropped(peer: str, level: str) -> None:
    log.warning("answer_dropped", code="ANSWER_NOT_ASKED_FOR", peer=peer, level=level)


def _count(answer: Dataset, keyword: str) -> int | None:
    text = _text(answer, keyword)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


# -- the protocol ----------------------------------------------------------------------------------------------------


def _find(peer: Peer, level: str, keys: Mapping[str, str], returned: Sequence[str], limit: int) -> list[Dataset]:
    """Every answer to one question.

    Raises:
        PeerUnreachable, QueryRefused, QueryTooWide: as `find_studies`.
    """
    context = build_context(FIND, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    with association(peer, [context]) as opened:
        if opened is None:
            raise QueryRefused(str(peer.address), SOP_CLASS_NOT_SUPPORTED)
        answers: list[Dataset] = []
        status = _PENDING[0]
        with closing(_responses(opened, peer, _identifier(level, keys, returned))) as responses:
            for status, answer in responses:
                if status in _PENDING and answer is not None:
                    answers.append(answer)
                if len(answers) == limit + 1:
                    opened.send_c_cancel(1, query_model=FIND)
                if len(answers) > 2 * limit:  # it does not listen
                    raise QueryTooWide(str(peer.address), limit)
    if len(answers) > limit:
        raise QueryTooWide(str(peer.address), limit)
    if status != 0x0000:
        raise QueryRefused(str(peer.address), status)
    return answers


def _responses(opened: Any, peer: Peer, question: Dataset) -> Generator[tuple[int, Dataset | None]]:
    deadline = time.monotonic() + _QUERY_DEADLINE_S
    for response, identifier in opened.send_c_find(question, FIND):
        status = response.get("Status")
        if status is None:
            raise QueryInterrupted(str(peer.address), "it did not answer the query")
        if time.monotonic() > deadline:
            raise PeerUnreachable(str(peer.address), "its answers to a query took too long")
        yield int(status), identifier


def _identifier(level: str, keys: Mapping[str, str], returned: Sequence[str]) -> Dataset:
    identifier = Dataset()
    if not all(value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    for keyword in returned:
        setattr(identifier, keyword, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a value that is too long; it may be a patient's
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
    return identifier


def _text(answer: Dataset, keyword: str) -> str:
    """A value as text; empty if it is absent or cannot be read in the character set that the answer declares."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings repeat the value
        try:
            value = answer.get(keyword)
        except Exception:  # whatever the bytes are, an answer we cannot read is one without this value
            return ""
    if value is None:
        return ""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value).strip(" \0")
    return "\\".join(str(part).strip(" \0") for part in value)
