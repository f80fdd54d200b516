"""Objects with known answers to stand before the camera, small enough to be fast."""

import importlib.util
import os
from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid
from training.insilico.people.breathing import Breathing
from training.insilico.spect.spect_field import SpectField
from training.insilico.spect.spect_protocol import CONVENTIONAL, SpectProtocol
from training.insilico.spect.spect_source import SpectSource

VOXEL_MM = 4.8
STILL = Breathing(1e-9, 0.0, 100.0, -60.0, (0.0, 0.0), (100.0, 70.0))
QUIET = replace(
    CONVENTIONAL,
    pixel_mm=VOXEL_MM,
    views=24,
    scatter_to_primary=0.0,
    shunt=0.0,
    misalignment_sd_mm=0.0,
    reconstruction=replace(CONVENTIONAL.reconstruction, iterations=6, subsets=6),
)
"""Attenuation, blur and counts, and nothing else; few views."""


def needs_pytomography() -> None:
    """Skip where PyTomography is not installed; in CI it has to be."""
    if importlib.util.find_spec("pytomography") is None:
        complaint = "PyTomography is not here: make pytomography"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint, allow_module_level=True)


def rich(protocol: SpectProtocol, times: float = 1e5) -> SpectProtocol:
    """So many counts that noise does not matter."""
    return replace(protocol, activity_mbq=times * protocol.activity_mbq)


def air(width: int, slices: int) -> tuple[Grid, np.ndarray]:
    """A field round (0, 0, 0) and nothing in it."""
    corner = tuple(-0.5 * (n - 1) * VOXEL_MM for n in (width, width, slices))
    shape = (slices, width, width)
    grid = Grid.axial(shape, (VOXEL_MM,) * 3, corner, frame_of_reference_uid="2.25.1")  # type: ignore[arg-type]
    return grid, np.zeros(shape, np.float32)


def standing(
    activity: np.ndarray, attenuation: np.ndarray, grid: Grid, protocol: SpectProtocol, *, corrected: bool = True
) -> SpectSource:
    """Before the camera; `corrected` says whether the CT shows what attenuates."""
    share = activity * np.float32(protocol.activity_mbq / activity.sum(dtype=np.float64))
    half = 0.5 * grid.shape[1] * VOXEL_MM
    return SpectSource(SpectField(grid, grid), share, attenuation, attenuation * np.float32(corrected), half, half)


def ball(grid: Grid, middle_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    """How much of each voxel lies in a ball, by five points along each axis."""
    points = (np.arange(5) - 2.0) / 5.0
    axes = []
    for axis, count in enumerate(grid.shape):
        centres = grid.origin_mm[2 - axis] + grid.spacing_mm[axis] * (np.arange(count)[:, np.newaxis] + points)
        squares = np.square(centres.ravel() - middle_mm[2 - axis]).astype(np.float32)
        axes.append(squares.reshape([-1 if k == axis else 1 for k in range(3)]))
    inside = axes[0] + axes[1] + axes[2] < radius_mm**2
    parts = inside.reshape(grid.shape[0], 5, grid.shape[1], 5, grid.shape[2], 5)
    return parts.mean(axis=(1, 3, 5), dtype=np.float32)


def middle_mm(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Where the mean of a picture lies, LPS."""
    places = np.argwhere(values > 0)
    weights = values[values > 0].astype(np.float64)
    middle: np.ndarray = grid.to_patient_mm((places * weights[:, np.newaxis]).sum(axis=0) / weights.sum())
    return middle


def chest(spacing_mm: float = 5.0) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Perfusion and CT numbers of a small chest of two balls of lung, and their grid."""
    counts = tuple(int(2 * half / spacing_mm) for half in (75.0, 75.0, 100.0))
    corner = tuple(-0.5 * (n - 1) * spacing_mm for n in reversed(counts))
    grid = Grid.axial(counts, (spacing_mm,) * 3, corner, frame_of_reference_uid="2.25.1")  # type: ignore[arg-type]
    x, y, z = grid.coordinates_mm()
    lungs = sum((np.abs(x - side) / 35.0) ** 2 + (y / 45.0) ** 2 + (z / 55.0) ** 2 < 1.0 for side in (-42.0, 42.0))
    body = np.broadcast_to((x / 90.0) ** 2 + (y / 62.0) ** 2 < 1.0, grid.shape)
    hu = np.where(lungs > 0, -700.0, np.where(body, 30.0, -1000.0)).astype(np.float32)
    return lungs.astype(np.float32), hu, grid
