"""A volume as a viewer lays it in space, looked up by patient position."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.geometry import Grid

TOLERANCE_MM = 0.1


class ViewerVolume:
    """Geometry of a volume in cornerstone's words: dimensions, spacing, origin and direction, x first."""

    def __init__(self, volume: Mapping[str, Any]) -> None:
        columns, rows, slices = volume["dimensions"]
        self.shape = (slices, rows, columns)
        axes = np.array(volume["direction"], dtype=float).reshape(3, 3)
        self._axes_mm = (axes * np.array(volume["spacing"], dtype=float)[:, None])[::-1]
        self._origin_mm = np.array(volume["origin"], dtype=float)

    def on_grid(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        """Values of the volume at every voxel of a grid; the voxels must lie on each other within 0.1 mm.

        Args:
            values: as the viewer keeps them, flat or (slices, rows, columns).
            grid: where they are wanted.
        """
        voxels = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3)
        wanted_mm = grid.to_patient_mm(voxels.astype(float))
        places = np.rint((wanted_mm - self._origin_mm) @ np.linalg.inv(self._axes_mm)).astype(int)
        assert np.abs(places @ self._axes_mm + self._origin_mm - wanted_mm).max() < TOLERANCE_MM
        assert places.min() >= 0
        looked_up: np.ndarray = values.reshape(self.shape)[tuple(places.T)]
        return looked_up.reshape(grid.shape)
