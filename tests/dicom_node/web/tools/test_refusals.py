"""Refused cases by week, with limits that follow the number of cases."""

from datetime import UTC, datetime
from math import sqrt

import pytest

from dicom_node.jobs.attempts import CaseState
from dicom_node.web.today.case_line import CaseLine
from dicom_node.web.today.subject import NOBODY
from dicom_node.web.tools.chart_drawing import HEIGHT, WIDTH, drawn_refusals
from dicom_node.web.tools.refusals import WEEKS, weekly_refusals

MONDAY = datetime(2026, 11, 23, 0, 0, tzinfo=UTC).timestamp()
NOW = MONDAY + 3.5 * 86400
WEEK = 7 * 86400.0


def line(at_s: float, state: CaseState = CaseState.DELIVERED, code: str = "") -> CaseLine:
    ms = int(1000 * at_s)
    return CaseLine("0" * 16, state.value, "check", code, "", ms, ms, 1, "CT", "r", "normal", 1, "", 0, "", NOBODY)


def came(weeks_ago: int, good: int, refused: int, code: str = "NOT_CT") -> list[CaseLine]:
    at_s = MONDAY - weeks_ago * WEEK + 3600
    return [line(at_s)] * good + [line(at_s, CaseState.REJECTED, code)] * refused


def test_weeks_begin_on_monday_and_cases_are_counted_in_theirs() -> None:
    lines = [line(MONDAY - 1), line(MONDAY), line(MONDAY, CaseState.REJECTED, "NOT_CT"), line(NOW)]
    before, current = weekly_refusals(lines, NOW).weeks
    assert (before.week, before.cases, before.refused) == ("2026-W47", 1, 0)
    assert (current.week, current.cases, current.refused) == ("2026-W48", 3, 1)
    assert current.share_percent == pytest.approx(100 / 3)
    assert current.codes == {"NOT_CT": 1}


def test_limits_come_from_the_weeks_before_and_follow_the_number_of_cases() -> None:
    found = weekly_refusals([*came(2, 45, 5), *came(1, 45, 5), *came(0, 5, 5)], NOW)
    assert found.mean_percent == pytest.approx(10.0)
    first, _, current = found.weeks
    assert first.upper_percent == pytest.approx(100 * (0.1 + 3 * sqrt(0.1 * 0.9 / 50)))
    assert current.upper_percent == pytest.approx(100 * (0.1 + 3 * sqrt(0.1 * 0.9 / 10)))
    assert [week.is_beyond for week in found.weeks] == [False, False, True]


def test_too_few_cases_give_no_limits_and_a_failed_case_is_no_refusal() -> None:
    found = weekly_refusals([*came(1, 18, 1), line(MONDAY, CaseState.FAILED, "STORE_REFUSED")], NOW)
    assert found.mean_percent is None
    assert [week.upper_percent for week in found.weeks] == [None, None]
    assert found.weeks[-1].refused == 0


def test_weeks_without_a_case_stand_in_between_and_old_ones_are_left_out() -> None:
    found = weekly_refusals([*came(3, 30, 0), *came(WEEKS + 2, 9, 9)], NOW)
    assert [week.cases for week in found.weeks] == [30, 0, 0, 0]
    assert [week.upper_percent is None for week in found.weeks] == [False, True, True, True]


@pytest.mark.parametrize("lines", [[], came(2, 40, 3), [*came(2, 40, 3), *came(0, 0, 9)]])
def test_every_state_can_be_drawn(lines: list[CaseLine]) -> None:
    drawn = drawn_refusals(weekly_refusals(lines, NOW))
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in drawn.dots)
    assert len(drawn.marks) == (1 if len(lines) > 43 else 0)
