"""The part of space that a SPECT is made of, and how the body gets onto its voxels.

To be fast, what is projected and reconstructed is cut to the lungs and a margin: what lies farther out gives next to no
counts. What attenuates is the whole patient, so attenuation has a wider grid, round the same axis.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from inference.geometry import Grid

MARGIN_MM = 25.0
"""Around the lungs: breathing, misalignment and the width of the blur."""
SUBVOXELS = 2
"""The body breathes on voxels that much finer, so that moving it blurs less."""

Millimetres = tuple[float, float, float]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """Where something begins and ends along each axis, LPS."""

    x: Interval
    y: Interval
    z: Interval

    @property
    def sides(self) -> tuple[Interval, Interval]:
        """Across the patient."""
        return self.x, self.y

    @classmethod
    def of(cls, mask: Bool[np.ndarray, "a b c"], grid: Grid) -> "Box":
        """The box of a mask that is not empty, on an axial grid."""
        return cls(*(_extent_mm(mask, grid, axis) for axis in (2, 1, 0)))


@dataclass(frozen=True, slots=True, eq=False)
class SpectField:
    """Voxels of a SPECT around one patient."""

    grid: Grid
    """Of the image: as many rows as columns; the axis that the camera turns round is the middle of the square."""
    wide: Grid
    """Of attenuation: the same slices and voxels, and some more on every side."""

    @classmethod
    def around(cls, lungs_mm: Box, patient_mm: Box, voxel_mm: float, *, matrix: int, frame: str) -> "SpectField":
        """The field for one patient. The camera turns round the middle of the patient.

        Args:
            lungs_mm: where the lungs begin and end.
            patient_mm: where the patient does, at the height of the lungs.
            voxel_mm: edge of the cubic voxels.
            matrix: of the camera; what lies farther out is cut off.
            frame: Frame of Reference UID of the positions.
        """
        axis = 0.5 * sum(patient_mm.x), 0.5 * sum(patient_mm.y)
        reach = [
            max(abs(end - m) for m, side in zip(axis, box.sides, strict=True) for end in side)
            for box in (lungs_mm, patient_mm)
        ]
        slices = int(np.ceil((lungs_mm.z[1] - lungs_mm.z[0] + 2.0 * MARGIN_MM) / voxel_mm))
        width = min(2 * int(np.ceil((reach[0] + MARGIN_MM) / voxel_mm)), matrix)
        wide = max(min(2 * (int(np.ceil(reach[1] / voxel_mm)) + 1), matrix), width)
        z = 0.5 * (sum(lungs_mm.z) - (slices - 1) * voxel_mm)

        def square(count: int) -> Grid:
            corner = axis[0] - 0.5 * (count - 1) * voxel_mm, axis[1] - 0.5 * (count - 1) * voxel_mm, z
            spacing = (voxel_mm, voxel_mm, voxel_mm)
            return Grid.axial((slices, count, count), spacing, corner, frame_of_reference_uid=frame)

        return cls(square(width), square(wide))

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


def _extent_mm(mask: Bool[np.ndarray, "a b c"], grid: Grid, axis: int) -> Interval:
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
