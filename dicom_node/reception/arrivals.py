"""Every series that is here and no case: what it waits for, and what a person may do about it.

Works beside a running node and without one. A release is an order that the node carries out, a discard is done at once.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from dicom_node.errors import UnknownSeries
from dicom_node.reception.holds import Hold, HoldBook, state_of
from dicom_node.reception.shelf import Put, Reason, Shelf, ShelvedSeries
from dicom_node.reception.spool import Spool, SpooledSeries

INTERRUPTED: Final = "INTERRUPTED"
CONFLICT: Final = "CONFLICT"
_CONFLICT_SENTENCE: Final = "Other versions of {count} of its images came and were refused; the first ones are here."
_INTERRUPTED_SENTENCE: Final = "The transfer was cut off or partly refused; the series waits for its sender."
_DISCARDED_SENTENCE: Final = "A person discarded it."


class ArrivalState(StrEnum):
    """Where a series stands that is no case yet."""

    RECEIVING = "RECEIVING"
    """It is arriving, or waits for the end of the quiet period."""
    INTERRUPTED = "INTERRUPTED"
    """Its transfer was cut off; it waits for its sender or for a person."""
    HELD = "HELD"
    """It waits for more slices or for a person; the code says why."""
    RELEASED = "RELEASED"
    """A person wants it processed as it is; the node is about to."""
    IGNORED = "IGNORED"
    """A rule wants it ignored."""
    UNMATCHED = "UNMATCHED"
    """No rule took it."""
    DISCARDED = "DISCARDED"
    """A person threw it away."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A series that is here and no case, as an operator sees it. Holds no patient data."""

    series_key: str
    state: ArrivalState
    instances: int
    code: str = ""
    sentence: str = ""
    rule: str = ""
    since_s: float = 0.0
    """Unix time since when it is in this state; 0 if that is not known."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The series of a node that are no cases."""

    spool: Spool
    holds: HoldBook
    unmatched: Shelf
    discarded: Shelf

    @classmethod
    def under(cls, data_dir: Path, spool: Spool) -> Self:
        """Those of the node with that data directory; `spool` is its spool."""
        return cls(spool, HoldBook(spool.root / "holds"), Shelf(data_dir / "unmatched"), Shelf(data_dir / "discarded"))

    def all(self) -> list[Arrival]:
        """What arrives and waits, then what was put aside."""
        spooled = [_of_spool(series, self.holds) for series in self.spool.series()]
        return [*spooled, *map(_of_shelf, (*self.unmatched.series(), *self.discarded.series()))]

    def release(self, start_of_key: str) -> Arrival:
        """Order that a series is handed over as it is, whatever speaks against it; also one that was put aside.

        Raises:
            UnknownSeries: no series that could be released has a key that begins so, or several have.
        """
        found = self._find(start_of_key, (self.unmatched, self.discarded))
        if isinstance(found, ShelvedSeries):
            shelf = self.discarded if found.reason.put is Put.DISCARDED else self.unmatched
            shelf.release(found)
            return _of_shelf(found)
        arrival = _of_spool(found, self.holds)
        self.holds.release(found.key, state_of(found))
        return arrival

    def discard(self, start_of_key: str) -> Arrival:
        """Put a series aside that nobody wants; it is kept some days before it is removed.

        Raises:
            UnknownSeries: no series that could be discarded has a key that begins so, or several have.
            SeriesNotComplete: it is arriving, or changed in this moment.
        """
        found = self._find(start_of_key, (self.unmatched,))
        reason = Reason(Put.DISCARDED, "DISCARDED", _DISCARDED_SENTENCE, "", time.time())
        if isinstance(found, ShelvedSeries):
            self.discarded.take_over(found, reason)
            return _of_shelf(found)
        arrival = _of_spool(found, self.holds)
        self.discarded.put(self.spool, found, reason)
        self.holds.clear(found.key)
        return arrival

    def _find(self, start_of_key: str, shelves: Sequence[Shelf]) -> SpooledSeries | ShelvedSeries:
        """The spool goes before the shelves: what waits is what a person sees first."""
        start = start_of_key.strip("(….)")
        groups: list[Sequence[SpooledSeries | ShelvedSeries]] = [self.spool.series()]
        groups += [shelf.series() for shelf in shelves]
        for group in groups:
            found = [series for series in group if series.key.startswith(start)]
            if found and start:
                if len({series.key for series in found}) > 1:
                    raise UnknownSeries(start_of_key, len(found))
                return found[-1]
        raise UnknownSeries(start_of_key, 0)


def _of_spool(series: SpooledSeries, holds: HoldBook) -> Arrival:
    count = len(series.instances)
    state = state_of(series)
    if series.is_arriving:
        return Arrival(series.key, ArrivalState.RECEIVING, count)
    if holds.is_released(series.key, state):
        return Arrival(series.key, ArrivalState.RELEASED, count)
    if series.conflicts:
        sentence = _CONFLICT_SENTENCE.format(count=series.conflicts)
        return Arrival(series.key, ArrivalState.HELD, count, CONFLICT, sentence)
    if series.interrupted:
        return Arrival(series.key, ArrivalState.INTERRUPTED, count, INTERRUPTED, _INTERRUPTED_SENTENCE)
    hold: Hold | None = holds.hold(series.key)
    if hold is None or hold.state != state:
        return Arrival(series.key, ArrivalState.RECEIVING, count)
    return Arrival(series.key, ArrivalState.HELD, count, hold.code, hold.sentence, hold.rule, hold.since_s)


def _of_shelf(series: ShelvedSeries) -> Arrival:
    reason = series.reason
    state = ArrivalState.RELEASED if series.is_released else ArrivalState(reason.put.value)
    return Arrival(
        series.key, state, len(series.instances()), reason.code, reason.sentence, reason.rule, reason.since_s
    )
