"""Numbers are written so that nothing is claimed that is not known."""

import math

import pytest

from training.report.numbers import counted, duration, interval, number, p_value, percent


@pytest.mark.parametrize(
    ("value", "digits", "signed", "told"),
    [
        (0.8142, 3, False, "0.814"),
        (-0.05, 2, False, "−0.05"),
        (-0.0004, 3, False, "0.000"),
        (0.05, 2, True, "+0.05"),
        (None, 2, False, "–"),
        (math.nan, 2, False, "–"),
    ],
)
def test_a_number(value: float | None, digits: int, signed: bool, told: str) -> None:
    assert number(value, digits, signed=signed) == told


def test_an_interval_stands_behind_its_mean_and_does_not_break() -> None:
    assert interval(0.5, 0.4, 0.6, 2) == "0.50\u00a0[0.40,\u00a00.60]"
    assert interval(0.5, -0.4, 0.6, 1, signed=True) == "+0.5\u00a0[−0.4,\u00a00.6]"
    assert interval(0.5, None, None, 2) == "0.50"


@pytest.mark.parametrize(
    ("p", "told"),
    [(1e-9, "<\u00a00.0001"), (0.00042, "0.0004"), (0.0123, "0.012"), (0.25, "0.25"), (None, "–"), (math.nan, "–")],
)
def test_a_p(p: float | None, told: str) -> None:
    assert p_value(p) == told


def test_shares_times_and_counts() -> None:
    assert (percent(0.905, 0), percent(None)) == ("90\u00a0%", "–")
    assert [duration(s) for s in (1.234, 61.0, 3000.0, 36000.0)] == ["1.2 s", "61 s", "50 min", "10.0 h"]
    assert (counted(1, "seed"), counted(2, "seed"), counted(1200, "seed")) == ("1 seed", "2 seeds", "1,200 seeds")
