"""What a person may look at and change, as a typed Python API; the commands of `perfnode` are a thin skin over it.

    with Operations(read_settings(Path("site.toml"))) as node:
        for case in node.jobs(failed=True).cases:
            node.retry(case.case_id)

It works beside a running node, on any host of it, and without one. Every change of a case is a decision of somebody: it
is recorded beside the case and told to the audit trail (`review.decision_desk`). A case is named by its id or the first
characters of it, a series that is no case by its key; nothing holds patient data but what people write as a reason.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self

from dicom_node.constancy.own_series import is_own_case
from dicom_node.errors import CaseChanged, NodeError, NothingHeld, UnknownCase, UnknownSeries
from dicom_node.jobs.attempts import AttemptId, Case, CaseState
from dicom_node.jobs.cases import CaseRecord
from dicom_node.jobs.job_rows import QueueState
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.priorities import Priority
from dicom_node.jobs.stages import Stage
from dicom_node.reception.arrivals import Arrival, Arrivals
from dicom_node.reception.spool import Spool
from dicom_node.review.case_review import CaseReview, read_review
from dicom_node.review.decision import Action, Deciding, Wish
from dicom_node.review.decision_desk import DecisionDesk, Done
from dicom_node.review.rating import Changes, Rating
from dicom_node.review.series_log import series_log
from dicom_node.settings.case_settings import choice_of
from dicom_node.settings.config import NodeSettings
from inference.errors import ShadowRefused

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
    review: CaseReview
    """What people decided and said, and how edited structure sets that came back differ from ours."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did."""

    action: str
    """`retry`, `rerun`, `cancel`, `release`, `discard`, `priority`, `requeue`."""
    subject: str
    """Id of the case, or key of the series."""
    queued: tuple[AttemptId, ...] = ()
    """Attempts that were queued."""
    arrival: Arrival | None = None
    """The series as it was before, if it was one."""
    has_effect: bool = True
    """False if there was nothing to do: a case that is not finished cannot be tried again."""


