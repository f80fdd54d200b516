"""The true perfusion of a patient: how much blood passes through each voxel of lung.

Perfusion = flow of the territory × share of its capillary bed; the bed conducts as tissue × capillaries × gravity ×
what nobody sees. Supine lungs have more blood at the back because they have more tissue there: per tissue, perfusion is
nearly flat with a peak of 9 % (1 to 22) at mid-height, in all 2.6 % per cm of height (dynamic CT of 4 people,
PMC4294417).
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32, UInt8

from inference.anatomy import Side, lobes_of
from inference.geometry import Grid
from training.insilico.draws import Draws
from training.insilico.tissue.lung_tissue import LungTissue, bedded_fraction, tissue_fraction
from training.insilico.tissue.lung_voxels import LungVoxels
from training.insilico.tissue.unseen import structural_heterogeneity, unseen_heterogeneity

__all__ = ["bed_conductance", "tissue_fraction", "true_perfusion"]

SEAM_MM = 3.0
"""Next to a fissure the CT also shows pleura, which holds no more capillaries than lung."""
AROUND_MM = 12.0
"""Size of the cells that say what is usual."""
PEAK, PEAK_SD, PEAK_CUT_SD = 0.09, 0.045, 1.7
"""Mid-height gain per tissue; spread ours, within the 1 to 22 % of PMC4294417."""
DEPENDENT_GAIN_PER_CM = 0.008
"""How much better the bed conducts per centimetre down, as pressure widens its vessels. Ours, tuned: it makes up for
the longer way through the arteries, so that healthy in-silico perfusion has the published slope."""
RIGHT_GAIN, RIGHT_GAIN_SD = 0.930, 0.03
"""Conductance per tissue of the right lung against the left. Right lungs hold 53.6 +- 1.5 % of the volume (PMC7490509)
and get 52.5 +- 2.1 % of the perfusion (206 normals, Stanford). Ours, tuned to lead from one to the other."""


def bed_conductance(
    tissue: LungTissue, draws: Draws, *, unseen: bool = True
) -> Float32[np.ndarray, "slices rows columns"]:
    """How easily blood passes through the capillaries of each voxel, in any unit; 0 outside the lungs.

    Args:
        tissue: after all diseases.
        draws: of this patient.
        unseen: with what varies without any sign on the CT; without it, for what the CT does show.
    """
    draws = draws.of("bed")
    voxels = LungVoxels.of(tissue.grid, tissue.lobes)
    conductance = np.zeros(tissue.grid.shape, dtype=np.float32)
    if len(voxels.flat):
        bed = _bed_without_pleura(tissue, voxels)
        bed *= tissue.capillaries.reshape(-1)[voxels.flat]
        bed *= _gain_by_height(voxels, draws) * _gain_by_side(voxels, draws)
        bed *= structural_heterogeneity(voxels, draws)
        if unseen:
            bed *= unseen_heterogeneity(voxels, draws)
        conductance.reshape(-1)[voxels.flat] = bed
    return conductance


def true_perfusion(
    conductance: Float32[np.ndarray, "slices rows columns"],
    territories: Int32[np.ndarray, "slices rows columns"],
    flows: Float[np.ndarray, " territories"],
    lobes: UInt8[np.ndarray, "slices rows columns"],
) -> Float32[np.ndarray, "slices rows columns"]:
    """Relative perfusion of each voxel: mean 1 over the lungs, 0 outside.

    Args:
        conductance: from `bed_conductance`.
        territories: of each voxel, -1 for none.
        flows: share of all blood that each territory gets (`flow.flows`).
        lobes: 0 outside the lungs.

    Raises:
        ValueError: there is no lung, or no blood reaches it.
    """
    lungs = np.flatnonzero(lobes)
    territory = territories.reshape(-1)[lungs]
    bed = np.where(territory >= 0, conductance.reshape(-1)[lungs], 0.0)
    territory = np.maximum(territory, 0)
    whole = np.bincount(territory, weights=bed, minlength=len(flows))
    per_bed = np.divide(flows, whole, out=np.zeros(len(flows)), where=whole > 0.0)
    values = bed * per_bed[territory]
    mean = float(values.mean()) if len(values) else 0.0
    if not mean > 0.0:
        raise ValueError("no blood reaches the lungs")
    perfusion = np.zeros(lobes.shape, dtype=np.float32)
    perfusion.reshape(-1)[lungs] = values / mean
    return perfusion


def _gain_by_height(voxels: LungVoxels, draws: Draws) -> Float32[np.ndarray, " voxels"]:
    """Conductance per tissue: a peak half-way between front and back, and wider vessels further down."""
    peak = draws.normal("peak", PEAK, PEAK_SD, cut_sd=PEAK_CUT_SD)
    arch = np.float32(1.0) + np.float32(peak) * (1.0 - (2.0 * voxels.dependence() - 1.0) ** 2)
    below_middle_mm = voxels.y_mm - voxels.y_mm.mean()
    gain: Float32[np.ndarray, " voxels"] = arch * np.exp(np.float32(0.1 * DEPENDENT_GAIN_PER_CM) * below_middle_mm)
    return gain


def _gain_by_side(voxels: LungVoxels, draws: Draws) -> Float32[np.ndarray, " voxels"]:
    gain = draws.normal("right gain", RIGHT_GAIN, RIGHT_GAIN_SD)
    return np.where(np.isin(voxels.lobe, lobes_of(Side.RIGHT)), gain, 1.0).astype(np.float32)


def _bed_without_pleura(tissue: LungTissue, voxels: LungVoxels) -> Float32[np.ndarray, " voxels"]:
    """Tissue that can hold capillaries; beside a fissure no more than is usual in the lobe around there."""
    bed = bedded_fraction(tissue.hu.reshape(-1)[voxels.flat])
    seam = _beside_fissure(tissue.lobes[voxels.box], tissue.grid)[voxels.inside]
    cell = voxels.lobe.astype(np.int64)
    for place in (voxels.x_mm, voxels.y_mm, voxels.z_mm):
        step = ((place - place.min()) / np.float32(AROUND_MM)).astype(np.int64)
        cell = cell * (int(step.max()) + 1) + step
    usual = _means(bed, cell, ~seam)
    usual = np.where(np.isnan(usual), _means(bed, voxels.lobe.astype(np.int64), ~seam), usual)[seam]
    bed[seam] = np.fmin(bed[seam], usual)
    return bed


def _means(
    values: Float32[np.ndarray, " voxels"], group: Int[np.ndarray, " voxels"], counted: Bool[np.ndarray, " voxels"]
) -> Float[np.ndarray, " voxels"]:
    """For each voxel the mean of its group over the counted ones, weighted by itself so that holes do not count.

    NaN for a group without any.
    """
    size = int(group.max()) + 1
    total = np.bincount(group[counted], weights=values[counted], minlength=size)
    squares = np.bincount(group[counted], weights=values[counted] ** 2, minlength=size)
    means: Float[np.ndarray, " voxels"] = np.where(total > 0.0, squares / np.maximum(total, 1e-9), np.nan)[group]
    return means


def _beside_fissure(lobes: UInt8[np.ndarray, "a b c"], grid: Grid) -> Bool[np.ndarray, "a b c"]:
    """Voxels of lung within `SEAM_MM` of another lobe along an axis, and those that touch one."""
    seam = np.zeros(lobes.shape, dtype=bool)
    for axis in range(3):
        for step in range(1, max(int(SEAM_MM / grid.spacing_mm[axis]), 1) + 1):
            low = tuple(slice(None, -step) if k == axis else slice(None) for k in range(3))
            high = tuple(slice(step, None) if k == axis else slice(None) for k in range(3))
            between = (lobes[low] != lobes[high]) & (lobes[low] > 0) & (lobes[high] > 0)
            seam[low] |= between
            seam[high] |= between
    return seam
