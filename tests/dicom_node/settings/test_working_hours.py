import os
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from dicom_node.settings.working_hours import WorkingHours


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks went forward on 2026-03-29 and back on 2026-10-25, both Sundays."""
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    if before is None:
        monkeypatch.delenv("TZ")
    else:
        monkeypatch.setenv("TZ", before)
    time.tzset()


def worked_h(since: str, until: str, hours: WorkingHours) -> float:
    begin, end = (datetime.fromisoformat(text).timestamp() for text in (since, until))
    return round(hours.worked_s(begin, end) / 3600, 6)


WEEK = WorkingHours()
SUNDAY_NIGHT = WorkingHours(("sun",), "01:00", "05:00")


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2026-11-25T08:00", "2026-11-25T10:30", 2.5),  # a Wednesday
        ("2026-11-25T05:00", "2026-11-25T08:00", 1.0),  # before work begins nothing counts
        ("2026-11-25T17:00", "2026-11-26T08:00", 2.0),  # over a night
        ("2026-11-27T17:00", "2026-11-30T08:00", 2.0),  # over a weekend
        ("2026-11-28T00:00", "2026-11-29T23:59", 0.0),  # a weekend
        ("2026-11-25T10:00", "2026-11-25T09:00", 0.0),  # a clock that was set back
        ("2026-11-02T00:00", "2026-11-07T00:00", 55.0),
        ("2026-03-27T17:00", "2026-03-30T08:00", 2.0),  # the weekend on which clocks go forward
    ],
)
def test_only_working_hours_count(since: str, until: str, expected: float) -> None:
    assert worked_h(since, until, WEEK) == expected


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2026-03-29", 3.0), ("2026-10-25", 5.0), ("2026-11-29", 4.0)],
    ids=["forward", "back", "usual"],
)
def test_the_length_is_real_time_where_clocks_change(day: str, expected: float) -> None:
    assert worked_h(f"{day}T00:00", f"{day}T23:00", SUNDAY_NIGHT) == expected


def test_a_day_may_end_at_midnight_and_all_days_make_all_time() -> None:
    always = WorkingHours(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "00:00", "24:00")
    assert worked_h("2026-03-28T12:00", "2026-03-30T12:00", always) == 47.0


def test_a_year_of_silence_is_counted_quickly() -> None:
    assert worked_h("1990-01-01T00:00", "2026-11-25T00:00", WEEK) > 2000


@pytest.mark.parametrize(
    ("days", "hours"),
    [(["monday"], "07:00-18:00"), (["mon"], "7-18"), (["mon"], "18:00-07:00"), (["mon"], "07:00-25:00"), (["mon"], "")],
)
def test_what_is_no_week_is_a_mistake(days: list[str], hours: str) -> None:
    with pytest.raises(ValueError, match=r"no day of the week|no hours of a day"):
        WorkingHours.parse(days, hours)
