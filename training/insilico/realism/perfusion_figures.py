"""How perfusion is spread over the lungs of one patient, in the figures that publications give."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from inference.anatomy import Lobe, Side, lobes_of
from inference.geometry import Grid
from training.perfusion_defects import find_defects


@dataclass(frozen=True, slots=True)
class PerfusionFigures:
    """Perfusion per volume of lung, relative to the mean of both lungs."""

    right_percent: float
    """Share of the right lung in all perfusion."""
    lobe_percent: dict[str, float]
    """Share of each lobe in all perfusion."""
    lobe_relative: dict[str, float]
    """Mean of each lobe in multiples of the mean of both lungs."""
    variation: float
    """Coefficient of variation: standard deviation by mean of the voxels."""
    gravity_percent_per_cm: float
    """Slope of a straight line over height, upwards in a supine patient, in percent of the mean."""
    height_share: float
    """Part of the variance of the voxels that this line explains."""


@dataclass(frozen=True, slots=True)
class DefectFigures:
    """Where perfusion, seen at the resolution of SPECT, is below half the mean of the lungs."""

    percent: float
    """Volume of all defects, of the lungs' volume."""
    number: int
    largest_ml: float
    largest_percent: float
    """Of the lungs' volume."""


def measure_perfusion(
    values: Float[np.ndarray, "slices rows columns"], lobes: UInt8[np.ndarray, "slices rows columns"], grid: Grid
) -> PerfusionFigures:
    """Figures of one map inside the lungs; its scale does not matter.

    Args:
        values: perfusion per volume of lung.
        lobes: 0 outside the lungs.
        grid: of both, for the height.
    """
    lungs = lobes > 0
    labels, inside = lobes[lungs], values[lungs].astype(np.float64)
    height_cm = np.broadcast_to(-grid.coordinates_mm()[1] / 10.0, grid.shape)[lungs]
    voxels = np.bincount(labels, minlength=len(Lobe) + 1)
    sums = np.bincount(labels, weights=inside, minlength=len(Lobe) + 1)
    total, mean, variance = float(sums.sum()), float(inside.mean()), float(inside.var())
    existing = [lobe for lobe in Lobe if voxels[lobe]]
    rise = height_cm - height_cm.mean()
    slope = float(np.dot(rise, inside) / np.dot(rise, rise))
    return PerfusionFigures(
        right_percent=100.0 * float(sum(sums[lobe] for lobe in lobes_of(Side.RIGHT))) / total,
        lobe_percent={lobe.name: 100.0 * float(sums[lobe]) / total for lobe in existing},
        lobe_relative={lobe.name: float(sums[lobe] / voxels[lobe]) / mean for lobe in existing},
        variation=variance**0.5 / mean,
        gravity_percent_per_cm=100.0 * slope / mean,
        height_share=slope**2 * float(rise.var()) / variance if variance > 0 else 0.0,
    )


def measure_defects(
    values: Float[np.ndarray, "slices rows columns"],
    lungs: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
    *,
    mean_of: Bool[np.ndarray, "slices rows columns"] | None = None,
) -> DefectFigures:
    """Connected parts of the lungs (by faces) with less than half the mean perfusion and at least 5 ml.

    Args:
        values: perfusion per volume of lung, at the resolution of SPECT without its loss at the lungs' edge.
        lungs: where to look; shares are of this volume.
        grid: of both.
        mean_of: whose mean counts; `lungs` if None.
    """
    mean = float(values[lungs if mean_of is None else mean_of].mean(dtype=np.float64))
    sizes_ml = np.bincount(find_defects(values, lungs, grid, mean=mean).ravel())[1:] * grid.voxel_volume_ml
    lungs_ml = max(int(np.count_nonzero(lungs)), 1) * grid.voxel_volume_ml
    largest_ml = float(sizes_ml.max()) if sizes_ml.size else 0.0
    return DefectFigures(
        percent=100.0 * float(sizes_ml.sum()) / lungs_ml,
        number=int(sizes_ml.size),
        largest_ml=largest_ml,
        largest_percent=100.0 * largest_ml / lungs_ml,
    )


def gravity_per_tissue(
    values: Float[np.ndarray, "slices rows columns"],
    tissue: Float[np.ndarray, "slices rows columns"],
    lungs: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
) -> float:
    """Slope over height of perfusion per tissue, in percent of its mean per cm: near 0 in healthy lungs.

    Both are summed over each centimetre of height first, and heights with under 1 % of the lungs are left out.
    """
    height_cm = np.floor(np.broadcast_to(-grid.coordinates_mm()[1] / 10.0, grid.shape)[lungs]).astype(np.int64)
    height_cm -= height_cm.min()
    flow, mass = (np.bincount(height_cm, weights=part[lungs].astype(np.float64)) for part in (values, tissue))
    voxels = np.bincount(height_cm)
    kept = (voxels > 0.01 * voxels.sum()) & (mass > 0)
    specific, place = flow[kept] / mass[kept], np.flatnonzero(kept).astype(np.float64)
    line = np.polynomial.Polynomial.fit(place, specific, 1, w=np.sqrt(voxels[kept])).convert()
    mean = float(np.average(specific, weights=voxels[kept]))
    return 100.0 * float(line.coef[1]) / mean if line.coef.size > 1 else 0.0
