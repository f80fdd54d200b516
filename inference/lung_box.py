"""The part of a volume that holds the lungs.

Lungs fill a third of a planning CT. Everything that works voxel by voxel inside them crops first, which is where
most of its speed and memory comes from.
"""

import numpy as np
from jaxtyping import Bool

from inference.geometry import Box, Grid


def lung_box(mask: Bool[np.ndarray, "slices rows columns"], grid: Grid, *, margin_mm: float = 0.0) -> Box:
    """The smallest box around `mask`, widened by a margin and cut at the edge of the volume.

    Args:
        mask: voxels to enclose, on `grid`.
        grid: gives the spacing in which the margin is measured.
        margin_mm: rounded up to whole voxels on every side.

    Raises:
        ValueError: the mask is empty.
    """
    ranges = []
    for axis, spacing_mm in enumerate(grid.spacing_mm):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        if inside.size == 0:
            raise ValueError("an empty mask has no box")
        margin = int(np.ceil(margin_mm / spacing_mm))
        ranges.append(slice(max(int(inside[0]) - margin, 0), min(int(inside[-1]) + 1 + margin, grid.shape[axis])))
    return ranges[0], ranges[1], ranges[2]
