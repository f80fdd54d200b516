"""From the cubes of the body to the slices and pixels of a CT, one axis after the other.

Each sample is the mean of the body under the scanner's profile: along the patient a box as thick as the slice with
rounded edges, in the plane the line spread of the kernel. The body is taken for what its grid says, cubes of even
density, and the integral over each cube is exact: a vessel thinner than a slice loses as much contrast as it should
(partial volume, linear in HU).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from scipy.sparse import csr_array
from scipy.special import ndtr

from inference.geometry import Grid
from training.insilico.ct.reconstruction_kernel import ReconstructionKernel

AIR_HU = -1000.0
ROUNDED = 0.15
"""Standard deviation of the slope at a slice profile's edges, in slice thicknesses: a helical profile is no perfect box
(assumption, ours). The full width at half maximum stays the thickness."""
SHARPEST = 1.0
"""Least width of a line spread, in voxels of the body: narrower ones would show voxels as blocks."""

Lengths = Float[np.ndarray, "..."]


def share_below(height_mm: Lengths, thickness_mm: float) -> Lengths:
    """Share of a slice's sensitivity that lies below some height over its centre."""
    sd = ROUNDED * thickness_mm

    def integral(height: Lengths) -> Lengths:
        bell = sd / np.sqrt(2.0 * np.pi) * np.exp(-0.5 * np.square(height / sd))
        total: np.ndarray = height * ndtr(height / sd) + bell
        return total

    upper, lower = integral(height_mm + 0.5 * thickness_mm), integral(height_mm - 0.5 * thickness_mm)
    share: np.ndarray = (upper - lower) / thickness_mm
    return share


def slice_weights(body: Grid, slices: Grid, thickness_mm: float) -> csr_array:
    """Weights of the body's slices (columns) in the slices of a CT (rows); each row adds up to 1.

    A slice is never thinner than a slice of the body. Beyond its ends the body counts as going on.
    """
    thickness = max(thickness_mm, body.spacing_mm[0])
    share = share_below(_faces_mm(body, slices, 0), thickness)
    share[:, 0], share[:, -1] = 0.0, 1.0
    return _sparse(share)


@dataclass(frozen=True, slots=True, eq=False)
class PlaneSampling:
    """From the pixels of the body's slices to those of a CT."""

    passes: tuple[tuple[float, csr_array, csr_array], ...]
    """For each Gaussian of the line spread: its weight, and the weights of the body's rows and columns."""

    @classmethod
    def between(
        cls, body: Grid, slices: Grid, kernel: ReconstructionKernel, *, couch_mm: float = 0.0
    ) -> "PlaneSampling":
        """Weights for one kernel; it is never sharper than hides the faces of the body's voxels.

        Args:
            body: axial grid that is wide enough for all but the couch.
            slices: grid of the CT.
            kernel: with its line spread.
            couch_mm: width of a flat couch around x = 0, which goes on beyond the body's grid.
        """
        gaussians = kernel.at_least(SHARPEST * max(body.spacing_mm[1:])).gaussians
        rows, columns = (_faces_mm(body, slices, axis) for axis in (1, 2))
        beyond = 0.5 * (couch_mm - body.shape[2] * body.spacing_mm[2])
        columns[:, 0] -= max(beyond, 0.0)
        columns[:, -1] += max(beyond, 0.0)
        return cls(tuple((weight, _sparse(ndtr(rows / sd)), _sparse(ndtr(columns / sd))) for weight, sd in gaussians))

    def of(self, plane: Float32[np.ndarray, "rows columns"]) -> Float32[np.ndarray, "pixel_rows pixel_columns"]:
        """The pixels, HU, of one slice of the body, HU; around the body's grid lies air."""
        above_air = plane - np.float32(AIR_HU)
        pixels = np.full((self.passes[0][1].shape[0], self.passes[0][2].shape[0]), AIR_HU, np.float32)
        for weight, rows, columns in self.passes:
            pixels += np.float32(weight) * (columns @ np.ascontiguousarray((rows @ above_air).T)).T
        return pixels


def _faces_mm(body: Grid, slices: Grid, axis: int) -> Float[np.ndarray, "samples faces"]:
    """Distances of all faces of the body's voxels along one axis from the centre of each sample; grids are axial."""
    index = np.zeros((slices.shape[axis], 3))
    index[:, axis] = np.arange(slices.shape[axis])
    centres = body.to_index(slices.to_patient_mm(index))[:, axis]
    faces: np.ndarray = (np.arange(body.shape[axis] + 1) - 0.5 - centres[:, np.newaxis]) * body.spacing_mm[axis]
    return faces


def _sparse(share: Float[np.ndarray, "samples faces"]) -> csr_array:
    """Weights of voxels from the shares below their faces, without those that do not matter."""
    weights = np.diff(share, axis=1)
    return csr_array(np.where(np.abs(weights) > 1e-6, weights, 0.0), dtype=np.float32)
