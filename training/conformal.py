"""Half-widths of conformal intervals from patients that each network has never seen (`inference.uncertainty`).

The network of a fold is tested on the patients of that fold only. Each of them gives one error per region, and one of
the whole map: the one that `voxel_share` of its lung voxels do not exceed. The half-width is the error of rank
⌈(n + 1) level⌉ among n patients; with too few of them for the wanted level the largest error is taken and the level
that it stands for, n / (n + 1), is said instead.

What must hold for the promise: held-out patients chose nothing (not the step, not the seed, not the arm), and new
patients are exchangeable with them. So the seed of the exported networks is the first of the recipe, before any score
is seen. The arm is pre-registered as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Bool, Float, UInt8

from inference.uncertainty import REGIONS, ConformalInterval, region_means

LEVEL = 0.9
VOXEL_SHARE = 0.9
USUAL_SPREAD_PERCENT = 95.0
"""Share of the study's patients whose mean spread is called usual; ours."""
Map = Float[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True)
class HeldOutErrors:
    """Errors of one network for one patient that it has never seen, in multiples of the lung mean."""

    patient: str
    voxels: float
    """Error that `voxel_share` of the lung voxels do not exceed."""
    regions: Mapping[str, float]
    """Error of the mean of each of `REGIONS` that has a voxel."""


def held_out_errors(
    patient: str,
    prediction: Map,
    spect: Map,
    lungs: Bool[np.ndarray, "slices rows columns"],
    lobes: UInt8[np.ndarray, "slices rows columns"],
    *,
    voxel_share: float = VOXEL_SHARE,
) -> HeldOutErrors:
    """Compare a prediction with what SPECT showed; both are scaled to a mean of 1 over the lungs first.

    Args:
        patient: name.
        prediction: of the network that has not seen this patient, on the grid of the case.
        spect: `StudyCase.target`.
        lungs: `StudyCase.lungs`.
        lobes: `StudyCase.lobes`.
        voxel_share: share of the lung voxels whose error counts.
    """
    predicted, shown = (values[lungs] / values[lungs].mean(dtype=np.float64) for values in (prediction, spect))
    labels = lobes[lungs]
    means, measured = region_means(predicted, labels), region_means(shown, labels)
    return HeldOutErrors(
        patient,
        _of_rank(np.abs(predicted - shown), ceil(voxel_share * predicted.size)),
        {name: abs(means[name] - measured[name]) for name in means},
    )


def calibrated(
    folds: Sequence[Sequence[HeldOutErrors]],
    *,
    mean_spreads: Iterable[float],
    calibrated_on: str,
    level: float = LEVEL,
    voxel_share: float = VOXEL_SHARE,
) -> ConformalInterval:
    """The intervals of an ensemble.

    A region that some patient lacks counts with the patients that have it. One for which a fold has no patient, or too
    few for the level that is said, gets no interval.

    Args:
        folds: for each member of the ensemble, in their order, the errors for the patients of its fold.
        mean_spreads: `Uncertainty.mean_spread` of the whole ensemble for patients of the study.
        calibrated_on: the cohort in one ASCII sentence, saying in-silico or clinical.
        level: share of patients wanted.
        voxel_share: that of `held_out_errors`.

    Raises:
        ValueError: a fold without patients, or a patient in two folds.
    """
    names = [errors.patient for fold in folds for errors in fold]
    if len(set(names)) < len(names):
        raise ValueError("a patient occurs twice")
    if not folds or not all(folds):
        raise ValueError("every member needs patients that it has not seen")
    fewest = min(len(fold) for fold in folds)
    said = min(level, fewest / (fewest + 1))
    regions = {}
    for name in REGIONS:
        widths = [
            _half_width([errors.regions[name] for errors in fold if name in errors.regions], said) for fold in folds
        ]
        if all(width is not None for width in widths):
            regions[name] = tuple(width for width in widths if width is not None)
    voxels = [_half_width([errors.voxels for errors in fold], said) for fold in folds]
    return ConformalInterval(
        level=said,
        voxel_share=voxel_share,
        patients=tuple(len(fold) for fold in folds),
        voxels=tuple(width for width in voxels if width is not None),
        regions=regions,
        usual_spread=float(np.percentile(list(mean_spreads), USUAL_SPREAD_PERCENT)),
        calibrated_on=calibrated_on,
    )


def _half_width(errors: Sequence[float], level: float) -> float | None:
    """The conformal quantile; None where there are too few errors for it."""
    rank = ceil((len(errors) + 1) * level - 1e-9)  # n / (n + 1) of n + 1 is n
    return _of_rank(np.array(errors), rank) if 1 <= rank <= len(errors) else None


def _of_rank(values: Float[np.ndarray, " n"], rank: int) -> float:
    """The value of a rank, 1 being the smallest."""
    return float(np.partition(values, rank - 1)[rank - 1])
