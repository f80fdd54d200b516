"""The voxels of some lobes as lists: what a disease works on, a sixth of the whole grid.

All lists have the same order, so a condition on one picks from the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from inference.anatomy import Lobe
from inference.geometry import Box, Grid
from training.insilico.draws import Draws
from training.insilico.tissue.smooth_field import SmoothField

DEPTH_STEP_MM = 4.0
"""Depths below the pleura are measured on voxels of about this size and interpolated."""
BRONCHUS_MM = 12.0
"""Half the width of the widest gap that counts as a bronchus and not as outside."""


@dataclass(frozen=True, slots=True, eq=False)
class LungVoxels:
    """Lung voxels with their places."""

    grid: Grid
    """Of the whole body."""
    box: Box
    """The smallest box that holds them."""
    inside: Bool[np.ndarray, "slices rows columns"]
    """Which voxels of the box they are."""
    flat: Int[np.ndarray, " voxels"]
    """Index into the flattened arrays of the body."""
    lobe: UInt8[np.ndarray, " voxels"]
    x_mm: Float32[np.ndarray, " voxels"]
    """LPS."""
    y_mm: Float32[np.ndarray, " voxels"]
    z_mm: Float32[np.ndarray, " voxels"]

    @classmethod
    def of(
        cls, grid: Grid, lobes: UInt8[np.ndarray, "slices rows columns"], which: Iterable[Lobe] = tuple(Lobe)
    ) -> "LungVoxels":
        """The voxels of the named lobes; none where there are no such lobes."""
        wanted = np.zeros(256, dtype=bool)
        wanted[[int(lobe) for lobe in which]] = True
        mask = wanted[lobes]
        box = _smallest_box(mask)
        inside = mask[box]
        index = np.nonzero(inside)
        index = tuple(k + part.start for k, part in zip(index, box, strict=True))
        flat = np.ravel_multi_index(index, grid.shape)
        x, y, z = (_coordinate(grid, index, axis) for axis in range(3))
        return cls(grid, box, inside, flat, lobes.reshape(-1)[flat], x, y, z)

    def smooth(self, draws: Draws, what: str, correlation_mm: float) -> Float32[np.ndarray, " voxels"]:
        """A smooth field of chance at the voxels, mean 0 and variance 1 (`SmoothField`)."""
        values: Float32[np.ndarray, " voxels"] = SmoothField.drawn(draws, what, correlation_mm).on(
            self.grid.cropped(self.box)
        )[self.inside]
        return values

    def distance_mm(self, place_mm: Float[np.ndarray, "3"]) -> Float32[np.ndarray, " voxels"]:
        """Distance from one LPS position."""
        x, y, z = (np.float32(c) for c in place_mm)
        distance: Float32[np.ndarray, " voxels"] = np.sqrt(
            (self.x_mm - x) ** 2 + (self.y_mm - y) ** 2 + (self.z_mm - z) ** 2
        )
        return distance

    def depth_mm(self) -> Float32[np.ndarray, " voxels"]:
        """Distance from the nearest place outside these voxels, that is below the pleura when they are whole lungs.

        Measured on coarse voxels and interpolated; right to about 2 mm. Bronchi inside a lung are no outside.
        """
        from scipy import ndimage  # heavy; only some diseases need it

        spacing = np.array(self.grid.spacing_mm)
        stride = np.maximum((DEPTH_STEP_MM / spacing).astype(int), 1)
        reach = max(round(BRONCHUS_MM / float((spacing * stride).max())), 1)
        padded = np.pad(self.inside[:: stride[0], :: stride[1], :: stride[2]], reach + 1)
        closed = ndimage.binary_closing(padded, iterations=reach)
        depth = ndimage.distance_transform_edt(closed, sampling=spacing * stride).astype(np.float32)
        index = np.array(np.nonzero(self.inside), dtype=np.float32) / stride[:, None].astype(np.float32) + (reach + 1)
        found: Float32[np.ndarray, " voxels"] = ndimage.map_coordinates(depth, index, order=1, mode="nearest")
        return np.maximum(found - np.float32(0.5 * spacing.max()), 0.0)

    def height(self) -> Float32[np.ndarray, " voxels"]:
        """0 at the lowest voxel (base), 1 at the highest (apex)."""
        return _spread(self.z_mm)

    def dependence(self) -> Float32[np.ndarray, " voxels"]:
        """0 at the foremost voxel, 1 at the hindmost, where blood and fluid sink to in a supine patient."""
        return _spread(self.y_mm)


def _spread(values: Float32[np.ndarray, " voxels"]) -> Float32[np.ndarray, " voxels"]:
    low, high = float(values.min()), float(values.max())
    return (values - np.float32(low)) / np.float32(max(high - low, 1e-6))


def _smallest_box(mask: Bool[np.ndarray, "slices rows columns"]) -> Box:
    box = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 1))
    return box[0], box[1], box[2]


def _coordinate(grid: Grid, index: tuple[Int[np.ndarray, " voxels"], ...], axis: int) -> Float32[np.ndarray, " voxels"]:
    place = np.full(index[0].shape, grid.affine[axis, 3], dtype=np.float32)
    for k in range(3):
        if grid.affine[axis, k] != 0.0:
            place += index[k].astype(np.float32) * np.float32(grid.affine[axis, k])
    return place
