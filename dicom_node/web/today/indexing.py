"""Keeps the case index true to the engine: the only place that writes it, for one thread of the page.

At the start everything is compared once; then each look costs what changed. An image is opened once per case, its facts
are read again when its attempts change. A case whose folder is gone was removed, and leaves the index.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from dicom_node.jobs.attempts import Case
from dicom_node.jobs.cases import CaseStore
from dicom_node.web.today.case_index import CaseIndex
from dicom_node.web.today.case_line import CaseLine, line_of
from dicom_node.web.today.case_reading import CaseReading
from dicom_node.web.today.engine_view import Changes, EngineView

_WHOLE_EVERY_S: Final = 1800.0
_FOLDERS_EVERY_S: Final = 15.0
_AT_ONCE: Final = 200
"""Lines that are written in one transaction: the first ones are there to be seen while the others are read."""


@dataclass(frozen=True, slots=True)
class News:
    """What changed in the index."""

    lines: tuple[CaseLine, ...] = ()
    gone: tuple[str, ...] = ()
    """Ids of cases that left it."""


class Indexing:
    """Follows the engine into the index.

    Args:
        index: to be kept true.
        cases: where the files of cases lie.
        open_reading: connects to the engine; called again after a fault.
        tell: given what changed, as soon as the index has it.
        goes_on: asked now and then during a long look; False ends it.
    """

    def __init__(
        self,
        index: CaseIndex,
        cases: CaseStore,
        open_reading: Callable[[], CaseReading],
        *,
        tell: Callable[[News], None],
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._index = index
        self._cases = cases
        self._open_reading = open_reading
        self._tell = tell
        self._goes_on = goes_on
        self._reading: CaseReading | None = None
        self._view: EngineView | None = None
        self._whole_at = self._folders_at = 0.0
        """By the clock that only runs forward: when each is to be done next."""

    @property
    def view(self) -> EngineView | None:
        """What is kept in mind of the engine; None while it cannot be asked."""
        return self._view

    def look(self) -> Sequence[Case]:
        """Bring the index up to date; the cases that were looked at.

        Raises:
            NeverStarted: no node has worked with its database yet.
            Exception: the database is away, or the disk fails; the next look begins anew.
        """
        try:
            return self._look()
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Give the database back."""
        reading, self._reading, self._view = self._reading, None, None
        if reading is not None:
            reading.__exit__()

    def _look(self) -> Sequence[Case]:
        now = time.monotonic()
        is_new = (self._view is None or not self._index.path.exists()) and self._index.prepare()
        if self._view is None:
            self._reading = self._open_reading()
            self._view, self._whole_at = EngineView(self._reading), 0.0
        is_due = is_new or now >= self._whole_at
        changes = self._view.whole() if is_due else self._view.look()
        self._take(changes)
        if changes.is_whole:
            self._whole_at = time.monotonic() + _WHOLE_EVERY_S
        if now >= self._folders_at:
            self._leave_removed()
            self._folders_at = time.monotonic() + _FOLDERS_EVERY_S
        return changes.cases

    def _take(self, changes: Changes) -> None:
        known = {line.case_id: line for line in self._known(changes)}
        if changes.is_whole:
            self._forget(known.keys() - {case.case_id for case in changes.cases})
        newest = sorted(changes.cases, key=lambda case: case.created_at_s, reverse=True)
        changed = (
            case
            for case in newest
            if not changes.is_whole or case.case_id not in known or not known[case.case_id].is_of(case)
        )
        while self._goes_on() and (some := list(islice(changed, _AT_ONCE))):
            subjects = {case.case_id: known[case.case_id].subject for case in some if case.case_id in known}
            lines = [line_of(c, self._cases.folder(c.case_id), subjects.get(c.case_id)) for c in some]
            self._index.put(lines)
            self._tell(News(tuple(lines)))

    def _known(self, changes: Changes) -> Iterable[CaseLine]:
        if changes.is_whole:
            return self._index.lines()
        found = (self._index.line(case.case_id) for case in changes.cases)
        return (line for line in found if line is not None)

    def _leave_removed(self) -> None:
        """Forget cases whose folder was there and is not any more."""
        try:
            with os.scandir(self._cases.root) as entries:
                here = {entry.name for entry in entries}
        except FileNotFoundError:
            return
        self._forget(self._index.case_ids("instances > 0") - here)

    def _forget(self, case_ids: Iterable[str]) -> None:
        if gone := tuple(sorted(case_ids)):
            self._index.remove(gone)
            self._tell(News(gone=gone))
