"""One fissure as a smooth surface: a height over a plane that runs along it.

The plane lies in a slab of voxels (`slab`) whose first axis points across the fissure, upwards, and whose other two
run along it; so a steep oblique fissure is a height field as much as a level horizontal one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from inference.geometry import Grid

Points = Float[np.ndarray, "n 3"]
Above = Callable[[Points], Float[np.ndarray, " n"]]
"""Positive above a surface, negative below, 0 on it; linear along the slab's first axis."""

STEP_MM = 1.5
"""Spacing of a slab."""
CELL = 3
"""Voxels of the slab along each side of a cell of the surface."""


@dataclass(frozen=True, slots=True, eq=False)
class FissureSurface:
    """Where a fissure runs, and where it was seen."""

    slab: Grid
    height: Float32[np.ndarray, "cells_s cells_t"]
    """Index along the slab's first axis, at the middle of each cell."""
    inside: Bool[np.ndarray, "cells_s cells_t"]
    """Cells at which the surface lies in the lung."""
    seen: Bool[np.ndarray, "cells_s cells_t"]
    """Cells at which the CT shows the fissure; the rest is the atlas, bent to what is seen near by."""

    @property
    def seen_share(self) -> float:
        """Share of the fissure's area that the CT shows, 0 … 1."""
        area = int(np.count_nonzero(self.inside))
        return float(np.count_nonzero(self.seen & self.inside)) / area if area else 0.0

    def above(self, points_mm: Points) -> Float[np.ndarray, " n"]:
        """Millimetres above the surface, across the slab; negative below."""
        index = self.slab.to_index(points_mm)
        cells = (index[:, 1:].T - (CELL - 1) / 2) / CELL
        height = ndimage.map_coordinates(self.height, cells, order=1, mode="nearest")
        distance: Float[np.ndarray, " n"] = (index[:, 0] - height) * STEP_MM
        return distance


def slab_along(above: Above, points_mm: Points, *, slope: float, reach_mm: float, frame_of_reference_uid: str) -> Grid:
    """A slab of voxels around an expected surface.

    Args:
        above: the expected surface.
        points_mm: voxels of the lung.
        slope: rise of the surface from front to back, mm per mm.
        reach_mm: how far the slab goes beyond the expected surface on both sides.
        frame_of_reference_uid: of the patient.
    """
    length = float(np.hypot(1.0, slope))
    axes = np.array([[0.0, -slope / length, 1.0 / length], [0.0, 1.0 / length, slope / length], [1.0, 0.0, 0.0]])
    placed = points_mm @ axes.T
    low, high = placed.min(axis=0), placed.max(axis=0)
    corner = np.array([0.0, low[1], low[2]])
    columns = np.maximum(np.ceil((high - low)[1:] / (STEP_MM * CELL)).astype(int) + 1, 4) * CELL
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes.T * STEP_MM, corner @ axes
    flat = Grid((2, int(columns[0]), int(columns[1])), affine, frame_of_reference_uid)
    expected = expected_height(above, flat)
    within = _over_the_lung(placed, flat, corner)
    low_h, high_h = expected[within].min(), expected[within].max()
    reach = reach_mm / STEP_MM
    affine = affine.copy()
    affine[:3, 3] += (low_h - reach) * STEP_MM * axes[0]
    return Grid((int(np.ceil(high_h - low_h + 2 * reach)) + 1, *flat.shape[1:]), affine, frame_of_reference_uid)


def expected_height(above: Above, slab: Grid) -> Float[np.ndarray, "cells_s cells_t"]:
    """Index along the slab's first axis at which a surface crosses the middle of each cell."""
    middle = (CELL - 1) / 2
    s, t = np.meshgrid(*(np.arange(0, n, CELL) + middle for n in slab.shape[1:]), indexing="ij")
    ends = [above(slab.to_patient_mm(np.stack([np.full(s.size, h), s.ravel(), t.ravel()], axis=1))) for h in (0.0, 1.0)]
    height: Float[np.ndarray, "cells_s cells_t"] = (-ends[0] / (ends[1] - ends[0])).reshape(s.shape)
    return height


def _over_the_lung(placed: Points, flat: Grid, corner: Float[np.ndarray, " 3"]) -> Bool[np.ndarray, "s t"]:
    """Cells of the slab that have lung above or below them."""
    cells = np.zeros([n // CELL for n in flat.shape[1:]], dtype=bool)
    index = ((placed[:, 1:] - corner[1:]) / (STEP_MM * CELL)).astype(int)
    cells[tuple(np.clip(index, 0, np.array(cells.shape) - 1).T)] = True
    return cells
