"""What a person may look at and change, as a typed Python API; the commands of `perfnode` are a thin skin over it.

    with Operations(read_settings(Path("site.toml"))) as node:
        for case in node.jobs(failed=True).cases:
            node.retry(case.case_id)

It works beside a running node, on any host of it, and without one. Every change is told to the audit trail here. A case
is named by its id or the first characters of it, a series that is no case by its key; nothing holds patient data.
"""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self

from dicom_node.errors import NothingHeld, UnknownCase, UnknownSeries
from dicom_node.jobs.attempts import AttemptId, Case, CaseState
from dicom_node.jobs.cases import CaseRecord
from dicom_node.jobs.job_rows import QueueState
from dicom_node.jobs.jobs import JobBook
from dicom_node.keeping.retention import lock_of
from dicom_node.named_locks import NamedLocks
from dicom_node.reception.arrivals import Arrival, Arrivals
from dicom_node.reception.spool import Spool
from dicom_node.settings.config import NodeSettings

NEWEST: Final = 100
"""So many cases are listed unless more are asked for."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is here."""

    cases: tuple[Case, ...]
    """The one with the oldest last activity first."""
    arrivals: tuple[Arrival, ...]
    """Series of this host that are no cases."""
    is_whole: bool
    """Whether these are all cases that were asked for, and not only the newest of them."""


@dataclass(frozen=True, slots=True)
class CaseDetails:
    """All that is known of one case."""

    case: Case
    record: CaseRecord
    result: dict[str, Any] | None
    """Facts of the result: lobar table, findings, models; None while there is none."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did."""

    action: str
    """`retry`, `rerun`, `cancel`, `release`, `discard`."""
    subject: str
    """Id of the case, or key of the series."""
    queued: tuple[AttemptId, ...] = ()
    """Attempts that were queued."""
    arrival: Arrival | None = None
    """The series as it was before, if it was one."""
    has_effect: bool = True
    """False if there was nothing to do: a case that is not finished cannot be tried again."""


