"""Two structure sets of one CT, ROI by ROI: how far an edited structure has moved away from ours.

Both are filled on the grid of the CT by the same code (even-odd rule at voxel centres, `checks.raster`), so a structure
that nobody touched has a Dice of exactly 1 and a change of exactly 0 ml. What cannot be placed with certainty is not
compared, and says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.checks.contours import Contour, read_contours
from dicom_node.checks.raster import Outlines, Raster, rasterise
from dicom_node.structures.own_structures import plain_name, roi_names
from inference.geometry import Grid
from inference.volumes import SeriesReference

OFF_PLANE_MM: Final = 0.5
"""A contour may lie this far from the plane of its image, and never more than a quarter of the slice distance."""
MOST_CROSSINGS: Final = 1e7
"""Of outlines with rows of voxels, in one ROI; each takes about 100 bytes while it is filled. Two lungs have 1e6."""
_CLOSED: Final = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


class Unfillable(ValueError):
    """The contours of an ROI cannot be filled; `code` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class RoiChange:
    """One ROI of ours and what became of it."""

    name: str
    """As we wrote it."""
    ours_ml: float
    edited_ml: float | None
    """None where it was not compared."""
    dice: float | None
    """2 |A ∩ B| / (|A| + |B|) over voxels; None where it was not compared."""
    code: str = ""
    """Why it was not compared: `DELETED`, `ELSEWHERE`, `NOT_CLOSED`, `OFF_PLANE`, `UNREADABLE`, `TOO_MANY_POINTS`."""

    @property
    def change_ml(self) -> float | None:
        """Volume of the edited structure less that of ours."""
        return None if self.edited_ml is None else self.edited_ml - self.ours_ml

    @property
    def change_percent(self) -> float | None:
        """The same as a share of our volume; None where ours is empty."""
        return None if self.change_ml is None or not self.ours_ml else 100.0 * self.change_ml / self.ours_ml


def compare_sets(
    ours: Sequence[Dataset], edited: Dataset, grid: Grid, source: SeriesReference
) -> tuple[RoiChange, ...]:
    """Every ROI of ours against the one of its name in an edited set.

    Args:
        ours: structure sets of one result; an ROI that several hold is taken from the first.
        edited: the set that came back.
        grid: of the CT.
        source: the CT.
    """
    by_name = {plain_name(name): number for number, name in reversed(roi_names(edited).items())}
    changes: dict[str, RoiChange] = {}
    for dataset in ours:
        for number, name in roi_names(dataset).items():
            if (plain := plain_name(name)) not in changes:
                region = fill_roi(dataset, number, grid, source)
                changes[plain] = _change(name, region, edited, by_name.get(plain), grid, source)
    return tuple(changes.values())


def _change(
    name: str, ours: Raster, edited: Dataset, number: int | None, grid: Grid, source: SeriesReference
) -> RoiChange:
    ours_ml = ours.voxels * grid.voxel_volume_ml
    if number is None:
        return RoiChange(name, ours_ml, None, None, "DELETED")
    try:
        region = fill_roi(edited, number, grid, source)
    except Unfillable as fault:
        return RoiChange(name, ours_ml, None, None, fault.code)
    return RoiChange(name, ours_ml, region.voxels * grid.voxel_volume_ml, dice(ours, region))


def dice(one: Raster, other: Raster) -> float:
    """2 |A ∩ B| / (|A| + |B|); 1 for two empty regions."""
    total = one.voxels + other.voxels
    return 2.0 * _common(one, other) / total if total else 1.0


def _common(one: Raster, other: Raster) -> int:
    both = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.box, other.box, strict=True)]
    if any(start >= stop for start, stop in both):
        return 0
    parts = (
        region.mask[tuple(slice(a - s.start, b - s.start) for (a, b), s in zip(both, region.box, strict=True))]
        for region in (one, other)
    )
    return int(np.count_nonzero(np.logical_and(*parts)))


def fill_roi(dataset: Dataset, number: int, grid: Grid, source: SeriesReference) -> Raster:
    """The voxels of an ROI; none where it has no closed contour.

    Raises:
        Unfillable: the ROI lies on another CT, or its contours cannot be placed or read.
    """
    contours = [contour for contour in _contours(dataset, number) if contour.geometric_type != "POINT"]
    if any(contour.geometric_type not in _CLOSED for contour in contours):
        raise Unfillable("NOT_CLOSED")
    images = {uid for contour in contours for uid, _ in contour.images}
    if _frames(dataset).get(number) != grid.frame_of_reference_uid or images - set(source.sop_instance_uids):
        raise Unfillable("ELSEWHERE")
    outlines = _outlines(contours, grid)
    if _crossings(outlines) > MOST_CROSSINGS:
        raise Unfillable("TOO_MANY_POINTS")
    return rasterise(outlines, grid.shape)


def _contours(dataset: Dataset, number: int) -> list[Contour]:
    return [
        contour
        for item in dataset.get("ROIContourSequence") or ()
        if str(item.get("ReferencedROINumber")) == str(number)
        for contour in read_contours(item)
    ]


def _frames(dataset: Dataset) -> Mapping[int, str]:
    """ROI Number to the frame of reference it lies in."""
    items = dataset.get("StructureSetROISequence") or ()
    return {int(item.ROINumber): str(item.get("ReferencedFrameOfReferenceUID") or "") for item in items}


def _outlines(contours: Sequence[Contour], grid: Grid) -> Outlines:
    """Contours in rows and columns of the slices that they lie on."""
    points, lengths, slices = [np.empty((0, 2))], [], []
    for contour in contours:
        if contour.points_mm is None or len(contour.points_mm) < 3:
            raise Unfillable("UNREADABLE")
        index = grid.to_index(contour.points_mm)
        k = round(float(index[:, 0].mean()))
        off_mm = float(np.abs(index[:, 0] - k).max()) * grid.spacing_mm[0]
        if not 0 <= k < grid.shape[0] or off_mm > min(OFF_PLANE_MM, grid.spacing_mm[0] / 4):
            raise Unfillable("OFF_PLANE")
        points.append(index[:, 1:])
        lengths.append(len(index))
        slices.append(k)
    return Outlines(np.concatenate(points), np.array(lengths, dtype=np.int64), np.array(slices, dtype=np.int64))


def _crossings(outlines: Outlines) -> float:
    """Rows of voxels that the outlines cross, at most."""
    rows = np.abs(np.diff(outlines.points[:, 0], append=0.0))
    return float(np.minimum(rows, 1e5).sum() + len(outlines.points))
