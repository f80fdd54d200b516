"""Where voxels are in the patient.

`Grid` is the only carrier of geometry in this project: no function takes a bare affine or a loose spacing.
Index order is (slice, row, column), zero-based, at voxel centres. Positions are millimetres in the DICOM patient
system LPS (x to the patient's left, y to posterior, z to superior; PS3.3 C.7.6.2.1.1), whatever the patient position.
The convention is highdicom's, so crossing to it needs no conversion.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Shaped

Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular lattice of voxels in a frame of reference.

    `affine` maps (slice, row, column, 1) to (x, y, z, 1) in mm. Frames with equal shape and positions but
    different frames of reference are different grids.
    """

    shape: Shape
    """Number of slices, rows and columns."""
    affine: Float[np.ndarray, "4 4"]
    """Voxel index to LPS mm, float64."""
    frame_of_reference_uid: str
    """Frame of Reference UID (0020,0052)."""

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise ValueError(f"affine must be a finite, invertible 4x4 matrix, got {affine.tolist()}")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape must be three positive counts, got {self.shape}")
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def axial(
        cls,
        shape: Shape,
        spacing_mm: tuple[float, float, float],
        origin_mm: tuple[float, float, float],
        *,
        frame_of_reference_uid: str,
    ) -> "Grid":
        """A head-first supine axial grid: slices to superior, rows to posterior, columns to the left.

        Args:
            shape: slices, rows, columns.
            spacing_mm: distance between slices, rows and columns.
            origin_mm: LPS position (x, y, z) of voxel (0, 0, 0).
            frame_of_reference_uid: frame of reference of the positions.
        """
        affine = np.eye(4)
        affine[:3, :3] = np.array([[0, 0, spacing_mm[2]], [0, spacing_mm[1], 0], [spacing_mm[0], 0, 0]])
        affine[:3, 3] = origin_mm
        return cls(shape, affine, frame_of_reference_uid)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring slices, rows and columns."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @cached_property
    def direction(self) -> Float[np.ndarray, "3 3"]:
        """Unit vectors (columns) along increasing slice, row and column index, in LPS."""
        unit: np.ndarray = self.affine[:3, :3] / np.array(self.spacing_mm)
        return unit

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """LPS position (x, y, z) of the centre of voxel (0, 0, 0)."""
        x, y, z = self.affine[:3, 3]
        return float(x), float(y), float(z)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def to_patient_mm(self, index: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """LPS positions in mm of (possibly fractional) voxel indices."""
        points: np.ndarray = np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return points

    def to_index(self, point_mm: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Fractional voxel indices (slice, row, column) of LPS positions in mm."""
        inverse = np.linalg.inv(self.affine)
        indices: np.ndarray = np.asarray(point_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]
        return indices

    def coordinates_mm(self) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        """The LPS coordinates x, y and z of all voxels, each broadcastable to `shape` by adding its three parts."""
        parts = np.ogrid[: self.shape[0], : self.shape[1], : self.shape[2]]
        x, y, z = (
            sum((self.affine[axis, k] * parts[k] for k in range(3)), start=np.asarray(self.affine[axis, 3]))
            for axis in range(3)
        )
        return x, y, z

    def matches(self, other: "Grid", tolerance_mm: float = 0.01) -> bool:
        """Whether both grids have the same shape, frame of reference and corner positions within `tolerance_mm`."""
        if self.shape != other.shape or self.frame_of_reference_uid != other.frame_of_reference_uid:
            return False
        ends = np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")
        corners = np.array(ends, dtype=np.float64).reshape(3, -1).T
        return bool(np.abs(self.to_patient_mm(corners) - other.to_patient_mm(corners)).max() <= tolerance_mm)

    def cropped(self, box: Box) -> "Grid":
        """The grid of `array[box]`; slices of `box` need explicit start and stop and no step."""
        start = np.array([s.start for s in box], dtype=np.float64)
        affine = self.affine.copy()
        affine[:3, 3] = self.to_patient_mm(start)
        return Grid(tuple(s.stop - s.start for s in box), affine, self.frame_of_reference_uid)

    def with_spacing(self, spacing_mm: tuple[float, float, float]) -> "Grid":
        """A grid over the same volume (outer voxel faces agree at the first corner) with another spacing.

        The far side is rounded up, so nothing of the old extent is lost.
        """
        old, new = np.array(self.spacing_mm), np.array(spacing_mm, dtype=np.float64)
        shape = tuple(int(n) for n in np.maximum(np.ceil(np.array(self.shape) * old / new - 1e-6), 1))
        affine = self.affine.copy()
        affine[:3, :3] = self.direction * new
        affine[:3, 3] = self.to_patient_mm(0.5 * new / old - 0.5)
        return Grid(shape, affine, self.frame_of_reference_uid)  # type: ignore[arg-type]

    def description(self) -> str:
        """Shape, spacing and origin in one line, for messages."""
        shape = "×".join(str(n) for n in self.shape)
        spacing = "×".join(f"{s:.3f}" for s in self.spacing_mm)
        origin = ", ".join(f"{o:.2f}" for o in self.origin_mm)
        return f"{shape} voxels of {spacing} mm at ({origin}) mm"


@dataclass(frozen=True, slots=True)
class Reorientation:
    """An exact re-ordering of axes (no interpolation) from a grid to one with patient axes.

    After `apply`, axis 0 runs to superior, axis 1 to posterior, axis 2 to the patient's left, as closely as the
    grid allows. Engines that reason about up, back and left work there and `undo` at the end.
    """

    permutation: Shape
    """Source axis that becomes axis 0, 1, 2."""
    flips: tuple[bool, bool, bool]
    """Whether the new axis 0, 1, 2 runs backwards in the source."""

    @classmethod
    def to_patient_axes(cls, grid: Grid) -> "Reorientation":
        """The re-ordering that brings `grid` closest to superior, posterior, left."""
        wanted = (2, 1, 0)  # LPS component that new axes 0, 1, 2 follow
        strength = np.abs(grid.direction)
        permutation = tuple(int(np.argmax(strength[component])) for component in wanted)
        if sorted(permutation) != [0, 1, 2]:
            raise ValueError("the grid is too oblique to have patient axes")
        flips = tuple(bool(grid.direction[c, p] < 0) for c, p in zip(wanted, permutation, strict=True))
        return cls(permutation, flips)  # type: ignore[arg-type]

    def apply(self, array: Shaped[np.ndarray, "a b c"]) -> Shaped[np.ndarray, "d e f"]:
        """A view of `array` with patient axes."""
        steps = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return array.transpose(self.permutation)[steps]

    def undo(self, array: Shaped[np.ndarray, "a b c"]) -> Shaped[np.ndarray, "d e f"]:
        """A view of `array` with the axes of the original grid."""
        steps = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return array[steps].transpose(tuple(int(k) for k in np.argsort(self.permutation)))

    def grid(self, grid: Grid) -> Grid:
        """The geometry of `apply(array)` for an array on `grid`."""
        columns = grid.affine[:3, list(self.permutation)].copy()
        shape = tuple(grid.shape[p] for p in self.permutation)
        origin = grid.affine[:3, 3].copy()
        for axis, flip in enumerate(self.flips):
            if flip:
                origin = origin + columns[:, axis] * (shape[axis] - 1)
                columns[:, axis] *= -1
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = columns, origin
        return Grid(shape, affine, grid.frame_of_reference_uid)  # type: ignore[arg-type]
