"""Fetch series from an archive: one study, one patient, or all of a span of days.

A span is walked day by day, one series at a time, oldest first, so that an interruption loses nothing: what is here
already, with as many instances as the archive has, is passed over the next time. Where a series goes is for its
`Landing` to know: the node (`fetch_into_node`) or a folder (`fetch_into_folder`). Structure sets of a study come before
its images, since a case uses those that are here when it starts. The patient is never named in a log.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, Protocol

import structlog

from dicom_node.audit.trail import AuditTrail
from dicom_node.errors import ArchiveError, NodeBusy, NodeError
from dicom_node.network import archive
from dicom_node.network.archive import AnyPeer
from dicom_node.network.query import FIND, FoundSeries, FoundStudy
from dicom_node.reception.spool import key_of

log = structlog.get_logger()

DEFAULT_MODALITIES: Final = ("RTSTRUCT", "CT")
FOLDER_MODALITIES: Final = ("CT", "NM", "PT", "REG")
"""What goes into a folder unless it is said: pairs of CT and perfusion image, and how they lie on each other."""
MAXIMUM_DAYS: Final = 3660
STRUCTURE_SET: Final = "RTSTRUCT"
_FAILURES_IN_A_ROW: Final = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be fetched.

    Raises:
        ValueError: It is not said clearly.
    """

    patient_id: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    first_day: date | None = None
    last_day: date | None = None
    modalities: tuple[str, ...] = DEFAULT_MODALITIES

    def __post_init__(self) -> None:
        if self.series_instance_uid and not self.study_instance_uid:
            raise ValueError("a series needs its study")
        if (self.first_day is None) != (self.last_day is None):
            raise ValueError("the first and the last day belong together")
        if self.first_day and self.last_day and not 0 <= (self.last_day - self.first_day).days < MAXIMUM_DAYS:
            raise ValueError("the last day is before the first, or more than ten years after it")
        if not (self.patient_id or self.accession_number or self.study_instance_uid or self.first_day):
            raise ValueError("say which: an accession number, a patient, a study or days")

    def spans(self) -> list[tuple[date, date] | None]:
        """The spans of dates to ask for one by one; `None`: any date."""
        if self.first_day is None or self.last_day is None:
            return [None]
        if self.patient_id or self.accession_number or self.study_instance_uid:
            return [(self.first_day, self.last_day)]
        days = [self.first_day + timedelta(n) for n in range((self.last_day - self.first_day).days + 1)]
        return [(day, day) for day in days]

    def digest(self) -> str:
        """A hash of what is asked for, for the audit trail."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


class Fate(StrEnum):
    """What became of a series."""

    FETCHED = "fetched"
    HERE = "here"
    """All of it was here before."""
    WOULD_FETCH = "would fetch"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Fetched:
    """One series and what became of it."""

    series: FoundSeries
    study_date: str
    fate: Fate
    code: str = ""
    message: str = ""


class Landing(Protocol):
    """Where fetched series go."""

    def holds(self, series: FoundSeries) -> bool:
        """Whether all of a series is there."""

    def bring(self, series: FoundSeries) -> None:
        """Fetch a series there.

        Raises:
            NodeError: It did not come, or not as a whole.
        """


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches from one archive.

    Args:
        peer: The archive.
        landing: Where series go.
        audit: Told each question.
    """

    peer: AnyPeer
    landing: Landing
    audit: AuditTrail

    def run(self, wanted: Wanted, *, dry_run: bool = False, limit: int | None = None) -> Iterator[Fetched]:
        """Fetch what is wanted and is not here, and tell of each series.

        Args:
            wanted: What.
            dry_run: Only say what would be fetched.
            limit: After that many series that were fetched, or would be, it ends.

        Raises:
            PeerUnreachable: The archive cannot be reached; also after three series in a row that failed so.
            QueryRefused, QueryTooWide: It does not answer the question.
            NodeBusy: The node has not caught up in time.
        """
        count, failures = 0, 0
        for study, series in self._found(wanted):
            if limit is not None and count >= limit:
                return
            if self.landing.holds(series):
                yield Fetched(series, study.study_date, Fate.HERE)
                continue
            count += 1
            if dry_run:
                yield Fetched(series, study.study_date, Fate.WOULD_FETCH)
                continue
            try:
                self.landing.bring(series)
                failures = 0
                yield Fetched(series, study.study_date, Fate.FETCHED)
            except NodeBusy:
                raise
            except NodeError as fault:
                failures += 1
                log.warning("series_not_fetched", code=fault.code, series=key_of(series.series_instance_uid)[:8])
                yield Fetched(series, study.study_date, Fate.FAILED, fault.code, str(fault))
                if failures >= _FAILURES_IN_A_ROW and not isinstance(fault, ArchiveError):
                    raise

    def _found(self, wanted: Wanted) -> Iterator[tuple[FoundStudy, FoundSeries]]:
        for span in wanted.spans():
            self.audit.query(str(self.peer.address), FIND, wanted.digest())
            studies = archive.find_studies(
                self.peer,
                patient_id=wanted.patient_id,
                accession_number=wanted.accession_number,
                study_instance_uid=wanted.study_instance_uid,
                study_dates=span,
            )
            for study in studies:
                if study.modalities and not set(study.modalities) & set(wanted.modalities):
                    continue
                found = [s for s in archive.find_series(self.peer, study.study_instance_uid) if _is_wanted(s, wanted)]
                for series in sorted(found, key=lambda s: s.modality != STRUCTURE_SET):
                    yield study, self._with_count(series)

    def _with_count(self, series: FoundSeries) -> FoundSeries:
        if series.instances is not None:
            return series
        uids = archive.find_instances(self.peer, series.study_instance_uid, series.series_instance_uid)
        return replace(series, instances=len(uids) or None)


def _is_wanted(series: FoundSeries, wanted: Wanted) -> bool:
    if wanted.series_instance_uid:
        return series.series_instance_uid == wanted.series_instance_uid
    return series.modality in wanted.modalities
