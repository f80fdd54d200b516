"""Statistics with answers from textbooks or by hand."""

import numpy as np
import pytest
from scipy import stats

from training.statistics import bootstrap_interval, correlation, holm, ratio, summary, wilcoxon_p


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_six_of_six_patients_above_is_one_of_thirty_two() -> None:
    better = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert wilcoxon_p(better, np.zeros(6)) == pytest.approx(2 / 2**6)
    assert wilcoxon_p(np.zeros(6), better) == pytest.approx(2 / 2**6)


def test_equal_arms_do_not_differ() -> None:
    assert wilcoxon_p(np.ones(8), np.ones(8)) == 1.0


def test_pairs_count_and_not_the_order_of_values() -> None:
    one = np.arange(10.0)
    assert wilcoxon_p(one + 0.1 * np.linspace(1, 2, 10), one) < 0.01
    assert wilcoxon_p(one[::-1] + 0.1 * np.linspace(1, 2, 10), one) > 0.5


def test_the_interval_of_a_mean_is_near_that_of_the_normal_distribution() -> None:
    values = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    interval = bootstrap_interval(np.mean, values)
    reach = 1.96 * values.std(ddof=1) / np.sqrt(200)
    assert interval.value == pytest.approx(0.0, abs=1e-9)
    assert interval.low == pytest.approx(-reach, rel=0.05)
    assert interval.high == pytest.approx(reach, rel=0.05)


def test_equal_numbers_have_equal_intervals() -> None:
    values = np.random.default_rng(5).random(33)
    assert bootstrap_interval(np.mean, values) == bootstrap_interval(np.mean, values.copy())


def test_a_skewed_sample_has_a_skewed_interval() -> None:
    values = np.array([0.0] * 28 + [1.0, 2.0, 4.0, 8.0, 16.0])
    interval = bootstrap_interval(np.mean, values)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.high - interval.value > 1.5 * (interval.value - interval.low)


def test_patients_are_drawn_with_all_their_numbers() -> None:
    """One sample is the other plus 1, so their difference has no spread at all; unpaired draws would give it one."""
    one = np.random.default_rng(1).random(20)

    def difference(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(first.mean(axis=axis) - second.mean(axis=axis))

    interval = bootstrap_interval(difference, one + 1.0, one)
    ends = [end for end in (interval.low, interval.high) if end is not None]
    assert interval.value == pytest.approx(1.0)
    assert ends == pytest.approx([1.0] * len(ends))


def test_few_patients_have_no_interval_and_equal_ones_a_point() -> None:
    few = bootstrap_interval(np.mean, np.arange(4.0))
    assert (few.value, few.low, few.high) == (1.5, None, None)
    equal = bootstrap_interval(np.mean, np.full(9, 2.0))
    assert (equal.value, equal.low, equal.high) == (2.0, 2.0, 2.0)
    all_found = bootstrap_interval(ratio, np.array([1.0, 3.0, 2.0, 7.0, 1.0]), np.array([1.0, 3.0, 2.0, 7.0, 1.0]))
    assert (all_found.value, all_found.low, all_found.high) == (1.0, 1.0, 1.0)


def test_correlation_is_that_of_numpy_and_none_of_a_constant() -> None:
    chance = np.random.default_rng(3)
    one, other = chance.random((4, 12)), chance.random((4, 12))
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(one, other, strict=True)]
    assert correlation(one, other) == pytest.approx(expected)
    assert np.isnan(correlation(np.ones(5), np.arange(5.0)))


def test_a_ratio_is_of_sums() -> None:
    assert ratio(np.array([1.0, 1.0]), np.array([3.0, 1.0])) == 0.5


def test_a_summary_counts_patients() -> None:
    found = summary([1.0, 2.0, 6.0])
    assert found is not None
    assert (found.patients, found.mean, found.median) == (3, 3.0, 2.0)
    assert (found.least, found.most, found.sd) == (1.0, 6.0, pytest.approx(7.0**0.5))
    assert summary([]) is None
    alone = summary([4.0])
    assert alone is not None
    assert alone.sd is None
