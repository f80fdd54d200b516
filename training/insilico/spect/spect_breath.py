"""The mean over one breath: what a scan of many minutes sees of a body that breathes."""

import numpy as np
from jaxtyping import Float32

from inference.geometry import Grid
from training.insilico.people.breathing import Breathing, displaced

PHASES = 6
"""Parts of a breath: the diaphragm then moves by less than a voxel from one to the next."""


def breath_mean(
    values: Float32[np.ndarray, "slices rows columns"], grid: Grid, breathing: Breathing, *, keeps_sum: bool
) -> Float32[np.ndarray, "slices rows columns"]:
    """Mean over the time of one breath of what lies at each place.

    Args:
        values: as the body lies on its own grid.
        grid: where they lie: axial, head first, supine.
        breathing: how the patient breathes.
        keeps_sum: whether the values are an amount that thins out where the body is stretched, such as activity.
    """
    total = np.zeros(values.shape, np.float32)
    for part in breathing.phases(PHASES):
        total += np.float32(part.weight) * displaced(values, grid, breathing, part.phase, keeps_sum=keeps_sum)
    return total
