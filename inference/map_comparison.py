"""How far two maps of the same lungs are apart: what a candidate model would change for a patient.

Both maps are of one CT in the same lungs, so nothing is registered and no map is taken for the truth. Each is relative
(1.0 is the mean over both lungs), so the mean difference is near zero whatever the models are worth; the mean absolute
difference says how far apart they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from inference.anatomy import Lobe
from inference.volumes import FunctionRegions, LobarTable, PerfusionMap, require_same_grid

Mask = Bool[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True, eq=False)
class MappedLungs:
    """What one model made of a CT."""

    perfusion: PerfusionMap
    regions: FunctionRegions
    lobar: LobarTable


@dataclass(frozen=True, slots=True)
class MapComparison:
    """Figures of one case; differences are candidate minus the model in use."""

    mean_difference_percent: float
    """Over the lungs, in percent of the mean of both lungs."""
    mean_absolute_difference_percent: float
    """The same without sign."""
    spearman: float | None
    """Rank correlation over the lungs (Spearman 1904); None where a map is constant."""
    dice_high: float
    """Overlap of high-functional lung, 0 to 1; 1 where neither map has any."""
    dice_low: float
    """Overlap of low-functional lung, likewise."""
    lobar_percent_points: Mapping[str, float]
    """Difference of the share of perfusion of each lobe that has a voxel, by TG-263 name, in percentage points."""


def compare_maps(candidate: MappedLungs, in_use: MappedLungs) -> MapComparison:
    """Compare what two models made of one CT.

    Args:
        candidate: of the model that is tried.
        in_use: of the model that makes the maps.

    Raises:
        GridMismatch: they are not on one grid.
        ValueError: they are not of the same lungs, or there is no lung.
    """
    require_same_grid(in_use.perfusion.grid, candidate.perfusion.grid)
    lungs = in_use.perfusion.lungs
    if not lungs.any() or not np.array_equal(lungs, candidate.perfusion.lungs):
        raise ValueError("the two maps are not of the same lungs")
    ours, theirs = candidate.perfusion.values[lungs], in_use.perfusion.values[lungs]
    difference_percent = 100.0 * (ours.astype(np.float64) - theirs)
    return MapComparison(
        mean_difference_percent=float(difference_percent.mean()),
        mean_absolute_difference_percent=float(np.abs(difference_percent).mean()),
        spearman=_spearman(ours, theirs),
        dice_high=_dice(candidate.regions.high, in_use.regions.high),
        dice_low=_dice(candidate.regions.low, in_use.regions.low),
        lobar_percent_points={
            lobe.tg263: 100.0 * (candidate.lobar[lobe].perfusion_fraction - row.perfusion_fraction)
            for lobe in Lobe
            if (row := in_use.lobar[lobe]).volume_ml > 0
        },
    )


def _spearman(one: Float32[np.ndarray, " voxels"], other: Float32[np.ndarray, " voxels"]) -> float | None:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    from scipy import stats  # whoever only reads figures need not load it

    return float(stats.spearmanr(one, other).statistic)


def _dice(one: Mask, other: Mask) -> float:
    both = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2.0 * int(np.count_nonzero(one & other)) / both if both else 1.0
