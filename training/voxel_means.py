"""Means of a fine image over the voxels of a coarser one, exactly: what a scanner of coarse voxels would see at best.

Interpolation would look at a few fine voxels only and alias. Here every fine voxel counts by the part of it that lies
in the coarse voxel, so totals are kept. The axes of both grids must be those of the patient, in any order and
direction, as those of planning CT and SPECT are.
"""

import numpy as np
from jaxtyping import Float, Shaped

from inference.errors import GridMismatch
from inference.geometry import Grid, Reorientation

_TURN = 1e-3
"""Largest component of an axis across the patient's axis (0.06 degrees): half a voxel over 500 mm."""


def voxel_means(array: Shaped[np.ndarray, "a b c"], grid: Grid, onto: Grid) -> Float[np.ndarray, "slices rows columns"]:
    """Mean of `array` over each voxel of `onto`; what lies outside `grid` counts as 0.

    Args:
        array: numbers or booleans on `grid`.
        grid: where they lie.
        onto: grid of the result; must share the frame of reference.

    Raises:
        GridMismatch: another frame of reference, or axes that are not parallel.
    """
    if grid.frame_of_reference_uid != onto.frame_of_reference_uid:
        raise GridMismatch(onto.description(), f"{grid.description()} in another frame of reference")
    source, target = Reorientation.to_patient_axes(grid), Reorientation.to_patient_axes(onto)
    means = source.apply(array).astype(np.float32, copy=False)
    fine, coarse = source.grid(grid), target.grid(onto)
    for axis in (0, 1, 2):
        weights = _weights(fine, coarse, axis)
        means = np.moveaxis(np.tensordot(weights, means, axes=(1, axis)), 0, axis)
    result: Float[np.ndarray, "slices rows columns"] = np.ascontiguousarray(target.undo(means))
    return result


def _weights(fine: Grid, coarse: Grid, axis: int) -> Float[np.ndarray, "coarse fine"]:
    """Share of each coarse voxel (row) that each fine voxel (column) fills along one patient axis."""
    component = 2 - axis
    for grid in (fine, coarse):
        if abs(grid.direction[component, axis] - 1.0) > _TURN**2:
            raise GridMismatch("axes parallel to those of the patient", grid.description())
    low, high = zip(*(_faces(grid, axis, component) for grid in (fine, coarse)), strict=True)
    overlap = np.minimum(high[1][:, None], high[0][None, :]) - np.maximum(low[1][:, None], low[0][None, :])
    share: Float[np.ndarray, "coarse fine"] = np.maximum(overlap, 0.0) / coarse.spacing_mm[axis]
    return share.astype(np.float32)


def _faces(grid: Grid, axis: int, component: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    centres = grid.origin_mm[component] + grid.spacing_mm[axis] * np.arange(grid.shape[axis], dtype=np.float64)
    half = 0.5 * grid.spacing_mm[axis]
    return centres - half, centres + half
