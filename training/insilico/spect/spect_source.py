"""What the camera stands before: activity and attenuation, averaged over the breath, on the voxels of the SPECT."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from inference.geometry import Grid
from training.insilico.people.breathing import Breathing
from training.insilico.spect.spect_breath import breath_mean
from training.insilico.spect.spect_field import Box, Interval, Millimetres, SpectField, averaged_onto
from training.insilico.spect.spect_protocol import SpectProtocol

TISSUE_HU = -300.0
"""Denser is tissue or bone, outside the lungs."""
WATER_PER_MM = 0.01538
"""Attenuation of 140 keV in water, narrow beam (NIST)."""
LIGHTER_PER_MM_HU = 0.000016364
DENSER_PER_MM_HU = 0.000010895
"""Slopes of attenuation over HU below and above water: with the value of water, the line for 140 keV and a CT of
130 kV on a Siemens Symbia in the table that PyTomography carries (`data/ct_table.csv`), in mm."""
COARSE_MM = 5.0
COUCH_MM = 25.0
"""What is thinner is couch or sheet, not patient; assumption, ours."""
SMALLEST_PART = 0.02
"""Of the largest: an arm is more than that of the trunk."""


@dataclass(frozen=True, slots=True, eq=False)
class SpectSource:
    """Activity on the grid of a `SpectField`, attenuation on its wide one."""

    field: SpectField
    activity_mbq: Float32[np.ndarray, "slices rows columns"]
    """Per voxel, where the camera finds it: mean over the breath, shifted against the CT."""
    attenuation_per_mm: Float32[np.ndarray, "slices wide_rows wide_columns"]
    """Of the patient, where the camera finds it."""
    ct_attenuation_per_mm: Float32[np.ndarray, "slices wide_rows wide_columns"]
    """Of the patient as the CT shows it: not shifted, in the body grid's state of breath. Attenuation correction knows
    no other."""
    half_width_mm: float
    """Half the patient's size from right to left."""
    half_depth_mm: float
    """Half the patient's size from front to back."""


def spect_source(
    perfusion: Float32[np.ndarray, "a b c"],
    hu: Float32[np.ndarray, "a b c"],
    body: Grid,
    breathing: Breathing,
    protocol: SpectProtocol,
    shift_mm: Millimetres,
) -> SpectSource:
    """Activity and attenuation of one patient.

    MAA lies where blood carried it: activity in the lungs is proportional to perfusion. A small share, `shunt`, is
    spread evenly over the other tissue in the field. The couch is left out.

    Args:
        perfusion: relative, above 0 in the lungs, 0 outside.
        hu: the body with everything in it.
        body: grid of both: axial, head first, supine.
        breathing: how the patient breathes during the scan.
        protocol: what was injected, and the size of voxels.
        shift_mm: misalignment.

    Raises:
        ValueError: there are no lungs, or the grid is not axial.
    """
    if not (perfusion > 0).any():
        raise ValueError("there are no lungs to take a SPECT of")
    patient = _Patient.found((hu > TISSUE_HU) | (perfusion > 0), body)
    lungs_mm = Box.of(perfusion > 0, body)
    patient_mm = patient.box(lungs_mm.z)
    frame = body.frame_of_reference_uid
    field = SpectField.around(lungs_mm, patient_mm, protocol.pixel_mm, matrix=protocol.matrix, frame=frame)
    activity = _activity(perfusion, hu, body, patient, field.finer, protocol.shunt, shift_mm)
    activity = field.mean_of(breath_mean(activity, field.finer, breathing, keeps_sum=True))
    activity *= np.float32(protocol.activity_mbq / activity.sum(dtype=np.float64))
    per_mm = attenuation_per_mm(hu)
    of_ct, shifted = (
        averaged_onto(per_mm, body, field.wide, shift) * patient.share_of(field.wide, shift)
        for shift in ((0.0, 0.0, 0.0), shift_mm)
    )
    attenuation = breath_mean(shifted, field.wide, breathing, keeps_sum=False)
    return SpectSource(field, activity, attenuation, of_ct, *(0.5 * (side[1] - side[0]) for side in patient_mm.sides))


def attenuation_per_mm(hu: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Linear attenuation of 140 keV photons, from HU by two straight lines that meet at water; never below 0."""
    slope = np.where(hu < 0, np.float32(LIGHTER_PER_MM_HU), np.float32(DENSER_PER_MM_HU))
    attenuation: np.ndarray = np.maximum(np.float32(WATER_PER_MM) + slope * hu, np.float32(0.0))
    return attenuation


def _activity(
    perfusion: Float32[np.ndarray, "a b c"],
    hu: Float32[np.ndarray, "a b c"],
    body: Grid,
    patient: "_Patient",
    onto: Grid,
    shunt: float,
    shift_mm: Millimetres,
) -> Float32[np.ndarray, "g h i"]:
    """Relative activity in one state of breath: lungs, and what the shunt leaves in other tissue."""
    lungs = averaged_onto(perfusion, body, onto, shift_mm)
    tissue = ((hu > TISSUE_HU) & (perfusion <= 0)).astype(np.float32)
    rest = averaged_onto(tissue, body, onto, shift_mm) * patient.share_of(onto, shift_mm)
    in_lungs, in_rest = lungs.sum(dtype=np.float64), rest.sum(dtype=np.float64)
    if in_rest > 0:
        rest *= np.float32(shunt / (1.0 - shunt) * in_lungs / in_rest)
    lungs += rest
    return lungs


@dataclass(frozen=True, slots=True, eq=False)
class _Patient:
    """Where the patient is and the couch is not, on a coarse grid of its own."""

    inside: Bool[np.ndarray, "d e f"]
    grid: Grid

    @classmethod
    def found(cls, solid: Bool[np.ndarray, "a b c"], body: Grid) -> "_Patient":
        """Thick pieces of tissue and lung, and what they enclose in each slice."""
        step = max(COARSE_MM, *body.spacing_mm)
        coarse = body.with_spacing((step, step, step))
        all_of_it = averaged_onto(solid.astype(np.float32), body, coarse) > 0.5
        steps = max(int(0.5 * COUCH_MM / step), 1)
        thick = ndimage.binary_erosion(all_of_it, iterations=steps, border_value=1)  # the body goes on beyond the grid
        thick = ndimage.binary_dilation(thick, iterations=steps)
        pieces, count = ndimage.label(thick)
        if not count:
            return cls(np.ones(coarse.shape, dtype=bool), coarse)
        sizes = np.bincount(pieces.ravel())[1:]
        trunk = np.isin(pieces, 1 + np.flatnonzero(sizes >= SMALLEST_PART * sizes.max()))
        grown = ndimage.binary_dilation(trunk) & all_of_it
        return cls(np.stack([ndimage.binary_fill_holes(plane) for plane in grown]), coarse)

    def box(self, z_mm: Interval) -> Box:
        """Where the patient begins and ends between two heights: raised arms above the lungs do not count."""
        heights = self.grid.origin_mm[2] + np.arange(self.grid.shape[0]) * self.grid.spacing_mm[0]
        between = (heights > z_mm[0]) & (heights < z_mm[1])
        return Box.of(self.inside & between[:, np.newaxis, np.newaxis], self.grid)

    def share_of(self, onto: Grid, shift_mm: Millimetres) -> Float32[np.ndarray, "g h i"]:
        """How much of each voxel of another grid is patient; all of those that the skin runs through."""
        with_skin = ndimage.binary_dilation(self.inside).astype(np.float32)
        return averaged_onto(with_skin, self.grid, onto, shift_mm)
