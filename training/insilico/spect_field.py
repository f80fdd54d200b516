"""The part of space that a SPECT is made of, and how the body gets onto its voxels.

To be fast, the field is cut to the patient: across, a square that holds the widest part of the body; along, the lungs
with a margin. What lies outside gives next to no counts.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from inference.geometry import Grid

MARGIN_MM = 30.0
"""Above and below the lungs: breathing, misalignment and the width of the blur."""
SUBVOXELS = 2
"""The body breathes on voxels that much finer, so that moving it blurs less."""

Millimetres = tuple[float, float, float]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class SpectField:
    """Voxels of a SPECT around one patient."""

    grid: Grid
    """As many rows as columns; the axis that the camera turns round is the middle of the square."""

    @classmethod
    def around(
        cls, x_mm: Interval, y_mm: Interval, z_mm: Interval, voxel_mm: float, *, matrix: int, frame: str
    ) -> "SpectField":
        """The field for one patient.

        Args:
            x_mm: from the right to the left end of the patient.
            y_mm: from the front to the back of the patient.
            z_mm: from the lower to the upper end of the lungs.
            voxel_mm: edge of the field's cubic voxels.
            matrix: of the camera; what lies farther out is cut off.
            frame: Frame of Reference UID of the positions.
        """
        slices = int(np.ceil((z_mm[1] - z_mm[0] + 2.0 * MARGIN_MM) / voxel_mm))
        width = min(int(np.ceil(max(x_mm[1] - x_mm[0], y_mm[1] - y_mm[0]) / voxel_mm)) + 2, matrix)
        counts = (width, width, slices)
        middle = [0.5 * sum(interval) for interval in (x_mm, y_mm, z_mm)]
        x, y, z = (m - 0.5 * (n - 1) * voxel_mm for m, n in zip(middle, counts, strict=True))
        shape, spacing = (slices, width, width), (voxel_mm, voxel_mm, voxel_mm)
        return cls(Grid.axial(shape, spacing, (x, y, z), frame_of_reference_uid=frame))

    @property
    def finer(self) -> Grid:
        """The same space in voxels `SUBVOXELS` times finer."""
        step = self.grid.spacing_mm[0] / SUBVOXELS
        return self.grid.with_spacing((step, step, step))

    def mean_of(self, values: Float32[np.ndarray, "a b c"]) -> Float32[np.ndarray, "slices rows columns"]:
        """Mean over each voxel of values on `finer`."""
        slices, rows, columns = self.grid.shape
        parts = values.reshape(slices, SUBVOXELS, rows, SUBVOXELS, columns, SUBVOXELS)
        mean: np.ndarray = parts.mean(axis=(1, 3, 5), dtype=np.float32)
        return mean


def averaged_onto(
    values: Float32[np.ndarray, "a b c"], grid: Grid, onto: Grid, shift_mm: Millimetres = (0.0, 0.0, 0.0)
) -> Float32[np.ndarray, "slices rows columns"]:
    """Mean of `values` over each voxel of another axial grid, every old voxel weighted by the volume that it shares.

    Where both grids cover everything, the sum of value × volume is kept. Outside `grid` the values are 0.

    Args:
        values: on `grid`, taken as constant in each voxel.
        grid: axial, head first, supine.
        onto: axial, head first, supine.
        shift_mm: how far the values are moved first (x, y, z); exact, whatever the voxels.

    Raises:
        ValueError: a grid is not axial, head first, supine.
    """
    for each in (grid, onto):
        if not np.allclose(each.direction, np.eye(3)[::-1]):
            raise ValueError(f"not an axial, head first, supine grid: {each.description()}")
    for axis in range(3):
        weights = _shared(grid, onto, axis, shift_mm[2 - axis])
        used = np.flatnonzero(weights.any(axis=0))
        part = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
        kept = values[(slice(None),) * axis + (part,)]
        values = np.moveaxis(np.tensordot(weights[:, part], kept, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values)


def extent_mm(mask: Bool[np.ndarray, "a b c"], grid: Grid, axis: int) -> Interval:
    """Where a mask that is not empty begins and ends along one axis of an axial grid."""
    there = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
    faces = _faces_mm(grid, axis)
    return float(faces[there[0]]), float(faces[there[-1] + 1])


def _shared(grid: Grid, onto: Grid, axis: int, shift_mm: float) -> Float32[np.ndarray, "new old"]:
    """Share of each new voxel (rows) that each old one (columns) covers along one axis."""
    old, new = _faces_mm(grid, axis) + shift_mm, _faces_mm(onto, axis)
    high = np.minimum(new[1:, np.newaxis], old[np.newaxis, 1:])
    low = np.maximum(new[:-1, np.newaxis], old[np.newaxis, :-1])
    shared: np.ndarray = (np.clip(high - low, 0.0, None) / onto.spacing_mm[axis]).astype(np.float32)
    return shared


def _faces_mm(grid: Grid, axis: int) -> Float[np.ndarray, " faces"]:
    """Positions of all faces between the voxels along one axis of an axial grid."""
    faces: np.ndarray = grid.affine[2 - axis, 3] + (np.arange(grid.shape[axis] + 1) - 0.5) * grid.spacing_mm[axis]
    return faces