class Operations:
    """The operations on one node, safe to use from several threads; a context manager that gives the database back.

    Args:
        settings: of the node.

    Raises:
        NeverStarted: no node has worked with its database yet; raised by whatever needs it.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._audit = settings.audit_trail()
        self._opened: JobBook | None = None
        self._opening = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.__exit__()

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
        review = read_review(folder, self._desk.version(folder.case_id))
        return CaseDetails(self._book.case(folder.case_id), folder.record(), result, review)

    def waiting(self) -> list[QueueState]:
        """How much waits and runs in every queue that is not empty."""
        return self._book.waiting()

    # -- change ------------------------------------------------------------------------------------------------------

    def retry(
        self, case: str, destination: str = "", *, urgent: bool = False, deciding: Deciding | None = None
    ) -> Change:
        """Try a finished case again from where it stopped, or one destination even while its next attempt waits.

        Args:
            case: which.
            destination: this one only.
            urgent: from now on it goes before cases that are not.
            deciding: who wants it; whoever runs this process if nobody is named.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
            UnknownDestination: nothing of the case was ever on its way there.
            CaseChanged: the case is not any more as the person saw it.
        """
        case_id = self._case_id(case)

        def act() -> Done:
            self._hasten(case_id, urgent)
            return _queued(self._book.retry(case_id, destination))

        return self._decided(case_id, deciding, Wish(Action.RETRY, destination, _hurry(urgent)), act)

    def retry_candidate(self, case: str, *, deciding: Deciding | None = None) -> Change:
        """Let the model in shadow look at a case once more, as after a failure; the case stays as it is.

        Args:
            case: which; nothing is done with one of the self-test.
            deciding: who wants it; whoever runs this process if nobody is named.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
            ShadowRefused: no model runs in shadow.
            ShadowUnreadable: it cannot be read which one does.
            CaseChanged: the case is not any more as the person saw it.
        """
        from inference.models.shadow import shadow_of

        folder = self._settings.cases().find(case)
        if shadow_of(self._settings.model_registry()) is None:
            raise ShadowRefused("no model runs in shadow")

        def act() -> Done:
            return _queued([] if is_own_case(folder) else self._book.retry_candidate(folder.case_id))

        wish = Wish(Action.RETRY, details={"Stage": Stage.CANDIDATE.value})
        return self._decided(folder.case_id, deciding, wish, act)

    def rerun(
        self,
        case: str,
        *,
        urgent: bool = False,
        function_rule: str = "",
        model: str = "",
        deciding: Deciding | None = None,
    ) -> Change:
        """Process a finished case anew with the models and settings in force; what is held of it is superseded.

        Args:
            case: which.
            urgent: from now on it goes before cases that are not.
            function_rule: name of a rule to cut the map with, in place of the site's.
            model: of the registry, to make the map with in place of the one in force.
            deciding: who wants it; whoever runs this process if nobody is named.

        What a model or a rule that was chosen so gives is held for a person at every destination, and says so.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
            ChoiceRefused: there is no such rule or model, or it must not be used.
            CaseChanged: the case is not any more as the person saw it.
        """
        case_id = self._case_id(case)
        choice = choice_of(self._settings, function_rule, model)
        details = {"Function rule": choice.function_rule, "Model": choice.model, **_hurry(urgent)}

        def act() -> Done:
            self._hasten(case_id, urgent)
            return _queued(self._book.rerun(case_id, choice))

        wish = Wish(Action.RERUN, details={name: value for name, value in details.items() if value})
        return self._decided(case_id, deciding, wish, act)

    def cancel(self, case: str, *, deciding: Deciding | None = None) -> Change:
        """Stop a case, wherever it stands and on whichever host: nothing more of it is processed or sent.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
            CaseChanged: the case is not any more as the person saw it.
        """
        case_id = self._case_id(case)
        wish = Wish(Action.CANCEL)
        return self._decided(case_id, deciding, wish, lambda: Done(has_effect=self._book.cancel(case_id)))

    def prioritise(self, case: str, priority: Priority, *, deciding: Deciding | None = None) -> Change:
        """Let whatever is queued of a case from now on go before others, or after them; what is queued keeps its place.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
            CaseChanged: the case is not any more as the person saw it.
        """
        case_id = self._case_id(case)
        wish = Wish(Action.PRIORITY, details={"Priority": priority.value})
        return self._decided(case_id, deciding, wish, lambda: Done(has_effect=self._book.prioritise(case_id, priority)))

    def release(self, subject: str, destination: str = "", *, deciding: Deciding | None = None) -> Change:
        """Send what is held of a case; or hand a series over as it is: held, interrupted, or put aside by a rule.

        Args:
            subject: of a case or of a series.
            destination: of a case, this one only; all that wait if empty.
            deciding: who wants it; whoever runs this process if nobody is named.

        Raises:
            UnknownSeries: neither a case nor a series begins so, or several do.
            NothingHeld: nothing of the case waits for a person.
            CaseChanged: the case is not any more as the person saw it.
        """
        if (case_id := self._case_or_none(subject)) is None:
            return self._decided_of_series(Action.RELEASE, subject, deciding)
        wish = Wish(Action.RELEASE, destination)
        return self._decided(case_id, deciding, wish, lambda: _held(case_id, self._book.release(case_id, destination)))

    def discard(self, subject: str, destination: str = "", *, deciding: Deciding | None = None) -> Change:
        """Send nothing of what is held of a case; or put aside a series that nobody wants.

        Raises:
            UnknownSeries: neither a case nor a series begins so, or several do.
            NothingHeld: nothing of the case waits for a person.
            SeriesNotComplete: the series is arriving, or changed in this moment.
            CaseChanged: the case is not any more as the person saw it.
        """
        if (case_id := self._case_or_none(subject)) is None:
            return self._decided_of_series(Action.DISCARD, subject, deciding)
        wish = Wish(Action.DISCARD, destination)
        return self._decided(case_id, deciding, wish, lambda: _held(case_id, self._book.discard(case_id, destination)))

    def rate(self, case: str, deciding: Deciding, changes: Changes, minutes: float | None = None) -> Rating:
        """Keep what a planner says of a result after having worked with it; the words are the reason of `deciding`.

        Raises:
            UnknownCase: none has an id that begins so, or several have.
        """
        return self._desk.rate(self._case_id(case), deciding, changes, minutes)

    def requeue(
        self,
        destination: str = "",
        code: str = "",
        *,
        urgent: bool = False,
        only_ask: bool = False,
        deciding: Deciding | None = None,
    ) -> tuple[AttemptId, ...]:
        """Try every failed delivery again, the oldest case first; a second call finds nothing more to do.

        Args:
            destination: only those to it.
            code: only those that failed with it.
            urgent: their cases go before others from now on.
            only_ask: change nothing.
            deciding: who wants it; whoever runs this process if nobody is named.

        Returns:
            The attempts that had failed.
        """
        failed = self._book.dead_letters(destination, code)
        for case_id in () if only_ask else dict.fromkeys(attempt.case_id for attempt in failed):

            def act(case_id: str = case_id) -> Done:
                self._hasten(case_id, urgent)
                return _queued(self._book.requeue(case_id, destination, code))

            self._decided(case_id, deciding, Wish(Action.REQUEUE, destination, _hurry(urgent)), act)
        return tuple(failed)

    # -- all ---------------------------------------------------------------------------------------------------------

    @property
    def _book(self) -> JobBook:
        with self._opening:
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

    @property
    def _desk(self) -> DecisionDesk:
        return DecisionDesk(self._settings, self._audit, self._book.case)

    def _hasten(self, case_id: str, urgent: bool) -> None:
        if urgent:
            self._book.prioritise(case_id, Priority.URGENT)

    def _decided(self, case_id: str, deciding: Deciding | None, wish: Wish, act: Callable[[], Done]) -> Change:
        done = self._desk.decide(case_id, deciding or Deciding.at_command_line(), wish, act)
        return Change(wish.action, case_id, done.queued, has_effect=done.has_effect)

    def _decided_of_series(self, action: Action, subject: str, deciding: Deciding | None) -> Change:
        who, log, arrivals = (
            deciding or Deciding.at_command_line(),
            series_log(self._settings.data_dir),
            self._arrivals(),
        )
        if who.version and who.version not in [arrival_version(a) for a in arrivals.all() if a.series_key == subject]:
            raise CaseChanged(subject[:16])
        decision = log.ask(who, Wish(action, details={"Series": subject[:16]}))
        try:
            arrival = arrivals.release(subject) if action is Action.RELEASE else arrivals.discard(subject)
        except NodeError as fault:
            log.answer(decision, fault.code)
            raise
        told = {"Decision": decision.id, "Role": who.role}
        self._audit.operator_action(action, f"series:{arrival.series_key[:16]}", who.by, told)
        log.answer(decision, "DONE")
        return Change(action, arrival.series_key, arrival=arrival)


def arrival_version(arrival: Arrival) -> str:
    """What a form carries that shows this series as it is; a decision is refused once the series has changed."""
    facts = [arrival.series_key, arrival.state.value, arrival.instances, arrival.code, arrival.since_s]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _queued(attempts: list[AttemptId]) -> Done:
    return Done(tuple(attempts), has_effect=bool(attempts))


def _held(case_id: str, queued: list[AttemptId]) -> Done:
    if not queued:
        raise NothingHeld(case_id)
    return _queued(queued)


def _hurry(urgent: bool) -> dict[str, str]:
    return {"Priority": Priority.URGENT.value} if urgent else {}
