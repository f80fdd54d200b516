"""From the spool to cases: which series are complete and wanted, and what becomes of them.

DICOM has no "end of series". A series is looked at when the association that brought it has ended by an A-RELEASE and
nothing came for the quiet period. Then rules say whether it is wanted (`rules`), and evidence whether it is whole
(`completeness`). What is in doubt is held, with a reason, until it changes or a person releases or discards it
(`arrivals`); a series whose last association was cut off waits for its sender. Half a lung is never processed because a
cable was pulled.

What came before counts: slices that arrive after a series was taken make a new case of old and new slices together.
The same series sent again makes no new case; a finished one is tried or delivered again, with the same UIDs.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar

import structlog

from dicom_node.durable_files import remove_abandoned_parts
from dicom_node.errors import SeriesNotComplete, code_of
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.jobs import JobBook
from dicom_node.reception.arrivals import CONFLICT, INTERRUPTED, Arrivals
from dicom_node.reception.case_opening import CaseOpening, Locks, NoLocks, Origin, Structures
from dicom_node.reception.completeness import ArchiveCounts, CompletenessSettings, CountInstances, Doubt
from dicom_node.reception.holds import Hold, state_of
from dicom_node.reception.judge import Judge, Verdict
from dicom_node.reception.rules import UNMATCHED, Action, Rule
from dicom_node.reception.series_facts import read_series_facts
from dicom_node.reception.shelf import Put, Reason, ShelvedSeries
from dicom_node.reception.spool import Spool, SpooledSeries

Series = TypeVar("Series")

_TIDY_S: Final = 600.0
_RECOVER_S: Final = 5.0
_LONGEST_RECOVER_S: Final = 600.0
_NO_REFERENCE: Final = "The RT Structure Set refers to no series, so it belongs to no CT."
_NO_RULE: Final = "No rule took it; perfnode rules list shows the rules, perfnode rules test tries them on files."


@dataclass(slots=True)
class Intake:
    """Takes complete series out of the spool and hands them to the engine."""

    arrivals: Arrivals
    opening: CaseOpening
    judge: Judge
    room_mb: float = 0.0
    """With less free disk than this, what was put aside goes before its time, the oldest first."""
    stopped: Callable[[str], Doubt | None] = field(default=lambda rule: None)
    """Why a series that a rule takes, told by its name, must wait for the node itself."""
    _tidied_s: float = field(default=float("-inf"))
    _failed: dict[str, str] = field(default_factory=dict)
    _recover_s: float = field(default=float("inf"))
    """Something failed half way: when it is time to finish it."""
    _pause_s: float = field(default=_RECOVER_S)

    @classmethod
    def of(
        cls,
        data_dir: Path,
        cases: CaseStore,
        spool: Spool,
        jobs: JobBook,
        rules: Sequence[Rule],
        settings: CompletenessSettings,
        expected_instances: CountInstances | None = None,
        structures: Structures | None = None,
        room_mb: float = 0.0,
        locks: Locks | None = None,
        stopped: Callable[[str], Doubt | None] = lambda rule: None,
    ) -> Self:
        """The intake of a node.

        Args:
            data_dir: of the node.
            cases: where cases are made.
            spool: what it receives into.
            jobs: where cases are started.
            rules: which series are processed.
            settings: when they are complete.
            expected_instances: asks an archive how many instances a series has; `None`: nobody is asked.
            structures: where structure sets are kept; `None`: they are series like any other.
            room_mb: with less free disk than this, what was put aside goes before its time.
            locks: keep the intakes of several hosts apart; `None`: there is no other.
            stopped: why a series that a rule takes, told by its name, must wait for the node itself.
        """
        arrivals = Arrivals.under(data_dir, spool)
        opening = CaseOpening(cases, jobs, arrivals.unmatched, structures, locks or NoLocks())
        counts = ArchiveCounts(expected_instances) if expected_instances else None
        return cls(arrivals, opening, Judge(rules, settings, counts), room_mb, stopped)

    def recover(self) -> None:
        """Finish what a killed node had begun, or this one without its database or disk; forget holds of the gone."""
        self._recover_s = time.monotonic() + self._pause_s  # unless all of this succeeds
        self._pause_s = min(2 * self._pause_s, _LONGEST_RECOVER_S)
        for folder in (self.arrivals.holds.root, self.arrivals.unmatched.root, self.arrivals.discarded.root):
            remove_abandoned_parts(folder)
        is_whole = self.arrivals.spool.finish_moves()
        if self.opening.recover(self.judge.rules) and is_whole:
            self._recover_s, self._pause_s = float("inf"), _RECOVER_S
        here = {series.key for series in self.arrivals.spool.series()}
        for key in self.arrivals.holds.keys() - here:
            self.arrivals.holds.clear(key)

    def take_complete(self) -> list[str]:
        """Look at every series that is quiet; make cases of those that are complete and wanted, and return their ids.

        What goes wrong with one series is logged and holds up no other.
        """
        if time.monotonic() >= self._recover_s:
            self.recover()
        taken, spooled = [], self.arrivals.spool.series()
        self.judge.forget_all_but({series.key for series in spooled})
        for series in spooled:
            taken.append(self._guarded(series.key, self._look_at, series))
        for shelf in (self.arrivals.unmatched, self.arrivals.discarded):
            for shelved in shelf.series():
                if shelved.is_released:
                    taken.append(self._guarded(shelved.key, self._take_shelved, shelved))
        self._tidy()
        return [case_id for case_id in taken if case_id]

    def _guarded(self, key: str, look: Callable[[Series], str | None], series: Series) -> str | None:
        """Look at one series; what fails is said once, not at every look."""
        try:
            case_id = look(series)
        except SeriesNotComplete:  # a slice came in this very moment
            return None
        except Exception as fault:  # the disk, or a bug; the series stays where it is and is looked at again
            code, kind = code_of(fault, "INTAKE_FAILED"), type(fault).__name__
            if self._failed.get(key) != kind:
                structlog.get_logger().error("intake_failed", series=key[:8], code=code, kind=kind)
            self._failed[key] = kind
            self._recover_s = min(self._recover_s, time.monotonic() + _RECOVER_S)
            return None
        self._failed.pop(key, None)
        return case_id

    def _look_at(self, series: SpooledSeries) -> str | None:
        holds, state = self.arrivals.holds, state_of(series)
        released = holds.is_released(series.key, state)
        if series.is_arriving or not (released or series.is_complete):
            return None
        if self.opening.structures is not None and self.judge.is_structure_set(series, state):
            return self._keep_structures(series, self.opening.structures)
        if not (released or series.quiet_for_s >= self.judge.settings.quiet_period_s):
            return None
        hold = holds.hold(series.key)
        verdict = self.judge.verdict(series, state, self.opening.earlier, hold)
        if released:
            return self._take(series, verdict, released=_overridden(series, hold))
        if verdict.action is None or verdict.action is Action.IGNORE:
            self._put_aside(series, verdict)
            return None
        doubt = self.stopped(verdict.decision.name) or verdict.doubt
        if doubt is not None and self._is_held(series, state, verdict, doubt, hold):
            return None
        return None if verdict.is_asking else self._take(series, verdict)

    def _keep_structures(self, series: SpooledSeries, structures: Structures) -> str | None:
        """Structure sets are kept with their CT, and make a new case of it if they matter to one that exists."""
        log = structlog.get_logger().bind(series=series.key[:8])
        referred = [structures.add(path) for path in series.instances]
        opened = [self.opening.open_with_structures(uid) for uid in dict.fromkeys(referred) if uid]
        if None in referred:
            reason = Reason(Put.UNMATCHED, "NO_REFERENCE", _NO_REFERENCE, "", time.time())
            self.arrivals.unmatched.put(self.arrivals.spool, series, reason)
            log.info("series_put_aside", code=reason.code, rule="")
        else:
            self.arrivals.unmatched.drop(self.arrivals.spool, series)
            log.info("structures_kept", instances=len(referred), cases=sum(case is not None for case in opened))
        self._forget(series.key)
        return next((case for case in opened if case), None)

    def _take(self, series: SpooledSeries, verdict: Verdict, *, released: str = "") -> str:
        spool = self.arrivals.spool
        move = spool.set_aside if released else spool.take
        case_id = self.opening.open(_origin(series, verdict, released), lambda into: move(series, into))
        self._forget(series.key)
        return case_id

    def _is_held(self, series: SpooledSeries, state: str, verdict: Verdict, doubt: Doubt, before: Hold | None) -> bool:
        """Hold a series, unless just these instances were a case before: who sends it again wants it again."""
        is_same_state = before is not None and before.state == state
        since_s = before.since_s if before and is_same_state else time.time()
        hold = Hold(doubt.code, doubt.sentence, verdict.decision.name, since_s, state)
        if hold == before:
            return True
        if self.opening.is_known(_origin(series, verdict)):
            return False
        self.arrivals.holds.put(series.key, hold)
        log = structlog.get_logger()
        log.warning("series_held", series=series.key[:8], code=hold.code, instances=len(series.instances))
        return True

    def _put_aside(self, series: SpooledSeries, verdict: Verdict) -> None:
        rule = verdict.decision.rule
        put, sentence = (Put.IGNORED, f"The rule {rule.name} ignores it.") if rule else (Put.UNMATCHED, _NO_RULE)
        code = "RULE_IGNORES" if rule else "NO_RULE"
        reason = Reason(put, code, sentence, verdict.decision.name if rule else "", time.time())
        self.arrivals.unmatched.put(self.arrivals.spool, series, reason)
        self._forget(series.key)
        structlog.get_logger().info("series_put_aside", series=series.key[:8], code=code, rule=reason.rule)

    def _take_shelved(self, series: ShelvedSeries) -> str:
        shelf = self.arrivals.discarded if series.reason.put is Put.DISCARDED else self.arrivals.unmatched
        facts = read_series_facts(series.instances()[:1])
        rule = series.reason.rule or UNMATCHED
        origin = Origin(facts.series_instance_uid, series.instances(), rule, series.reason.code)
        return self.opening.open(origin, lambda into: shelf.move(series, into))

    def _forget(self, key: str) -> None:
        self.arrivals.holds.clear(key)
        self.judge.forget(key)

    def _tidy(self) -> None:
        is_due = time.monotonic() - self._tidied_s >= _TIDY_S
        for shelf in (self.arrivals.unmatched, self.arrivals.discarded):
            removed = shelf.make_room(self.room_mb)
            if is_due:
                removed += shelf.remove_older_than(self.judge.settings.keep_unmatched_days)
                self._tidied_s = time.monotonic()
            if removed:
                structlog.get_logger().info("series_removed", shelf=shelf.root.name, series=removed)
        self.arrivals.spool.remove_other_versions(self.judge.settings.keep_unmatched_days)


def _overridden(series: SpooledSeries, hold: Hold | None) -> str:
    """What a release overrides; `RELEASED` if it was only the quiet period."""
    if series.conflicts:
        return CONFLICT
    return INTERRUPTED if series.interrupted else hold.code if hold else "RELEASED"


def _origin(series: SpooledSeries, verdict: Verdict, released: str = "") -> Origin:
    decision = verdict.decision
    uid = verdict.facts.series_instance_uid
    return Origin(uid, series.instances, decision.name, released, decision.priority)
