"""Whether a predicted value means what it says: where 0.6 of the lungs' mean is predicted, is 0.6 measured?

Perfusion is relative, so a map can be right on average and still be too flat, as networks that minimise an error are:
the line through measured against predicted then has a slope above 1. Voxels are those of the eroded mask, because at
the lungs' edge both maps fall for a reason that says nothing about perfusion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

BIN_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, float("inf"))
"""Predicted perfusion, in multiples of the lungs' mean; ours."""

Voxels = Float[np.ndarray, " voxels"]


@dataclass(frozen=True, slots=True)
class CalibrationLine:
    """Least squares of measured on predicted perfusion: slope 1 and intercept 0 are calibrated."""

    slope: float
    """Above 1: the map is too flat; below 1: it shows differences that are not there."""
    intercept: float
    """In multiples of the lungs' mean."""


@dataclass(frozen=True, slots=True)
class CalibrationBins:
    """Predicted against measured by bins of `BIN_EDGES`, as sums, so that patients can be added up."""

    share: tuple[float, ...]
    """Part of the voxels whose prediction lies in each bin; they add up to 1."""
    predicted: tuple[float, ...]
    """Mean predicted perfusion of each bin times its share."""
    measured: tuple[float, ...]
    """Mean measured perfusion of each bin times its share."""


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """One line of the table of predicted against measured."""

    low: float
    high: float | None
    """End of the bin; None for no end."""
    share: float
    """Of all voxels, each patient with the same say."""
    predicted: float
    measured: float


def calibration_line(predicted: Voxels, measured: Voxels) -> CalibrationLine | None:
    """The line of measured on predicted perfusion; None without two different predictions."""
    if predicted.size < 2:
        return None
    one, other = predicted.astype(np.float64), measured.astype(np.float64)
    rise = one - one.mean()
    spread = float(np.dot(rise, rise))
    if spread <= 0.0:
        return None
    slope = float(np.dot(rise, other)) / spread
    return CalibrationLine(slope, float(other.mean()) - slope * float(one.mean()))


def calibration_bins(predicted: Voxels, measured: Voxels) -> CalibrationBins | None:
    """Voxels of one patient by bins of the predicted value; None without a voxel."""
    if not predicted.size:
        return None
    places = np.clip(np.digitize(predicted, BIN_EDGES) - 1, 0, len(BIN_EDGES) - 2)
    count = len(BIN_EDGES) - 1
    sums = [
        np.bincount(places, weights=weights, minlength=count) / predicted.size
        for weights in (None, predicted, measured)
    ]
    share, one, other = (tuple(float(value) for value in part) for part in sums)
    return CalibrationBins(share, one, other)


def calibration_error(bins: CalibrationBins) -> float:
    """Mean distance of measured from predicted over bins, by their share, in multiples of the lungs' mean."""
    return float(np.abs(np.subtract(bins.predicted, bins.measured)).sum())


def calibration_table(patients: Sequence[CalibrationBins]) -> tuple[CalibrationRow, ...]:
    """The bins of many patients as one table; bins that nobody has are left out."""
    if not patients:
        return ()
    share, predicted, measured = (
        np.mean([getattr(patient, part) for patient in patients], axis=0) for part in ("share", "predicted", "measured")
    )
    return tuple(
        CalibrationRow(
            low=BIN_EDGES[place],
            high=None if BIN_EDGES[place + 1] == float("inf") else BIN_EDGES[place + 1],
            share=float(share[place]),
            predicted=float(predicted[place] / share[place]),
            measured=float(measured[place] / share[place]),
        )
        for place in range(len(share))
        if share[place] > 0
    )
