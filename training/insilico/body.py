"""The body of an invented patient on one regular grid, as it lies in the scanner, before disease and vessels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from inference.geometry import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Everything about a healthy body that the later steps ask for, on an axial head-first supine grid.

    Axis 0 runs to superior, axis 1 to posterior (down, in a supine patient), axis 2 to the patient's left.
    """

    grid: Grid
    """Cubic voxels over trunk, arms and couch."""
    lobes: UInt8[np.ndarray, "slices rows columns"]
    """0 outside the lungs, else the value of a `Lobe`; airways are cut out."""
    hu: Float32[np.ndarray, "slices rows columns"]
    """CT numbers of everything but the vessels inside the lungs; healthy parenchyma with gravity, fissures drawn."""
    airway: Bool[np.ndarray, "slices rows columns"]
    """Air in trachea and bronchi."""
    skin: Bool[np.ndarray, "slices rows columns"]
    """The patient with everything inside, without couch."""
    hilum_mm: Float32[np.ndarray, "sides 3"]
    """LPS position where the pulmonary artery enters each lung: right, left."""
