"""The SPECT of the digital thorax as a camera elsewhere would see it: true perfusion, blurred, in its own frame."""

import numpy as np
from scipy import ndimage

from inference.geometry import Grid
from inference.phantom.thorax import DigitalThorax
from training.pairs.rigid import Rigid

VOXEL_MM = 4.8
FWHM_MM = 14.0


def spect_of(thorax: DigitalThorax, movement: Rigid, *, frame_uid: str) -> tuple[np.ndarray, Grid]:
    """Counts, and their grid, whose frame the movement takes to that of the CT."""
    fine = thorax.ct.grid
    sigma = [FWHM_MM / 2.3548 / spacing for spacing in fine.spacing_mm]
    blurred = ndimage.gaussian_filter(np.where(thorax.lobes.labels > 0, thorax.perfusion.values, 0.0), sigma)
    counts = np.random.default_rng(3).poisson(blurred * 150.0)
    coarse = fine.with_spacing((VOXEL_MM,) * 3)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in coarse.shape], indexing="ij"), axis=0).reshape(3, -1).T
    there = fine.to_index(coarse.to_patient_mm(index.astype(float)))
    values = ndimage.map_coordinates(counts.astype(float), there.T, order=1).reshape(coarse.shape)
    return values, Grid(coarse.shape, movement.inverse.matrix @ coarse.affine, frame_uid)
