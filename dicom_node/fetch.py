"""Fetch series from an archive into the running node: one study, one patient, or all of a span of days.

A span is walked day by day, one series at a time, oldest first, so that an interruption loses nothing: what is here
already, as a case or in the spool, with as many instances as the archive has, is passed over the next time. Structure
sets of a study come before its images, since a case uses those that are here when it starts. The patient is never
named in a log.
"""

import hashlib
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog

from dicom_node.audit.trail import AuditTrail, audit_folder
from dicom_node.errors import ArchiveError, NeverStarted, NodeBusy, NodeError, PeerUnreachable, RetrievalIncomplete
from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.jobs import JobBook
from dicom_node.network import archive
from dicom_node.network.archive import AnyPeer
from dicom_node.network.query import FIND, FoundSeries, FoundStudy
from dicom_node.reception.arrivals import Arrivals
from dicom_node.reception.spool import Spool, key_of
from dicom_node.settings.config import NodeSettings

log = structlog.get_logger()

DEFAULT_MODALITIES: Final = ("RTSTRUCT", "CT")
MAXIMUM_DAYS: Final = 3660
_ROOM: Final = 1.25
"""Fetching stops at this many times the free space at which the receiver stops: senders come first."""
_FAILURES_IN_A_ROW: Final = 3
_ARRIVAL_S: Final = 15.0
_STRUCTURE_SET: Final = "RTSTRUCT"


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


