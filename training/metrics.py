"""How well one map of the lungs agrees with another: the scores of the CT-to-perfusion literature.

All look at voxels inside a mask only. A high score alone proves little: the blurred edge of the lungs is in every
SPECT, so a map of nothing but the lung's shape scores high on a mask that holds that edge (`training.baselines`).
Therefore every score is also taken on a mask that is eroded by the resolution of the SPECT (`eroded`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import ndimage, stats
from skimage.metrics import structural_similarity

from inference.anatomy import Lobe
from inference.geometry import Grid

Values = Float[np.ndarray, "slices rows columns"]
Mask = Bool[np.ndarray, "slices rows columns"]

SPLITS_PERCENT: Mapping[str, float] = MappingProxyType({"50/50": 50.0, "66/34": 34.0})
"""High / low parts of the lungs, and the percentile between them.

The scores of Ren 2022 (10.3389/fonc.2022.883516) imply the median, those of Ren 2021 (IJROBP 110:1508) the upper 66 %;
neither threshold was read. Chance alone gives a Dice equal to the part's share of the lungs.
"""

_SSIM_REACH = 5
"""Voxels from the middle of a window to its end: 3.5 standard deviations."""


@dataclass(frozen=True, slots=True)
class FunctionDice:
    """Overlap of high- and of low-functional lung of two maps, 0 to 1."""

    high: float
    low: float


def spearman(one: Values, other: Values, mask: Mask) -> float:
    """Rank correlation of the voxels in `mask`, ties at their mean rank; NaN where a map is constant."""
    return _correlation(stats.rankdata(one[mask]), stats.rankdata(other[mask]))


def pearson(one: Values, other: Values, mask: Mask) -> float:
    """Linear correlation of the voxels in `mask`; NaN where a map is constant."""
    return _correlation(one[mask].astype(np.float64), other[mask].astype(np.float64))


def rmse(one: Values, other: Values, mask: Mask) -> float:
    """Root of the mean squared difference in `mask`, after each map is scaled to mean 1 there.

    Both maps are relative, so their units mean nothing; the result is a share of the mean.
    """
    first, second = one[mask].astype(np.float64), other[mask].astype(np.float64)
    return float(np.sqrt(np.mean((first / first.mean() - second / second.mean()) ** 2)))


def ssim(predicted: Values, reference: Values, mask: Mask) -> float:
    """Structural similarity (Wang 2004), mean over the voxels of `mask`; NaN where the reference is nowhere above 0.

    Gaussian windows of 1.5 voxels. What is outside the mask counts as 0 in both maps, so voxels at its edge are alike
    for a reason that says nothing about perfusion. The dynamic range, of which publications say nothing, is the 99th
    percentile of the reference in the mask: ours.
    """
    span = float(np.percentile(reference[mask], 99.0)) if mask.any() else 0.0
    if span <= 0.0:
        return float("nan")
    box = tuple(slice(int(places.min()), int(places.max()) + 1) for places in np.nonzero(mask))
    inside = np.pad(mask[box], _SSIM_REACH)
    one, other = (np.pad(np.where(mask[box], values[box], 0.0), _SSIM_REACH) for values in (predicted, reference))
    _, similar = structural_similarity(
        one, other, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return float(similar[inside].mean(dtype=np.float64))


def function_dice(one: Values, other: Values, mask: Mask, *, low_percent: float) -> FunctionDice:
    """Dice of the high and of the low part of two maps, each cut at its own percentile within `mask`.

    Args:
        one: a map.
        other: another, on the same grid.
        mask: the lungs.
        low_percent: percentile below which lung is low-functional; from it on, it is high-functional.
    """
    high_one = one[mask] >= np.percentile(one[mask], low_percent)
    high_other = other[mask] >= np.percentile(other[mask], low_percent)
    return FunctionDice(_dice(high_one, high_other), _dice(~high_one, ~high_other))


def lobe_means(values: Values, lobes: Integer[np.ndarray, "slices rows columns"]) -> dict[Lobe, float]:
    """Mean of each lobe that has a voxel."""
    inside = lobes > 0
    voxels = np.bincount(lobes[inside], minlength=len(Lobe) + 1)
    sums = np.bincount(lobes[inside], weights=values[inside], minlength=len(Lobe) + 1)
    return {lobe: float(sums[lobe] / voxels[lobe]) for lobe in Lobe if voxels[lobe]}


def eroded(mask: Mask, grid: Grid, *, margin_mm: float) -> Mask:
    """Voxels of `mask` whose centre lies at least `margin_mm` inside its surface, on any grid.

    The surface is taken half a voxel before the centre of the nearest voxel outside; what lies beyond the grid is
    outside. With a margin of the SPECT's full width at half maximum, hardly anything of the blurred edge remains.
    """
    distance_mm = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=grid.spacing_mm)[1:-1, 1:-1, 1:-1]
    inside: Mask = distance_mm >= margin_mm + 0.5 * min(grid.spacing_mm)
    return inside


def _correlation(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    if one.size < 2:
        return float("nan")
    first, second = one - one.mean(), other - other.mean()
    spread = float(np.sqrt(np.dot(first, first) * np.dot(second, second)))
    return float(np.dot(first, second)) / spread if spread > 0 else float("nan")


def _dice(one: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"]) -> float:
    both = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2.0 * float(np.count_nonzero(one & other)) / both if both else 1.0
