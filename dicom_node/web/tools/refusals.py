"""How many cases were refused, week by week, with the limits of a chart of proportions.

A week holds few cases, so its limit follows their number: mean + 3 sqrt(mean (1 - mean) / cases), NIST/SEMATECH
e-Handbook of Statistical Methods, section 6.3.3.2. The mean is that of all weeks before the current one.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from dicom_node.commissioning.control_chart import LEAST_CASES
from dicom_node.jobs.attempts import CaseState
from dicom_node.web.today.case_line import CaseLine

WEEKS: Final = 26


@dataclass(frozen=True, slots=True)
class RefusalWeek:
    """One week, Monday to Sunday (ISO 8601), in UTC."""

    week: str
    """For instance `2026-W48`."""
    cases: int
    """That came in it and are not removed yet."""
    refused: int
    share_percent: float
    upper_percent: float | None
    """Limit of the share; None while there are too few cases to take one from, or none came."""
    is_beyond: bool
    codes: dict[str, int]
    """Why, and how often."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """The weeks, the oldest first."""

    mean_percent: float | None
    """Of all weeks before the current one; None with fewer cases than limits need."""
    weeks: list[RefusalWeek]


def weekly_refusals(cases: Iterable[CaseLine], now_s: float, weeks: int = WEEKS) -> Refusals:
    """Count the refused cases of each week.

    Args:
        cases: in any order.
        now_s: Unix time.
        weeks: how many, the current one included; weeks before the first case are left out.
    """
    mondays = [_monday(now_s) - timedelta(weeks=back) for back in reversed(range(weeks))]
    came: dict[date, list[CaseLine]] = {monday: [] for monday in mondays}
    for case in cases:
        came.get(_monday(case.created_ms / 1000.0), []).append(case)
    first = next((k for k, monday in enumerate(mondays) if came[monday]), len(mondays) - 1)
    before = [case for monday in mondays[first:-1] for case in came[monday]]
    mean = sum(map(_is_refused, before)) / len(before) if len(before) >= LEAST_CASES else None
    told = [_week(monday, came[monday], mean) for monday in mondays[first:]]
    return Refusals(None if mean is None else 100.0 * mean, told)


def _week(monday: date, cases: list[CaseLine], mean: float | None) -> RefusalWeek:
    refused = [case for case in cases if _is_refused(case)]
    share = len(refused) / len(cases) if cases else 0.0
    upper = None
    if mean is not None and cases:
        upper = min(1.0, mean + 3.0 * math.sqrt(mean * (1.0 - mean) / len(cases)))
    year, number, _ = monday.isocalendar()
    return RefusalWeek(
        f"{year}-W{number:02d}",
        len(cases),
        len(refused),
        100.0 * share,
        None if upper is None else 100.0 * upper,
        upper is not None and share > upper,
        dict(Counter(case.code or "unknown" for case in refused).most_common()),
    )


def _is_refused(case: CaseLine) -> bool:
    return case.state == CaseState.REJECTED


def _monday(at_s: float) -> date:
    day = datetime.fromtimestamp(at_s, UTC).date()
    return day - timedelta(days=day.weekday())
