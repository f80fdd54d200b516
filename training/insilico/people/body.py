"""The body of an invented patient on one regular grid, as it lies in the scanner, before disease and vessels."""

from dataclasses import dataclass

import cc3d
import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from inference.anatomy import Lobe, Side
from inference.geometry import Grid
from inference.phantom.anatomy import SOFT_TISSUE_HU
from inference.phantom.bodies import StomachGas
from inference.phantom.build import FRAME_OF_REFERENCE_UID
from inference.phantom.canvas import Canvas
from inference.phantom.great_vessels import ARTERY_ENDS_MM
from inference.phantom.tissue import paint_airway, paint_tissue
from training.insilico.people.person import Person


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


def make_body(person: Person, spacing_mm: float, *, frame_of_reference_uid: str = FRAME_OF_REFERENCE_UID) -> Body:
    """Draw a person on a cubic grid that holds trunk, couch and, if they lie beside it, arms.

    Args:
        person: whom.
        spacing_mm: of the grid; 1.5 mm shows what a CT shows, 5 mm is enough for tests.
        frame_of_reference_uid: of this patient's visit; no two patients share one.
    """
    grid = person.build.field_of_view((spacing_mm, spacing_mm, spacing_mm))
    grid = Grid(grid.shape, grid.affine, frame_of_reference_uid)
    canvas = Canvas.blank(grid, person.build, np.float32)
    skin = paint_tissue(canvas, tuple(Lobe), with_perfusion=False)
    airway = paint_airway(canvas)
    if person.has_stomach_gas:
        StomachGas().paint(canvas)
    build = person.build
    hilum = [build.to_patient(build.drawn(ARTERY_ENDS_MM[side])) for side in (Side.RIGHT, Side.LEFT)]
    _keep_whole_lobes(canvas)
    return Body(grid, canvas.labels, canvas.hu, airway, skin, np.array(hilum, np.float32))


def _keep_whole_lobes(canvas: Canvas) -> None:
    """Each lobe becomes one piece: crumbs that vessels and airways cut off it become mediastinum."""
    box = ndimage.find_objects(canvas.labels > 0, max_label=1)[0]
    labels, hu = canvas.labels[box], canvas.hu[box]
    pieces = cc3d.connected_components(labels, connectivity=6)
    sizes = np.bincount(pieces.ravel())
    owner = np.zeros(len(sizes), np.uint8)
    owner[pieces.ravel()] = labels.ravel()
    is_crumb = owner > 0
    for lobe in Lobe:
        is_crumb[np.argmax(np.where(owner == lobe, sizes, 0))] = False
    crumbs = is_crumb[pieces]
    labels[crumbs], hu[crumbs] = 0, SOFT_TISSUE_HU
