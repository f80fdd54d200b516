"""The volume a digital thorax is drawn on, seen slice by slice or around one tube.

Drawing in parts keeps memory small and asks for no more coordinates than a part needs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from inference.geometry import Box, Grid
from inference.phantom.build import ThoraxBuild
from inference.phantom.shapes import Coordinate, Ellipsoid, Tube

Mask = Bool[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A box of the canvas: views to paint into, and where its voxels are in the standard patient's space."""

    box: Box
    grid: Grid
    x: Coordinate
    y: Coordinate
    z: Coordinate
    labels: UInt8[np.ndarray, "slices rows columns"]
    hu: Float32[np.ndarray, "slices rows columns"]
    perfusion: Float32[np.ndarray, "slices rows columns"]

    def places(self, mask: Mask) -> tuple[Coordinate, Coordinate, Coordinate]:
        """Where the voxels of a mask of this part are, one after another."""
        x, y, z = np.broadcast_arrays(self.x, self.y, self.z)
        return x[mask], y[mask], z[mask]


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """What is drawn so far. The arrays are painted in place until the thorax is finished."""

    grid: Grid
    build: ThoraxBuild
    labels: UInt8[np.ndarray, "slices rows columns"]
    hu: Float32[np.ndarray, "slices rows columns"]
    perfusion: Float32[np.ndarray, "slices rows columns"]
    """Not yet brought to mean 1."""
    precision: type[np.floating] = np.float64
    """Of the coordinates, and so of all that is worked out from them; half the bytes are half the time."""

    @classmethod
    def blank(cls, grid: Grid, build: ThoraxBuild, precision: type[np.floating] = np.float64) -> "Canvas":
        """An empty canvas for one patient."""
        labels, hu, perfusion = (np.zeros(grid.shape, kind) for kind in (np.uint8, np.float32, np.float32))
        return cls(grid, build, labels, hu, perfusion, precision)

    def nothing(self) -> Mask:
        """An empty mask of the canvas."""
        return np.zeros(self.grid.shape, dtype=bool)

    def slices(self) -> Iterator[Part]:
        """Every slice of the volume in turn."""
        whole = slice(0, self.grid.shape[1]), slice(0, self.grid.shape[2])
        for k in range(self.grid.shape[0]):
            yield self.part((slice(k, k + 1), *whole))

    def part(self, box: Box) -> Part:
        """One box of the volume."""
        grid = self.grid.cropped(box)
        x, y, z = self.build.to_reference(*(p.astype(self.precision) for p in grid.coordinates_mm()))
        return Part(box, grid, x, y, z, self.labels[box], self.hu[box], self.perfusion[box])

    def around(self, shapes: Iterable[Ellipsoid]) -> Iterator[tuple[Part, Coordinate]]:
        """The part of the volume that can show each ellipsoid of the standard patient's space, and its level there."""
        for shape in shapes:
            corners = np.array([np.subtract(shape.centre_mm, shape.radii_mm), np.add(shape.centre_mm, shape.radii_mm)])
            ends = np.array(np.meshgrid(*corners.T, indexing="ij")).reshape(3, -1).T
            in_patient = np.array([self.build.to_patient((float(x), float(y), float(z))) for x, y, z in ends])
            bent_mm = (
                2.0 * max(self.build.deformation.reach_mm) * max(self.build.width, self.build.depth, self.build.height)
            )
            reach = abs(self.build.bend_mm) + bent_mm + max(self.grid.spacing_mm)
            box = self._box(in_patient.min(axis=0) - reach, in_patient.max(axis=0) + reach)
            if box is not None:
                part = self.part(box)
                yield part, shape.level(part.x, part.y, part.z)

    def along(self, tubes: Iterable[Tube], *, margin_mm: float) -> Iterator[tuple[Box, Coordinate]]:
        """The part of the volume that can show each tube of the patient, LPS, and the depth below its surface there.

        Args:
            tubes: in LPS millimetres.
            margin_mm: how far around a tube to look.
        """
        for tube in tubes:
            reach = max(tube.start_radius_mm, tube.end_radius_mm) + margin_mm + max(self.grid.spacing_mm)
            ends = np.array([tube.start_mm, tube.end_mm])
            box = self._box(ends.min(axis=0) - reach, ends.max(axis=0) + reach)
            if box is not None:
                yield box, tube.depth_mm(*self.grid.cropped(box).coordinates_mm())

    def _box(self, low_mm: np.ndarray, high_mm: np.ndarray) -> Box | None:
        """The voxels that lie between two corners, or None."""
        corners = np.array(np.meshgrid(*zip(low_mm, high_mm, strict=True), indexing="ij")).reshape(3, -1).T
        index = self.grid.to_index(corners)
        start = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
        stop = np.minimum(np.ceil(index.max(axis=0)) + 1, self.grid.shape).astype(int)
        if (start >= stop).any():
            return None
        return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))  # type: ignore[return-value]
