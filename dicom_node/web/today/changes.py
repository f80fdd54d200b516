"""What has changed, numbered, for every browser that listens: one list for all of them, and each remembers its place.

A browser that reads slowly costs nothing: it holds no queue, and what it has missed for too long it is told to read
anew. A number means something within one process only, so it carries the begin of that.
"""

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_KEPT: Final = 2000
"""Changes that can be read again by a browser that was away for a while."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that browsers are told."""

    number: int
    kind: str
    """`case`, `gone` or `node`."""
    openly: str
    """What those read who may see patients, as JSON."""
    masked: str
    """And all others."""
    patient_ids: Mapping[str, str]
    """Whose cases are shown to those who read it openly: Patient IDs by the ids of the cases."""


class Changes:
    """The list; threads may add to it, event loops wait for it."""

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(4)
        self._kept: deque[Change] = deque(maxlen=_KEPT)
        self._number = 0
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._is_closed

    def add(
        self, kind: str, openly: str, masked: str = "", patient_ids: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Tell everybody.

        Args:
            kind: of the change.
            openly: JSON for those who may see patients.
            masked: JSON for all others; the same if empty.
            patient_ids: whose cases are shown to the first, for the audit trail.
        """
        with self._lock:
            self._number += 1
            self._kept.append(Change(self._number, kind, openly, masked or openly, patient_ids))
        self._wake()

    def place(self) -> int:
        """Where the list ends now."""
        return self._number

    def name_of(self, number: int) -> str:
        """The number of a change as browsers keep it."""
        return f"{self._epoch}-{number}"

    def place_of(self, name: str) -> int | None:
        """Where to go on for a browser that has read up to there; None if too much was missed or it was elsewhere."""
        epoch, _, number = name.partition("-")
        if epoch != self._epoch or not number.isascii() or not number.isdigit() or len(number) > 15:
            return None
        return int(number) if self.since(int(number)) is not None else None

    def since(self, place: int) -> list[Change] | None:
        """What came after a place; None if some of it is not kept any more, or the place is none."""
        with self._lock:
            first = self._kept[0].number if self._kept else self._number + 1
            if place > self._number or place < first - 1:
                return None
            return [change for change in self._kept if change.number > place] if place < self._number else []

    def awaited(self) -> asyncio.Event:
        """An event of the running loop that is set with every change; to be given back to `leave`."""
        event = asyncio.Event()
        with self._lock:
            self._waiting[event] = asyncio.get_running_loop()
        return event

    def leave(self, event: asyncio.Event) -> None:
        """Set it no more."""
        with self._lock:
            self._waiting.pop(event, None)

    def close(self) -> None:
        """Nothing more will come: everybody who waits is woken."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiting = dict(self._waiting)
        for event, loop in waiting.items():
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # its loop has ended
                self.leave(event)
