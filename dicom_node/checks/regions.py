"""Rules of ROIs as voxels: contours are filled again and compared with each other and with the expected regions.

ROIs are filled one after the other and forgotten; what is kept is one byte per voxel, a bit for each group of ROIs
that must not meet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from dicom_node.checks.checked_object import CheckedObject
from dicom_node.checks.contours import Contour, outlines_of
from dicom_node.checks.expected import FUNCTION, LOBES, LUNGS, Expected, comparable
from dicom_node.checks.faults import Fault
from dicom_node.checks.raster import Raster, rasterise
from dicom_node.checks.source_ct import SourceCt

LEAST_DICE = 0.99
MOST_VOLUME_DIFFERENCE = 0.01
NEGLIGIBLE_ML = 0.1
"""A volume difference that no rule cares about: of small ROIs one voxel can be more than 1 %."""

_BOTH, _LEFT, _RIGHT = LUNGS
_DISJOINT = ((_LEFT, _RIGHT), LOBES, FUNCTION)
"""ROIs that must not meet; each group has a bit of its own."""
_INSIDE_BIT, _LUNGS_BIT = 1 << len(_DISJOINT), 2 << len(_DISJOINT)


@dataclass(frozen=True, slots=True, eq=False)
class _FilledRoi:
    """An ROI of the object as voxels."""

    name: str
    """Comparable name."""
    place: str
    raster: Raster


class RegionCheck:
    """Looks at the ROIs of one structure set, one after the other."""

    def __init__(self, checked: CheckedObject, ct: SourceCt, expected: Expected) -> None:
        self._checked = checked
        self._ct = ct
        self._expected = expected
        self._claims = _Claims(ct)
        self._names: list[str] = []

    def add(self, name: str, place: str, contours: Sequence[Contour]) -> Iterator[Fault]:
        """Fill an ROI and compare it with those before and with the expected region."""
        roi = _FilledRoi(comparable(name), place, rasterise(outlines_of(contours, self._ct), self._ct.shape))
        self._names.append(roi.name)
        yield from _check_overlap(self._checked, roi)
        yield from self._claims.add(self._checked, roi)
        yield from _check_shape(self._checked, roi, self._ct, self._expected)

    def finish(self) -> Iterator[Fault]:
        """Faults that show when all ROIs are there."""
        yield from self._claims.finish(self._checked)
        if self._expected.is_complete:
            yield from _check_absent(self._checked, self._names, self._expected)


def _check_overlap(checked: CheckedObject, roi: _FilledRoi) -> Iterator[Fault]:
    doubled = np.flatnonzero(roi.raster.doubled)
    if len(doubled):
        pixels = int(roi.raster.doubled.sum())
        sentence = f"{pixels} pixel(s) lie in two contours of {len(doubled)} image(s)"
        first = roi.raster.box[0].start + int(doubled[0])
        yield checked.fault("CONTOURS_OVERLAP", sentence, f"{roi.place}, image {first + 1}")


class _Claims:
    """Which voxels the ROIs seen so far have taken."""

    def __init__(self, ct: SourceCt) -> None:
        self._ct = ct
        self._taken: UInt8[np.ndarray, "slices rows columns"] = np.zeros(ct.shape, dtype=np.uint8)
        self._left_mm: dict[str, float] = {}
        self._has_lungs = False

    def add(self, checked: CheckedObject, roi: _FilledRoi) -> Iterator[Fault]:
        """Take the voxels of an ROI; a fault if another of its group has some of them."""
        taken, mask = self._taken[roi.raster.box], roi.raster.mask
        for group, names in enumerate(_DISJOINT):
            if roi.name not in names:
                continue
            if shared := int(np.count_nonzero(mask & (taken & (1 << group) > 0))):
                sentence = f"{shared} voxel(s) belong to another ROI that must not meet it"
                yield checked.fault("ROIS_OVERLAP", sentence, roi.place)
            taken[mask] |= (1 << group) | _INSIDE_BIT
        if roi.name == _BOTH:
            self._has_lungs = True
            taken[mask] |= _LUNGS_BIT
        if roi.name in (_LEFT, _RIGHT) and roi.raster.voxels:
            self._left_mm[roi.name] = self._toward_left_mm(roi.raster)

    def finish(self, checked: CheckedObject) -> Iterator[Fault]:
        """Faults that show when all ROIs are there."""
        outside = (
            int(np.count_nonzero(self._taken & (_INSIDE_BIT | _LUNGS_BIT) == _INSIDE_BIT)) if self._has_lungs else 0
        )
        if outside:
            yield checked.fault("ROI_NOT_IN_LUNGS", f"{outside} voxel(s) of other regions lie outside Lungs")
        if len(self._left_mm) == 2 and not self._left_mm[_LEFT] > self._left_mm[_RIGHT]:
            yield checked.fault("SIDES_SWAPPED", "the left lung lies to the right of the right lung")

    def _toward_left_mm(self, raster: Raster) -> float:
        """LPS x of the centre of an ROI; it increases to the patient's left (PS3.3 C.7.6.2.1.1)."""
        k, row, column = raster.centroid()
        plane = self._ct.planes[round(float(k))]
        steps = plane.orientation[0] * plane.spacing_mm[1], plane.orientation[3] * plane.spacing_mm[0]
        return float(plane.position_mm[0] + column * steps[0] + row * steps[1])


def _check_shape(checked: CheckedObject, roi: _FilledRoi, ct: SourceCt, expected: Expected) -> Iterator[Fault]:
    region = expected.masks.get(roi.name)
    if region is None:
        if expected.is_complete:
            yield checked.fault("ROI_UNKNOWN", "this is no region of the result", roi.place)
        return
    wanted = region()
    if wanted.shape != ct.shape:
        return
    drawn, total = roi.raster.voxels, int(np.count_nonzero(wanted))
    common = int(np.count_nonzero(roi.raster.mask & wanted[roi.raster.box]))
    dice = 2 * common / (drawn + total) if drawn + total else 1.0
    difference_ml = abs(drawn - total) * ct.voxel_volume_ml
    allowed_ml = max(MOST_VOLUME_DIFFERENCE * total * ct.voxel_volume_ml, NEGLIGIBLE_ML)
    if dice < LEAST_DICE or difference_ml > allowed_ml:
        sentence = (
            f"the contours hold {drawn * ct.voxel_volume_ml:.2f} ml, the region {total * ct.voxel_volume_ml:.2f} ml; "
            f"Dice {dice:.4f}"
        )
        yield checked.fault("ROI_SHAPE_DIFFERS", sentence, roi.place)


def _check_absent(checked: CheckedObject, names: list[str], expected: Expected) -> Iterator[Fault]:
    wanted = {other for name in names for other in expected.group_of(name)}
    for name in expected.masks:
        if name in wanted and name not in names and expected.masks[name]().any():
            yield checked.fault("ROI_ABSENT", f"the result has the region {name}, the set has others of its group")
