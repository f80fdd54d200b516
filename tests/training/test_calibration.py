"""Calibration of values whose line and bins can be worked out by hand."""

import numpy as np
import pytest

from training.calibration import BIN_EDGES, calibration_bins, calibration_error, calibration_line, calibration_table


def test_the_line_is_of_measured_on_predicted() -> None:
    predicted = np.array([0.0, 1.0, 2.0, 3.0])
    measured = np.array([0.0, 0.0, 4.0, 4.0])  # not on one line, so that the other direction has another slope
    line = calibration_line(predicted, measured)
    assert line is not None
    assert (line.slope, line.intercept) == (pytest.approx(1.6), pytest.approx(-0.4))


def test_a_map_that_is_too_flat_has_a_slope_above_one() -> None:
    measured = np.linspace(0.2, 1.8, 9)
    line = calibration_line(1.0 + 0.5 * (measured - 1.0), measured)
    assert line is not None
    assert (line.slope, line.intercept) == (pytest.approx(2.0), pytest.approx(-1.0))


@pytest.mark.parametrize("predicted", [[], [1.0], [1.0, 1.0, 1.0]])
def test_without_two_different_predictions_there_is_no_line(predicted: list[float]) -> None:
    assert calibration_line(np.array(predicted), np.array(predicted)) is None


def test_bins_hold_sums_by_the_predicted_value() -> None:
    bins = calibration_bins(np.array([0.1, 0.3, 0.3, 7.0]), np.array([0.2, 0.4, 0.6, 3.0]))
    assert bins is not None
    assert len(bins.share) == len(BIN_EDGES) - 1
    assert (bins.share[0], bins.share[1], bins.share[-1]) == (0.25, 0.5, 0.25)
    assert (bins.predicted[1], bins.measured[1]) == (pytest.approx(0.15), pytest.approx(0.25))
    assert (bins.predicted[-1], bins.measured[-1]) == (pytest.approx(1.75), pytest.approx(0.75))
    assert calibration_error(bins) == pytest.approx(0.025 + 0.1 + 1.0)
    assert calibration_bins(np.array([]), np.array([])) is None


def test_a_value_on_an_edge_belongs_to_the_upper_bin() -> None:
    bins = calibration_bins(np.array([0.2]), np.array([1.0]))
    assert bins is not None
    assert bins.share[1] == 1.0


def test_patients_have_the_same_say_in_the_table_and_empty_bins_are_left_out() -> None:
    large = calibration_bins(np.full(1000, 0.5), np.full(1000, 0.5))
    small = calibration_bins(np.array([0.5, 1.5]), np.array([1.0, 1.5]))
    assert large is not None
    assert small is not None
    low, high = calibration_table([large, small])
    assert (low.low, low.high, low.share) == (0.4, 0.6, pytest.approx(0.75))
    assert (low.predicted, low.measured) == (pytest.approx(0.5), pytest.approx((1.0 * 0.5 + 0.5 * 1.0) / 1.5))
    assert (high.low, high.share, high.measured) == (1.4, pytest.approx(0.25), pytest.approx(1.5))
    assert calibration_table([]) == ()


def test_the_last_bin_has_no_end() -> None:
    bins = calibration_bins(np.array([9.0]), np.array([1.0]))
    assert bins is not None
    assert [(row.low, row.high) for row in calibration_table([bins])] == [(2.0, None)]
