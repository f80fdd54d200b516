"""A reconstructed perfusion SPECT and what is true about it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from inference.geometry import Grid
from training.insilico.spect.spect_protocol import SpectMethod, SpectProtocol


@dataclass(frozen=True, slots=True, eq=False)
class SpectVolume:
    """Counts per voxel as a reconstruction gives them: relative, never below 0."""

    values: Float32[np.ndarray, "slices rows columns"]
    grid: Grid
    """Axial, head first, supine, cubic voxels; in the frame of reference of the CT, as hybrid devices write it."""
    shift_mm: tuple[float, float, float]
    """How far everything lies from where the CT shows it (LPS): truth that no hospital knows."""
    counts: int
    """Registered in all views."""
    protocol: SpectProtocol
    method: SpectMethod
