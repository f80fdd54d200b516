"""Which views of cases the audit trail knows of, so that it is not told of each picture of a page."""

import threading
from dataclasses import dataclass, field
from typing import Final

from dicom_node.web.access.rights import Person

AGAIN_AFTER_S: Final = 900.0
"""A view of the same case by the same person is told again after so long."""
_MOST: Final = 10_000
"""Views that are remembered; the oldest are forgotten first, and then told again."""


@dataclass(slots=True)
class ViewsTold:
    """Which views were told, and when."""

    _told_at: dict[tuple[str, str, str], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def must_tell(self, person: Person, case_id: str, now_s: float) -> bool:
        """Whether this view must be told now; it is then taken as told.

        Args:
            person: who looks.
            case_id: at what; a list says so before the id.
            now_s: monotonic time.
        """
        key = (person.name, person.session, case_id)
        with self._lock:
            if now_s - self._told_at.get(key, -AGAIN_AFTER_S) < AGAIN_AFTER_S:
                return False
            self._told_at.pop(key, None)
            self._told_at[key] = now_s
            while len(self._told_at) > _MOST:
                self._told_at.pop(next(iter(self._told_at)))
        return True
