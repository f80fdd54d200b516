"""Right and left lung from HU alone: threshold, connected parts, and geometry.

Which lung is right is decided by patient x, never by the order of labels or slices. The work is done on a coarse
isotropic volume with patient axes, so time and memory do not depend on the scanner's matrix; the outline is brought
to the CT grid through a smoothed mask. Contours follow radiotherapy habit: vessels and nodules inside belong to the
lung, and so do tumours and dense lung at the ribs (`chest_wall`); trachea, main bronchi, pleural fluid, and gas of
stomach and bowel do not.

Not handled: lung as dense as tissue that reaches mediastinum, diaphragm or apex: nothing but its place tells it from
them, and its place is theirs.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from inference.anatomy import Side
from inference.atlas.airways import find_airway
from inference.atlas.chest_wall import ChestWall
from inference.atlas.field_edge import FieldEdge
from inference.errors import LungsNotFound
from inference.geometry import Box, Grid, Reorientation
from inference.images import Interpolation, resample, resample_image, to_array, to_image
from inference.lobes import LEAST_LUNG_ML
from inference.volumes import CtVolume

Mask = Bool[np.ndarray, "slices rows columns"]

WORKING_SPACING_MM = 2.5
_TISSUE_HU = -300.0
_LUNG_HU = -400.0
"""Halfway between aerated lung (about -800) and tissue (0 … 50): the unbiased edge under partial volume."""
_PURE_GAS_HU = -950.0
"""Mean of the core of stomach or bowel gas; vessels keep even emphysema above (LAA-950 is a share, not a mean)."""
_SMALLEST_PART_ML = 60.0
_EROSIONS_MM = (0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0)
_ONE_SIDED = 0.85
_SINGLE = 0.68
"""Share on one side of the midline above which parts that cannot be parted are one lung, not two."""
_CLOSING_MM = 7.5
_EDGE_SMOOTHING_MM = 1.25


@dataclass(frozen=True, slots=True, eq=False)
class Lungs:
    """Both lungs; one of them may be empty."""

    right: Mask
    left: Mask
    grid: Grid

    def side(self, side: Side) -> Mask:
        """The lung of one side."""
        return self.right if side is Side.RIGHT else self.left

    def volume_ml(self, side: Side) -> float:
        """Volume of one lung in millilitres."""
        return float(np.count_nonzero(self.side(side))) * self.grid.voxel_volume_ml


def find_lungs(ct: CtVolume) -> Lungs:
    """Right and left lung on the grid of `ct`.

    Raises:
        LungsNotFound: both together hold less than `LEAST_LUNG_ML`.
    """
    axes = Reorientation.to_patient_axes(ct.grid)
    fine = axes.grid(ct.grid)
    coarse = fine.with_spacing((WORKING_SPACING_MM,) * 3)
    found = _both_sides(_coarse_hu(axes.apply(ct.hu), fine, coarse), coarse)
    volume_ml = found.volume_ml(Side.RIGHT) + found.volume_ml(Side.LEFT)
    if volume_ml < LEAST_LUNG_ML:
        raise LungsNotFound(volume_ml, LEAST_LUNG_ML)
    return Lungs(
        np.ascontiguousarray(axes.undo(_onto(fine, found.right, coarse))),
        np.ascontiguousarray(axes.undo(_onto(fine, found.left, coarse))),
        ct.grid,
    )


def _coarse_hu(hu: Float32[np.ndarray, "a b c"], fine: Grid, coarse: Grid) -> Float32[np.ndarray, "d e f"]:
    """HU averaged over whole voxels, then interpolated; averaging first keeps noise out of the threshold."""
    image = to_image(hu, fine)
    bins = [max(int(WORKING_SPACING_MM // spacing), 1) for spacing in reversed(fine.spacing_mm)]
    binned = sitk.BinShrink(image, bins) if max(bins) > 1 else image
    return to_array(resample_image(binned, fine, coarse, interpolation=Interpolation.LINEAR, outside=-1024.0))


def _both_sides(hu: Float32[np.ndarray, "slices rows columns"], grid: Grid) -> Lungs:
    body = _body(hu, grid)
    gas = (hu < _LUNG_HU) & body
    if not gas.any():
        return Lungs(gas, gas.copy(), grid)
    midline_mm = _midline_mm(body, gas, grid)
    airway = find_airway(hu, body, grid, midline_mm)
    lung = _lung_parts(gas & ~airway, hu, grid)
    right, left = _split(lung, grid, midline_mm)
    right, left = _closed(right, airway | left, grid), _closed(left, airway | right, grid)
    sides = {Side.RIGHT: right & ~left, Side.LEFT: left}
    for side, lung in sides.items():
        if lung.any():
            wall = ChestWall.around(lung, grid, side, midline_mm)
            fluid = wall.fluid(lung, hu, body)
            lung |= wall.dents(lung, hu, fluid | airway | sides[Side.LEFT if side is Side.RIGHT else Side.RIGHT])
    return Lungs(sides[Side.RIGHT], sides[Side.LEFT], grid)


def _body(hu: Float32[np.ndarray, "slices rows columns"], grid: Grid) -> Mask:
    """The patient without the couch, lungs and bowel filled in.

    Opening by one voxel takes off couch shells and sheets (under 5 mm) but no chest wall. Where the field of view cuts
    the patient off at the side, its edge closes the body.
    """
    tissue: Mask = ndimage.binary_opening(hu > _TISSUE_HU, structure=ndimage.generate_binary_structure(3, 1))
    if not tissue.any():
        return tissue
    body: Mask = cc3d.largest_k(tissue, k=1, connectivity=6, binary_image=True) > 0
    edge = FieldEdge.of(hu, grid)
    for k in range(body.shape[0]):
        body[k] = ndimage.binary_fill_holes(body[k] | edge.across_lung(hu[k], body[k]))
    return body


def _midline_mm(body: Mask, gas: Mask, grid: Grid) -> float:
    """Patient x that parts right from left: the middle of the body at the slices that hold most gas."""
    per_slice = gas.sum(axis=(1, 2))
    at_lungs = body[per_slice > 0.3 * per_slice.max()]
    per_column = np.cumsum(at_lungs.sum(axis=(0, 1)))
    return grid.origin_mm[0] + grid.spacing_mm[2] * float(np.searchsorted(per_column, per_column[-1] / 2))


def _lung_parts(gas: Mask, hu: Float32[np.ndarray, "slices rows columns"], grid: Grid) -> Mask:
    """Connected parts that are lung: large, not pure gas, and not below the largest one."""
    labels, count = cc3d.connected_components(gas, connectivity=6, return_N=True)
    sizes_ml = np.bincount(labels.ravel(), minlength=count + 1) * grid.voxel_volume_ml
    boxes = ndimage.find_objects(labels)
    found = [
        label
        for label in np.argsort(-sizes_ml)
        if label > 0 and sizes_ml[label] >= _SMALLEST_PART_ML and not _is_pure_gas(labels, int(label), boxes, hu)
    ]
    keep = np.zeros(count + 1, dtype=bool)
    if found:
        main = boxes[found[0] - 1][0]
        floor = main.start + 0.2 * (main.stop - main.start)
        for label in found:
            box = boxes[label - 1]
            rows = np.count_nonzero(labels[box] == label, axis=(1, 2))
            centre = box[0].start + float(np.average(np.arange(len(rows)), weights=rows))
            keep[label] = centre >= floor
    kept: Mask = keep[labels]
    return kept


def _is_pure_gas(labels: np.ndarray, label: int, boxes: list[Box], hu: Float32[np.ndarray, "a b c"]) -> bool:
    box = boxes[label - 1]
    part = labels[box] == label
    core = ndimage.binary_erosion(part, iterations=2)
    return bool(hu[box][core if core.any() else part].mean() < _PURE_GAS_HU)


def _split(lung: Mask, grid: Grid, midline_mm: float) -> tuple[Mask, Mask]:
    """Right and left lung, parted at the narrowest place where they touch (the junction lines).

    Erosion until no large part lies on both sides gives the markers; a watershed on depth gives the border.
    """
    nothing = np.zeros_like(lung)
    if not lung.any():
        return nothing, nothing.copy()
    box: Box = ndimage.find_objects(lung.astype(np.uint8))[0]
    inside = lung[box]
    x_mm = grid.origin_mm[0] + grid.spacing_mm[2] * np.arange(lung.shape[2])[box[2]]
    depth_mm = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=grid.spacing_mm)[1:-1, 1:-1, 1:-1]
    markers = next(
        (found for radius in _EROSIONS_MM if (found := _markers(depth_mm > radius, x_mm < midline_mm)) is not None),
        None,
    )
    if markers is None:
        sides = _one_or_two(inside, x_mm < midline_mm)
    else:
        relief = sitk.GetImageFromArray(np.where(inside, -depth_mm, 0).astype(np.float32))
        flooded = sitk.MorphologicalWatershedFromMarkers(relief, sitk.GetImageFromArray(markers), False)
        sides = sitk.GetArrayFromImage(flooded) * inside
    right, left = nothing, nothing.copy()
    right[box], left[box] = sides == 1, sides == 2
    return right, left


def _one_or_two(
    inside: Bool[np.ndarray, "a b c"], is_right: Bool[np.ndarray, " columns"]
) -> UInt8[np.ndarray, "a b c"]:
    """1 right of the midline, 2 left of it; one number only for a single lung that reaches across.

    What is left of a patient without the other lung grows over the midline; two lungs have about equal parts.
    """
    right_share = float(np.count_nonzero(inside[..., is_right])) / np.count_nonzero(inside)
    sides: UInt8[np.ndarray, " columns"] = np.where(is_right, 1, 2).astype(np.uint8)
    if right_share > _SINGLE or right_share < 1.0 - _SINGLE:
        sides[:] = 1 if right_share > _SINGLE else 2
    labelled: UInt8[np.ndarray, "a b c"] = inside * sides
    return labelled


def _markers(
    eroded: Bool[np.ndarray, "a b c"], is_right: Bool[np.ndarray, " columns"]
) -> UInt8[np.ndarray, "a b c"] | None:
    """1 in right parts, 2 in left parts; None while a large part lies on both sides."""
    labels, count = cc3d.connected_components(eroded, connectivity=6, return_N=True)
    if not count:
        return None
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    right_share = np.bincount(labels[..., is_right].ravel(), minlength=count + 1)[1:] / sizes
    large = sizes >= 0.05 * sizes.sum()
    if np.any(large & (right_share > 1 - _ONE_SIDED) & (right_share < _ONE_SIDED)):
        return None
    value = np.where(large, np.where(right_share >= 0.5, 1, 2), 0)
    marked: UInt8[np.ndarray, "a b c"] = np.concatenate([[0], value]).astype(np.uint8)[labels]
    return marked


def _closed(lung: Mask, forbidden: Mask, grid: Grid) -> Mask:
    """One connected lung with its vessels and nodules, and small dents of the surface filled."""
    if not lung.any():
        return lung
    box: Box = ndimage.find_objects(lung.astype(np.uint8))[0]  # closing and filling add nothing outside it
    radius = [round(_CLOSING_MM / spacing) for spacing in reversed(grid.spacing_mm)]
    image = sitk.GetImageFromArray(lung[box].astype(np.uint8))
    closed = sitk.GetArrayFromImage(sitk.BinaryMorphologicalClosing(image, radius, sitk.sitkBall, 1, True)) > 0
    filled = ndimage.binary_fill_holes(closed) & ~forbidden[box]
    largest = np.zeros_like(lung)
    largest[box] = cc3d.largest_k(filled, k=1, connectivity=6, binary_image=True) > 0
    return largest


def _onto(fine: Grid, mask: Bool[np.ndarray, "a b c"], coarse: Grid) -> Mask:
    """A coarse mask on the fine grid, with a smooth outline and in one piece."""
    result = np.zeros(fine.shape, dtype=bool)
    if not mask.any():
        return result
    soft = ndimage.gaussian_filter(mask.astype(np.float32), [_EDGE_SMOOTHING_MM / s for s in coarse.spacing_mm])
    box = _fine_box(mask, coarse, fine)
    values = resample(soft, coarse, fine.cropped(box), interpolation=Interpolation.LINEAR, outside=0.0)
    result[box] = cc3d.largest_k(values >= 0.5, k=1, connectivity=6, binary_image=True) > 0
    return result


def _fine_box(mask: Bool[np.ndarray, "a b c"], coarse: Grid, fine: Grid) -> Box:
    """Voxels of the fine grid that a coarse mask can reach, one coarse voxel of margin included."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    ends = np.array([[s.start - 2 for s in found], [s.stop + 1 for s in found]], dtype=np.float64)
    first, last = fine.to_index(coarse.to_patient_mm(ends))
    starts = np.clip(np.floor(first), 0, np.array(fine.shape) - 1).astype(int)
    stops = np.clip(np.ceil(last) + 1, starts + 1, fine.shape).astype(int)
    return tuple(slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True))  # type: ignore[return-value]
