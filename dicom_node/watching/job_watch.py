"""A look at the database now and then, for whoever asks how things stand: metrics, status page, watchdog.

Asking never waits for the database: what was seen last is given, and nothing once that is too old, as when the database
is away or does not answer.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from dicom_node.jobs.job_rows import QueueState
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.queues import ALERT_QUEUE, CANDIDATE_QUEUE

LOOK_EVERY_S: Final = 10.0
_DAY_S: Final = 86_400.0
_OVERLAP_S: Final = 60.0
"""Hosts whose clocks differ write times of their own."""
_TOO_OLD_S: Final = 45.0


@dataclass(frozen=True, slots=True)
class JobsSeen:
    """How things stood."""

    queues: tuple[QueueState, ...]
    cases: Mapping[str, int]
    """By state, those to which something happened within a day."""

    def oldest_s(self, now_s: float) -> float:
        """Age of the oldest job of a case that waits or runs; 0 if there is none. Models in shadow have time."""
        others = (ALERT_QUEUE, CANDIDATE_QUEUE)
        created = [q.oldest_created_at_s for q in self.queues if q.oldest_created_at_s and q.queue not in others]
        return max(0.0, now_s - min(created)) if created else 0.0


class JobWatch:
    """Looks, and remembers what it saw.

    Args:
        open_book: makes a `JobBook`; called again after a fault.
    """

    def __init__(self, open_book: Callable[[], JobBook]) -> None:
        self._open_book = open_book
        self._book: JobBook | None = None
        self._states: dict[str, tuple[float, str]] = {}
        self._looked_at_s = 0.0
        self._seen: tuple[float, JobsSeen] | None = None
        self._said = ""

    def look(self) -> None:
        """Look once; called in one thread, every `LOOK_EVERY_S`."""
        try:
            self._book = self._book or self._open_book()
            queues = tuple(self._book.waiting())
            self._see_cases(self._book)
        except Exception as fault:  # the database is away; its message may name a host and a user
            self._say(type(fault).__name__)
            self.close()
            return
        counted = Counter(state for _, state in self._states.values())
        self._seen = time.monotonic(), JobsSeen(queues, counted)
        self._say("")

    def latest(self) -> JobsSeen | None:
        """What was seen last; None if the database could not be asked for some time."""
        if self._seen is None or time.monotonic() - self._seen[0] > _TOO_OLD_S:
            return None
        return self._seen[1]

    def close(self) -> None:
        """Give the database back."""
        book, self._book = self._book, None
        if book is not None:
            book.__exit__()

    def _see_cases(self, book: JobBook) -> None:
        now_s = time.time()
        since_s = max(now_s - _DAY_S, self._looked_at_s - _OVERLAP_S)
        for case in book.changed_since(since_s):
            self._states[case.case_id] = case.updated_at_s, case.state.value
        self._looked_at_s = now_s
        self._states = {key: value for key, value in self._states.items() if value[0] > now_s - _DAY_S}

    def _say(self, kind: str) -> None:
        """Once, not at every look."""
        if kind != self._said:
            log = structlog.get_logger()
            if kind:
                log.error("database_away", code="DATABASE_AWAY", kind=kind)
            else:
                log.info("database_back")
        self._said = kind
