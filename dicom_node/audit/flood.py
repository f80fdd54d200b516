"""Keeps an attacker from filling the disk with the record of his own refusals.

The first refusal of an address for a reason is written at once; what follows within a minute is counted, and the count
is written with the next one.
"""

from dataclasses import dataclass, field
from typing import Final

WINDOW_S: Final = 60.0
_LARGEST: Final = 256
"""Different addresses and reasons that are told apart in one window; those beyond share one count per reason."""
OTHERS: Final = "others"


@dataclass(slots=True)
class _Count:
    since_s: float
    unreported: int = 0


@dataclass(slots=True)
class Flood:
    """Counts of what was not written."""

    _counts: dict[tuple[str, str], _Count] = field(default_factory=dict)

    def note(self, address: str, code: str, now_s: float) -> int | None:
        """Count one refusal. How many before it are unreported, if it must be written; None if it must not."""
        key = (address, code)
        if key not in self._counts and len(self._counts) >= _LARGEST:
            key = (OTHERS, code)
        count = self._counts.get(key)
        if count is None:
            self._counts[key] = _Count(now_s)
            return 0
        if now_s - count.since_s < WINDOW_S:
            count.unreported += 1
            return None
        unreported, self._counts[key] = count.unreported, _Count(now_s)
        return unreported

    def overdue(self, now_s: float, *, everything: bool = False) -> list[tuple[str, str, int]]:
        """Address, code and number of what was counted in windows that have ended, which are forgotten."""
        over = [key for key, count in self._counts.items() if everything or now_s - count.since_s >= WINDOW_S]
        counted = [(*key, self._counts.pop(key).unreported) for key in over]
        return [(address, code, number) for address, code, number in counted if number]
