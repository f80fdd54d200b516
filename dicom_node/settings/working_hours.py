"""The hours at which a site works, in local time: a Sunday without a scan is no fault, a Tuesday is.

Lengths are real time: on the day on which clocks go forward a working day from 1 to 5 has three hours.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Self

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_MOST_DAYS: Final = 400
"""Beyond this the answer changes nothing any more."""


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """The same hours on some days of the week."""

    days: tuple[str, ...] = WEEKDAYS[:5]
    begin: str = "07:00"
    end: str = "18:00"
    """After `begin`; 24:00 is midnight."""

    @classmethod
    def parse(cls, days: list[str], hours: str) -> Self:
        """From `["mon", "fri"]` and `"07:00-18:00"`.

        Raises:
            ValueError: there is no such day, or the hours are not two times of day in this order.
        """
        if wrong := [day for day in days if day not in WEEKDAYS]:
            raise ValueError(f"{wrong[0]!r} is no day of the week; known are {', '.join(WEEKDAYS)}")
        begin, _, end = hours.partition("-")
        if not (_CLOCK.fullmatch(begin) and _CLOCK.fullmatch(end) and begin < end):
            raise ValueError(f"{hours!r} are no hours of a day; write for instance 07:00-18:00")
        return cls(tuple(days), begin, end)

    def worked_s(self, since_s: float, until_s: float) -> float:
        """Seconds of work between two Unix times."""
        return sum(
            max(0.0, min(until_s, end_s) - max(since_s, begin_s)) for begin_s, end_s in self._shifts(since_s, until_s)
        )

    def _shifts(self, since_s: float, until_s: float) -> Iterator[tuple[float, float]]:
        day = datetime.fromtimestamp(max(since_s, until_s - _MOST_DAYS * 86400.0)).date()
        last = datetime.fromtimestamp(max(since_s, until_s)).date()
        while day <= last:
            if WEEKDAYS[day.weekday()] in self.days:
                after = day + timedelta(days=1)
                end = datetime.combine(after, time()) if self.end == "24:00" else _at(day, self.end)
                # A naive time becomes a point in time by the rules that the system has for that day.
                yield _at(day, self.begin).timestamp(), end.timestamp()
            day += timedelta(days=1)


def _at(day: date, clock: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock))