class Operations:
    """The operations on one node; a context manager that gives the database back.

    Args:
        settings: of the node.

    Raises:
        NeverStarted: no node has worked with its database yet; raised by whatever needs it.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._audit = settings.audit_trail()
        self._opened: JobBook | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._opened is not None:
            self._opened.__exit__()

    # -- look --------------------------------------------------------------------------------------------------------

    def jobs(
        self,
        states: Iterable[CaseState] = (),
        *,
        failed: bool = False,
        since_s: float = 0.0,
        limit: int | None = NEWEST,
    ) -> Listing:
        """Cases, and series that are no cases.

        Args:
            states: only cases in one of these; all if empty.
            failed: only the dead letters: cases that failed and wait for a person. No series.
            since_s: only cases of which something happened after this Unix time.
            limit: at most so many, the newest; None for all.
        """
        wanted = frozenset({CaseState.FAILED} if failed else states or CaseState)
        found = (c for c in self._book.newest_cases() if c.state in wanted and c.updated_at_s >= since_s)
        cases = list(islice(found, None if limit is None else limit + 1))
        is_whole = limit is None or len(cases) <= limit
        arrivals = [] if failed or states else self._arrivals().all()
        return Listing(tuple(reversed(cases[:limit])), tuple(arrivals), is_whole)

    def show(self, case: str) -> CaseDetails:
        """One case with every attempt.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
        """
        folder = self._settings.cases().find(case)
        facts = folder.result.with_suffix(".json")
        result = json.loads(facts.read_text()) if facts.exists() else None
        return CaseDetails(self._book.case(folder.case_id), folder.record(), result)

    def waiting(self) -> list[QueueState]:
        """How much waits and runs in every queue that is not empty."""
        return self._book.waiting()

    # -- change ------------------------------------------------------------------------------------------------------

    def retry(self, case: str, destination: str = "", *, urgent: bool = False) -> Change:
        """Try a finished case again from where it stopped, or one destination even while its next attempt waits.

        Args:
            case: which.
            destination: this one only.
            urgent: from now on it goes before cases that are not.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
            UnknownDestination: nothing of the case was ever on its way there.
        """
        case_id = self._case_id(case)
        self._hasten(case_id, urgent)
        with self._kept(case_id):
            return self._told("retry", case_id, self._book.retry(case_id, destination))

    def rerun(self, case: str, *, urgent: bool = False) -> Change:
        """Process a finished case anew with the models and settings in force; what is held of it is superseded.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
        """
        case_id = self._case_id(case)
        self._hasten(case_id, urgent)
        with self._kept(case_id):
            return self._told("rerun", case_id, self._book.rerun(case_id))

    def cancel(self, case: str) -> Change:
        """Stop a case, wherever it stands and on whichever host: nothing more of it is processed or sent.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
        """
        case_id = self._case_id(case)
        has_effect = self._book.cancel(case_id)
        self._audit.operator_action("cancel", f"case:{case_id}")
        return Change("cancel", case_id, has_effect=has_effect)

    def release(self, subject: str, destination: str = "") -> Change:
        """Send what is held of a case; or hand a series over as it is: held, interrupted, or put aside by a rule.

        Args:
            subject: of a case or of a series.
            destination: of a case, this one only; all that wait if empty.

        Raises:
            UnknownSeries: neither a case nor a series begins so, or several do.
            NothingHeld: nothing of the case waits for a person.
        """
        if (case_id := self._case_or_none(subject)) is None:
            arrival = self._arrivals().release(subject)
            return self._told_of_series("release", arrival)
        return self._told("release", case_id, self._found_held(case_id, self._book.release(case_id, destination)))

    def discard(self, subject: str, destination: str = "") -> Change:
        """Send nothing of what is held of a case; or put aside a series that nobody wants.

        Raises:
            UnknownSeries: neither a case nor a series begins so, or several do.
            NothingHeld: nothing of the case waits for a person.
            SeriesNotComplete: the series is arriving, or changed in this moment.
        """
        if (case_id := self._case_or_none(subject)) is None:
            arrival = self._arrivals().discard(subject)
            return self._told_of_series("discard", arrival)
        return self._told("discard", case_id, self._found_held(case_id, self._book.discard(case_id, destination)))

    def requeue(
        self, destination: str = "", code: str = "", *, urgent: bool = False, only_ask: bool = False
    ) -> tuple[AttemptId, ...]:
        """Try every failed delivery again, the oldest case first; a second call finds nothing more to do.

        Args:
            destination: only those to it.
            code: only those that failed with it.
            urgent: their cases go before others from now on.
            only_ask: change nothing.

        Returns:
            The attempts that had failed.
        """
        failed = self._book.requeue(destination, code, only_ask=True)
        if only_ask:
            return tuple(failed)
        for case_id in dict.fromkeys(attempt.case_id for attempt in failed):
            self._hasten(case_id, urgent)
        failed = self._book.requeue(destination, code)
        for case_id in dict.fromkeys(attempt.case_id for attempt in failed):
            self._audit.operator_action("requeue", f"case:{case_id}")
        return tuple(failed)

    # -- all ---------------------------------------------------------------------------------------------------------

    @property
    def _book(self) -> JobBook:
        if self._opened is None:
            self._opened = JobBook(self._settings.database, self._settings.cases())
        return self._opened

    def _arrivals(self) -> Arrivals:
        return Arrivals.under(self._settings.data_dir, Spool(self._settings.data_dir / "spool"))

    def _case_id(self, start_of_id: str) -> str:
        return self._settings.cases().find(start_of_id).case_id

    def _case_or_none(self, subject: str) -> str | None:
        """The case that is meant, unless a series is; ids of cases have 16 characters and keys of series 64."""
        try:
            case_id = self._case_id(subject)
        except UnknownCase:
            return None
        series = [a.series_key for a in self._arrivals().all() if a.series_key.startswith(subject)]
        if series:
            raise UnknownSeries(subject, len(series) + 1)
        return case_id

    def _hasten(self, case_id: str, urgent: bool) -> None:
        if urgent:
            self._book.hasten(case_id)

    @staticmethod
    def _found_held(case_id: str, queued: list[AttemptId]) -> list[AttemptId]:
        if not queued:
            raise NothingHeld(case_id)
        return queued

    def _kept(self, case_id: str) -> AbstractContextManager[None]:
        """While this is held nobody removes the case (`retention`)."""
        locks = NamedLocks(self._settings.database, self._settings.data_dir)
        return locks.hold(lock_of(self._settings.cases().folder(case_id)))

    def _told(self, action: str, case_id: str, queued: list[AttemptId]) -> Change:
        self._audit.operator_action(action, f"case:{case_id}")
        return Change(action, case_id, tuple(queued), has_effect=bool(queued))

    def _told_of_series(self, action: str, arrival: Arrival) -> Change:
        self._audit.operator_action(action, f"series:{arrival.series_key[:16]}")
        return Change(action, arrival.series_key, arrival=arrival)
