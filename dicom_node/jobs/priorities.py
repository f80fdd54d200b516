"""Which work goes first: urgent cases, then normal, then low; within a class in the order in which cases arrived.

The engine orders a queue by one number, the lowest first, from 1 to 2^31 - 1. Class and arrival share it:

    number = class * 700 000 000 + seconds since 2026-01-01 00:00 UTC + 1        class: urgent 0, normal 1, low 2

700 000 000 s are 22 years, so the arrival fits until 2048; later ones share the last number of their class and go in
the order in which they were queued. What counts is when the *case* arrived: another try for an old case goes before a
new case. Attempts of versions without priorities have the number 0 and go first.
"""

from enum import StrEnum
from typing import Final

EPOCH_S: Final = 1_767_225_600
"""2026-01-01 00:00 UTC as Unix time."""
_SPAN: Final = 700_000_000


class Priority(StrEnum):
    """How much a case hurries; key `priority` of `[[rules]]`."""

    URGENT = "urgent"
    NORMAL = "normal"
    LOW = "low"


def queue_number(priority: Priority, arrived_at_s: float) -> int:
    """The number by which the engine orders its queues.

    Args:
        priority: class of the case.
        arrived_at_s: Unix time at which it became a case.
    """
    since_s = min(max(int(arrived_at_s - EPOCH_S), 0), _SPAN - 1)
    return list(Priority).index(priority) * _SPAN + since_s + 1
