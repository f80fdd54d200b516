"""Cuts through volumes on different grids, at the same places of the patient, for pages of pictures.

All are sampled by position, so what does not lie on top of each other in the patient does not in the pictures either.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from scipy import ndimage

from inference.anatomy import Lobe
from inference.geometry import Grid
from training.insilico.patient import Truth

PIXEL_MM = 0.75
MARGIN_MM = 18.0
"""Shown around the lungs."""
_ACROSS_AND_DOWN = {0: (1, 2), 1: (0, 2), 2: (0, 1)}

Picture = Float[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class View:
    """One cut, in LPS millimetres: superior is up; an axial cut is seen from the feet."""

    name: str
    axis: int
    """Component of LPS (0 x, 1 y, 2 z) that is the same all over the cut."""
    at_mm: float
    low_mm: tuple[float, float]
    """Of what is shown, along the components `across` and `down`."""
    high_mm: tuple[float, float]
    letters: tuple[str, str, str, str]
    """Patient directions at the left, right, top and bottom edge (PS3.3 C.7.6.1.1.1)."""

    @property
    def components(self) -> tuple[int, int]:
        """LPS components across and down the picture."""
        return _ACROSS_AND_DOWN[self.axis]

    @property
    def width_mm(self) -> float:
        """Across."""
        return self.high_mm[0] - self.low_mm[0]

    @property
    def height_mm(self) -> float:
        """Down."""
        return self.high_mm[1] - self.low_mm[1]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge for matplotlib, in mm of the patient."""
        (left, first), (right, last) = self.low_mm, self.high_mm
        return (left, right, first, last) if self.components[1] == 2 else (left, right, last, first)

    def of(self, array: Shaped[np.ndarray, "slices rows columns"], grid: Grid, *, outside: float) -> Picture:
        """The cut through a volume, rows from top to bottom as `extent` says; linear between voxels."""
        (left, first), (right, last) = self.low_mm, self.high_mm
        across = np.arange(left + PIXEL_MM / 2, right, PIXEL_MM)
        down = np.arange(first + PIXEL_MM / 2, last, PIXEL_MM)
        points = np.full((len(down), len(across), 3), self.at_mm)
        points[..., self.components[0]] = across
        points[..., self.components[1]] = (down[::-1] if self.components[1] == 2 else down)[:, None]
        index = grid.to_index(points.reshape(-1, 3)).T
        values = ndimage.map_coordinates(array.astype(np.float32), index, order=1, mode="constant", cval=outside)
        picture: Picture = values.reshape(points.shape[:2])
        return picture


def views_through(truth: Truth) -> tuple[tuple[View, View, View], str]:
    """Coronal, sagittal and axial cut through what costs most perfusion, and the name of that disease.

    Without disease they go through the middle of the right lung, and the name is empty.
    """
    name, centre = _place(truth)
    lungs = np.argwhere(truth.lobes > 0)
    corners = truth.grid.to_patient_mm(np.array([lungs.min(axis=0), lungs.max(axis=0)], dtype=np.float64))
    low, high = corners.min(axis=0) - MARGIN_MM, corners.max(axis=0) + MARGIN_MM
    letters = {1: ("R", "L", "H", "F"), 0: ("A", "P", "H", "F"), 2: ("R", "L", "A", "P")}
    views = []
    for cut, axis in (("coronal", 1), ("sagittal", 0), ("axial", 2)):
        across, down = _ACROSS_AND_DOWN[axis]
        ends = (float(low[across]), float(low[down])), (float(high[across]), float(high[down]))
        views.append(View(cut, axis, float(centre[axis]), *ends, letters[axis]))
    return (views[0], views[1], views[2]), name


def lost_perfusion(truth: Truth) -> Mapping[str, float]:
    """For each disease, how much perfusion its place lacks against the mean of both lungs, in ml of lung."""
    return {
        name: float((1.0 - truth.perfusion[mask & (truth.lobes > 0)]).sum(dtype=np.float64))
        * truth.grid.voxel_volume_ml
        for name, mask in truth.diseases.items()
        if (mask & (truth.lobes > 0)).any()
    }


def _place(truth: Truth) -> tuple[str, Float[np.ndarray, "3"]]:
    """The disease that costs most, and the voxel of it that is nearest to its middle, in the lung that has more of it.

    Between two lungs the middle of what both have lies where little is to be seen.
    """
    losses = lost_perfusion(truth)
    name = max(losses, key=lambda each: losses[each], default="")
    mask = truth.diseases[name] & (truth.lobes > 0) if name else truth.lobes > 0
    right = truth.lobes <= Lobe.RLL
    of_right, of_left = mask & right, mask & ~right
    in_right = of_right.any() if not name else np.count_nonzero(of_right) >= np.count_nonzero(of_left)
    voxels = np.argwhere(of_right if in_right else of_left)
    nearest = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
    return name, truth.grid.to_patient_mm(nearest[None].astype(np.float64))[0]