@dataclass(slots=True)
class Fetcher:
    """Fetches for one node, beside it while it runs or while it does not.

    Args:
        settings: Of the node.
        peer: The archive.
        maximum_waiting: With this many cases in processing nothing more is fetched.
        patience_s: How long to wait for the node to catch up before giving up.
        progress: Told the series that is being fetched, before it and after each of its instances.
    """

    settings: NodeSettings
    peer: AnyPeer
    maximum_waiting: int = 5
    patience_s: float = 3600.0
    progress: Callable[[FoundSeries], None] = lambda series: None
    spool: Spool = field(init=False)
    audit: AuditTrail = field(init=False)
    _cases: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        data_dir = self.settings.data_dir
        self.spool = Spool(data_dir / "spool", minimum_free_mb=self.settings.minimum_free_mb)
        self.audit = AuditTrail(audit_folder(data_dir), self.settings.receiver.ae_title, self.settings.audit)
        self._cases = {}
        for case in self.settings.cases().all():
            record = case.record()
            uid = record.series_instance_uid
            self._cases[uid] = max(record.instances, self._cases.get(uid, 0))

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
            if self._is_here(series):
                yield Fetched(series, study.study_date, Fate.HERE)
                continue
            count += 1
            if dry_run:
                yield Fetched(series, study.study_date, Fate.WOULD_FETCH)
                continue
            try:
                self._fetch(series)
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

    # -- inside ------------------------------------------------------------------------------------------------------

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
                for series in sorted(found, key=lambda s: s.modality != _STRUCTURE_SET):
                    yield study, self._with_count(series)

    def _with_count(self, series: FoundSeries) -> FoundSeries:
        if series.instances is not None:
            return series
        uids = archive.find_instances(self.peer, series.study_instance_uid, series.series_instance_uid)
        return replace(series, instances=len(uids) or None)

    def _held(self, series: FoundSeries) -> int:
        """How many instances of a series are here: in a case, in the spool, or put aside."""
        key = key_of(series.series_instance_uid)
        arrivals = Arrivals.under(self.settings.data_dir, self.spool)
        shelved = [s for shelf in (arrivals.unmatched, arrivals.discarded) for s in shelf.of_key(key)]
        spooled = sum(1 for _ in (self.spool.incoming / key).glob("*.dcm"))
        counts = [len(s.instances()) for s in shelved]
        return max([self._case_instances(series), spooled, *counts])

    def _case_instances(self, series: FoundSeries) -> int:
        return self._cases.get(series.series_instance_uid, 0)

    def _is_here(self, series: FoundSeries) -> bool:
        if series.modality == _STRUCTURE_SET:
            return self._has_structures(series)
        return series.instances is not None and 0 < series.instances <= self._held(series)

    def _has_structures(self, series: FoundSeries) -> bool:
        """Structure sets lie with the images they refer to, each under the key of its own UID."""
        folder = self.settings.shared_dir / "structures"
        if not folder.is_dir():
            return False
        uids = archive.find_instances(self.peer, series.study_instance_uid, series.series_instance_uid)
        return bool(uids) and all(any(folder.glob(f"*/{key_of(uid)}.dcm")) for uid in uids)

    def _fetch(self, series: FoundSeries) -> None:
        self._wait_for_node()
        through_receiver = archive.comes_through_receiver(self.peer)
        if through_receiver:
            self._require_running()
        self.progress(series)
        archive.fetch_series(self.peer, series, self.spool, self.audit, lambda: self.progress(series))
        if through_receiver and series.modality != _STRUCTURE_SET:
            self._require_arrival(series)

    def _wait_for_node(self) -> None:
        """Wait until the node has time and room.

        Raises:
            NodeBusy: It has not, for as long as we wait.
        """
        deadline = time.monotonic() + self.patience_s
        while reason := self._busy():
            if time.monotonic() > deadline:
                raise NodeBusy(reason)
            time.sleep(min(2.0, max(0.05, self.patience_s)))

    def _busy(self) -> str:
        free_mb = _free_mb(self.spool.incoming)
        if free_mb < _ROOM * self.settings.minimum_free_mb:
            return f"only {free_mb:.0f} MB of disk are free"
        try:
            with JobBook(self.settings.database, self.settings.cases()) as book:
                waiting = sum(case.state is CaseState.PROCESSING for case in book.cases())
        except NeverStarted:
            return ""
        return f"{waiting} cases are being processed" if waiting >= self.maximum_waiting else ""

    def _require_running(self) -> None:
        receiver = self.settings.receiver
        host = "127.0.0.1" if receiver.host in ("0.0.0.0", "") else receiver.host  # noqa: S104  # compared, not bound
        try:
            socket.create_connection((host, receiver.port), timeout=5.0).close()
        except OSError as fault:
            address = f"{receiver.ae_title}@{host}:{receiver.port}"
            raise PeerUnreachable(address, "C-MOVE sends to this node, and it does not run") from fault

    def _require_arrival(self, series: FoundSeries) -> None:
        """An archive that sends to another host under our AE title reports success all the same.

        Raises:
            RetrievalIncomplete: Not everything is here after a while.
        """
        deadline = time.monotonic() + _ARRIVAL_S
        while (held := max(self._held(series), self._new_cases().get(series.series_instance_uid, 0))) < (
            series.instances or 1
        ):
            if time.monotonic() > deadline:
                reason = f"it says it sent them, but {held} of {series.instances} instances are here; does it know"
                raise RetrievalIncomplete(str(self.peer.address), f"{reason} this host and port for our AE title?")
            time.sleep(0.1)

    def _new_cases(self) -> dict[str, int]:
        """Cases of the last minutes; older ones were read at the start."""
        found = {}
        for path in self.settings.cases().root.glob("*/case.json"):
            try:
                if time.time() - path.stat().st_mtime < 10 * _ARRIVAL_S:
                    facts = json.loads(path.read_text())
                    found[str(facts["series_instance_uid"])] = int(facts["instances"])
            except (OSError, ValueError, KeyError):  # being written, or removed meanwhile
                continue
        return found


def _is_wanted(series: FoundSeries, wanted: Wanted) -> bool:
    if wanted.series_instance_uid:
        return series.series_instance_uid == wanted.series_instance_uid
    return series.modality in wanted.modalities


def _free_mb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 1e6
