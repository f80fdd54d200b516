"""Smooth chance in space: fields for what varies through the lungs without a cause that anyone sees.

A field is drawn on a lattice that is fixed in the patient, and interpolated. So it is the same on every grid, coarse or
fine, and costs little on a fine one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from inference.geometry import Grid
from training.insilico.draws import Draws

HALF_SIZE_MM = (330.0, 200.0, 240.0)
"""Half extent of the lattice in z, y and x; beyond it the field goes on as at its edge."""
FINEST_STEP_MM = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class SmoothField:
    """Normally spread values with mean 0 and variance 1, and correlation exp(-(r / L)^2) over the distance r."""

    lattice: Float32[np.ndarray, "slices rows columns"]
    step_mm: float

    @classmethod
    def drawn(cls, draws: Draws, what: str, correlation_mm: float) -> "SmoothField":
        """A new field.

        Args:
            draws: source of chance.
            what: name of the draw.
            correlation_mm: L, the distance at which the correlation has fallen to 1/e; 9 mm or more.
        """
        from scipy import ndimage  # heavy; not every user of this package draws fields

        step = max(correlation_mm / 4.0, FINEST_STEP_MM)
        shape = [int(2.0 * half / step) + 2 for half in HALF_SIZE_MM]
        noise = draws.generator(what).standard_normal(shape, dtype=np.float32)
        smooth = ndimage.gaussian_filter(noise, 0.5 * correlation_mm / step, mode="wrap", truncate=3.0)
        # Interpolation takes a little off the variance: on average (2 + correlation of neighbours) / 3 per axis.
        kept = ((2.0 + np.exp(-((step / correlation_mm) ** 2))) / 3.0) ** 1.5
        return cls((smooth / (smooth.std() * kept)).astype(np.float32), step)

    def on(self, grid: Grid) -> Float32[np.ndarray, "slices rows columns"]:
        """The field at the voxels of an axial head-first supine grid."""
        values = self.lattice
        for axis, component in enumerate((2, 1, 0)):
            places = grid.affine[component, axis] * np.arange(grid.shape[axis]) + grid.affine[component, 3]
            values = _along(values, axis, (places + HALF_SIZE_MM[axis]) / self.step_mm)
        return values


def _along(values: Float32[np.ndarray, "a b c"], axis: int, places: np.ndarray) -> Float32[np.ndarray, "d e f"]:
    """Linear interpolation along one axis."""
    places = np.clip(places, 0.0, values.shape[axis] - 1.001)
    below = places.astype(int)
    share = (places - below).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
    low = np.take(values, below, axis=axis)
    low += share * (np.take(values, below + 1, axis=axis) - low)
    return low
