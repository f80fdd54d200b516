"""Known answers: each of Nelson's rules at the value with which its pattern is whole, and not one value earlier."""

from collections.abc import Sequence

import numpy as np
import pytest

from dicom_node.commissioning.control_chart import RULES, ControlLimits, Signal, TooFewCases, signals

UNIT = ControlLimits(mean=0.0, sigma=1.0, cases=20)

BROKEN = {
    1: [0.0, 3.1],
    2: [-0.2, 0.3, 0.1, 0.4, 0.2, 0.5, 0.3, 0.6, 0.2, 0.1],
    3: [0.5, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5],
    4: [0.1, 0.1, *[0.3, -0.3] * 6, 0.3],
    5: [0.0, 2.1, 0.0, 2.2],
    6: [0.0, 1.1, 1.2, -0.1, 1.1, 1.3],
    7: [1.5, *[0.9, -0.9, -0.8, 0.1, 0.2] * 3],
    8: [0.0, 1.1, -1.2, -1.3, 1.4, -1.5, 1.6, 1.1, -1.1],
}
"""Begins with a value that is not part of the pattern; the last one completes it."""


def found(values: Sequence[float], rule: int) -> list[int]:
    return [signal.index for signal in signals(values, UNIT, [rule])]


def test_every_rule_has_an_example() -> None:
    assert set(BROKEN) == set(RULES) == set(range(1, 9))


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_is_broken_by_the_value_that_completes_its_pattern(rule: int) -> None:
    values = BROKEN[rule]
    assert found(values, rule) == [len(values) - 1]
    assert found([-value for value in values], rule) == [len(values) - 1], "the other side"


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (1, [3.0, -3.0]),
        (2, [0.1] * 8 + [0.0] + [0.1] * 8),
        (3, [0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6]),
        (4, [0.3, -0.3] * 6 + [-0.4, 0.3]),
        (5, [2.1, 0.0, 0.0, 2.1, -2.1]),
        (6, [1.1, 1.1, 1.1, 0.0, 0.0, 1.1]),
        (7, [0.1] * 14 + [1.0] + [0.1] * 14),
        (8, [1.1] * 9),
    ],
)
def test_what_is_not_quite_the_pattern_breaks_no_rule(rule: int, values: list[float]) -> None:
    assert found(values, rule) == []


def test_limits_are_mean_and_moving_range() -> None:
    limits = ControlLimits.of([10.0, 12.0, 11.0, 14.0], 0.01, least_cases=4)
    assert limits.mean == pytest.approx(11.75)
    assert limits.sigma == pytest.approx((2.0 + 1.0 + 3.0) / 3.0 / 1.128)
    assert (limits.lower, limits.upper) == pytest.approx((11.75 - 3.0 * limits.sigma, 11.75 + 3.0 * limits.sigma))


def test_the_moving_range_estimates_the_standard_deviation_also_under_a_slow_drift() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0.0, 2.0, 4000)
    assert ControlLimits.of(noise.tolist(), 0.01).sigma == pytest.approx(2.0, rel=0.05)
    drifting = noise + np.linspace(0.0, 40.0, 4000)
    assert ControlLimits.of(drifting.tolist(), 0.01).sigma == pytest.approx(2.0, rel=0.05)


def test_figures_that_never_change_do_not_signal_at_a_rounding() -> None:
    limits = ControlLimits.of([5.0] * 20, 0.1)
    assert limits.sigma == 0.1
    assert signals([5.0, 5.05, 4.95], limits, [1]) == []
    assert signals([5.0, 5.5], limits, [1]) == [Signal(1, 1)]


@pytest.mark.parametrize("values", [[1.0] * 19, []])
def test_too_few_cases_give_no_limits(values: list[float]) -> None:
    with pytest.raises(TooFewCases, match="20"):
        ControlLimits.of(values, 0.1)


def test_a_value_that_is_no_number_gives_no_limits_and_no_signal() -> None:
    with pytest.raises(ValueError, match="finite"):
        ControlLimits.of([float("nan")] * 20, 0.1)
    assert signals([float("nan"), float("nan")], UNIT) == []
    gapped = [*BROKEN[3][:3], float("nan"), *BROKEN[3][3:]]
    assert found(gapped, 3) == [len(gapped) - 1]


def test_false_alarms_of_an_unchanged_process_are_as_seldom_as_they_should_be() -> None:
    z = np.random.default_rng(2).normal(size=20_000)
    share = len(signals(z.tolist(), UNIT, [1])) / z.size
    assert share == pytest.approx(0.0027, abs=0.0012)


def test_a_signal_says_what_its_rule_says() -> None:
    assert signals([4.0], UNIT)[0].sentence == RULES[1].sentence


@pytest.mark.parametrize(("rule", "values"), [(5, [0.0, 2.1, 2.2, 0.0]), (6, [0.0, 1.1, 1.2, 1.3, 1.4, 0.0])])
def test_a_value_that_lies_well_raises_no_signal_after_those_that_did(rule: int, values: list[float]) -> None:
    assert found(values, rule) == [len(values) - 2]


LEAST = ControlLimits(mean=-842.0, sigma=2.0 / 3.0, cases=20, is_least=True)
"""Of a digital thorax that is sent each day."""


def test_the_least_standard_deviation_is_marked() -> None:
    assert ControlLimits.of([5.0, 5.0, 5.01] * 7, 0.1).is_least
    assert not ControlLimits.of([5.0, 6.0, 5.0] * 7, 0.1).is_least


def test_the_same_answer_each_day_is_quiet_also_with_another_rounding() -> None:
    assert signals([-842.0] * 40, LEAST) == []
    assert signals([-842.0 + 1e-4 * k for k in range(40)], LEAST) == []


def test_a_small_shift_of_the_same_ct_is_seen_after_nine_days() -> None:
    shifted = [-842.0] * 20 + [-841.9] * 9
    assert {(s.rule, s.index) for s in signals(shifted, LEAST)} == {(2, 28)}


def test_rule_7_is_asked_where_values_spread() -> None:
    assert found([0.1] * 15, 7) == [14]
    assert signals([-842.0] * 20, LEAST, [7]) == []
