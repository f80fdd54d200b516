"""Follows the engine: which cases changed since the last look, at the price of a few rows.

What can change is kept in mind: the attempts of every case that is not finished or was a short time ago. A look asks
for attempts that were queued since the last one, and for those that were queued or running then. A finished case
changes only by a new attempt. What that misses, as when clocks of hosts differ by more than a minute, a look at
everything (`whole`) finds.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dicom_node.jobs.attempts import Attempt, AttemptId, Case, case_of
from dicom_node.web.today.case_reading import CaseReading

_OVERLAP_S: Final = 60.0
"""Hosts whose clocks differ write times of their own, and SQLite keeps whole seconds."""
_KEPT_S: Final = 300.0
"""A case stays in mind for so long after its last change."""
_STRANGERS: Final = 40
"""More cases than this that come back at once are found by a look at everything."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a look found."""

    cases: tuple[Case, ...]
    """As they are now."""
    is_whole: bool = False
    """Whether these are all cases that the engine has."""


class EngineView:
    """What one process keeps in mind of the engine; for one thread.

    Args:
        reading: of the engine.
    """

    def __init__(self, reading: CaseReading) -> None:
        self._reading = reading
        self._kept: dict[str, dict[AttemptId, Attempt]] = {}
        self._case_ids: set[str] = set()
        """Of all cases that were ever seen."""
        self._looked_s = 0.0

    @property
    def active(self) -> list[Attempt]:
        """Every attempt that is queued or running."""
        return [attempt for attempts in self._kept.values() for attempt in attempts.values() if attempt.is_active]

    def before(self, attempt: Attempt) -> Attempt | None:
        """The attempt before it in its run."""
        known = self._kept.get(attempt.id.case_id, {})
        return next((known[name] for name in attempt.id.before() if name in known), None)

    def whole(self) -> Changes:
        """Look at everything: some seconds for 10,000 cases."""
        now_s = time.time()
        cases = self._reading.cases()
        self._case_ids = {case.case_id for case in cases}
        self._kept = {
            case.case_id: {a.id: a for a in case.attempts} for case in cases if _is_kept(case.attempts, now_s)
        }
        self._looked_s = now_s
        return Changes(tuple(cases), is_whole=True)

    def look(self) -> Changes:
        """Look at what can have changed."""
        now_s = time.time()
        new = self._reading.created_since(self._looked_s - _OVERLAP_S)
        strangers = {name.case_id for name in new if name.case_id in self._case_ids} - self._kept.keys()
        if len(strangers) > _STRANGERS:
            return self.whole()
        for case_id in strangers:
            self._kept[case_id] = {a.id: a for a in self._reading.attempts_of(case_id)}
        changed = self._update(new) | strangers
        self._case_ids |= changed
        self._looked_s = now_s
        known = {case_id: list(self._kept.get(case_id, {}).values()) for case_id in sorted(changed)}
        self._kept = {case_id: some for case_id, some in self._kept.items() if _is_kept(some.values(), now_s)}
        return Changes(tuple(case_of(attempts) for attempts in known.values() if attempts))

    def _update(self, new: Iterable[AttemptId]) -> set[str]:
        """Ask for all that is new or can have changed; the ids of the cases that did."""
        known = {name: a for attempts in self._kept.values() for name, a in attempts.items()}
        asked = {a.id for a in known.values() if a.is_active}.union(name for name in new if name not in known)
        found = {attempt.id: attempt for attempt in self._reading.attempts(asked)}
        for name in asked - found.keys():  # removed with its case
            self._kept.get(name.case_id, {}).pop(name, None)
        changed = [attempt for name, attempt in found.items() if attempt != known.get(name)]
        for attempt in changed:
            self._kept.setdefault(attempt.id.case_id, {})[attempt.id] = attempt
        return {attempt.id.case_id for attempt in changed}


def _is_kept(attempts: Iterable[Attempt], now_s: float) -> bool:
    return any(attempt.is_active or now_s - attempt.updated_at_s < _KEPT_S for attempt in attempts)
