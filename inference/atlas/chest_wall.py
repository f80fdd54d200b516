"""What lies between a lung and its ribs: tumours and dense lung at the chest wall, and pleural fluid.

HU cannot tell a tumour at the chest wall from the chest wall. Its place can: the outer surface of a lung follows the
ribs, so a dent in it that lung surrounds on all sides is filled. The surface is unrolled for that: its distance from an
axis inside the chest, over angle and height. The heart, the diaphragm and the mediastinum are no dents in this sense,
because their footprint on the unrolled surface is open to one side; dense lung of the same kind (at the apex, beside
the spine, on the diaphragm) is not told from them and stays out.

Works on a coarse volume with patient axes (slice to superior, row to posterior, column to left).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy import ndimage
from scipy.spatial import ConvexHull

from inference.anatomy import Side
from inference.atlas.balls import dilated, opened
from inference.atlas.couch import couch_side
from inference.geometry import Box, Grid

Mask = Bool[np.ndarray, "slices rows columns"]
Surface = Float[np.ndarray, "slices angles"]

_AXIS_FROM_MIDLINE_MM = 30.0
_ANGLES_DEG = np.arange(-110.0, 125.1, 3.0)
"""0 is lateral, negative is in front. Beyond lie sternum and spine."""
_ANGLE_OF_ARC_MM = 5.0
"""Arc of one angle on a chest wall 100 mm from the axis."""
_HEART_DEG = -40.0
"""In front of this the heart may touch the chest wall: only small dents are filled, and on the left none."""
_DENT_MM = {"side": 120.0, "front": 50.0}
"""Widest dents that are filled, beside and behind, and in front."""
_DEEPEST_MM = 80.0
_SHALLOWEST_MM = 6.0
"""Shallower dents are the lung's own unevenness, as at the ribs."""
_FILLED_HU = (-400.0, 150.0)
_OUTLINE_MM = 25.0
_BEYOND_OUTLINE_MM = 4.0
"""How far a wall that is curved the other way may lie outside the convex outline of its slices."""
_RIM = 3
"""Width, in angles and slices, of the slopes around a dent."""
_LEAST_INSIDE_MM = 10.0
"""Lung that a ray must have passed before a dent."""

_FLUID_HU = (-10.0, 32.0)
"""Transudates and exudates alike measure mostly 0 to 30 HU (Abramowitz et al., AJR 192:618, 2009), muscle 40 to 60."""
_FAT_HU, _LUNG_HU = -60.0, -300.0
_FLUID_SMOOTHING_MM = 4.0
_FLUID_HALF_THICKNESS_MM = 4.0
_GAS_HU = -100.0
_BRONCHI_MM = 5.0
_BRONCHI_SHARE = 0.01
"""Air in bronchi against all of what looks like fluid."""
_BONE_HU = 180.0
_RELAXATIONS = 400
_RIB_GAP_MM = 20.0
_DEPENDENT_DEG = (20.0, 80.0)
"""At the back of a patient who lies on it; further inwards lie spine and aorta."""
_BELOW_LUNG_MM = 30.0
_TO_RIBS_MM = 15.0
LEAST_EFFUSION_ML = 40.0
"""Less is not told from muscle, fat and partial volume."""


@dataclass(frozen=True, slots=True)
class ChestWall:
    """The unrolled inside of one half of the chest."""

    side: Side
    grid: Grid
    axis_mm: tuple[float, float]
    """Patient x and y of the axis from which distances are measured."""

    @classmethod
    def around(cls, lung: Mask, grid: Grid, side: Side, midline_mm: float) -> "ChestWall":
        """The half of the chest that holds a lung, which is not empty."""
        _, rows, _ = np.nonzero(lung)
        y_mm = grid.origin_mm[1] + grid.spacing_mm[1] * float(rows.mean())
        return cls(side, grid, (midline_mm + _outwards(side) * _AXIS_FROM_MIDLINE_MM, y_mm))

    def dents(self, lung: Mask, hu: Float32[np.ndarray, "slices rows columns"], kept_out: Mask) -> Mask:
        """Dense voxels in dents of the outer surface of a lung.

        Args:
            lung: the aerated lung, its vessels filled in.
            hu: on the grid of the lung.
            kept_out: voxels that are known to be something else.
        """
        reach = self._outermost(lung)
        depth = self._closed(reach) - reach
        dented = ndimage.binary_dilation(depth > _SHALLOWEST_MM, iterations=_RIM) & (reach > _LEAST_INSIDE_MM)
        bridged = np.where(dented, np.minimum(_bridged(reach, dented), self._convex(reach, dented)), 0.0)
        bridged[bridged - reach > _DEEPEST_MM] = 0.0
        dent = self._rolled(bridged, lung.shape) & ~self._rolled(reach, lung.shape) & ~lung & ~kept_out
        dent &= (hu > _FILLED_HU[0]) & (hu < _FILLED_HU[1])
        return _touching(dent, lung)

    def fluid(self, lung: Mask, hu: Float32[np.ndarray, "slices rows columns"], body: Mask) -> Mask:
        """Fluid in the lower part of the pleural space, by HU and place; empty if less than `LEAST_EFFUSION_ML`."""
        ribs = self._ribs(hu, lung)
        slices = np.flatnonzero(lung.any(axis=(1, 2)))
        inside_ribs = self._rolled(ribs, lung.shape) & body & ~lung
        inside_ribs[: max(int(slices[0] - _BELOW_LUNG_MM / self.grid.spacing_mm[0]), 0)] = False
        inside_ribs[slices[-1] :] = False
        tissue = (hu > _FAT_HU) & (hu < _BONE_HU) & ~ndimage.binary_dilation(hu < _LUNG_HU)
        fluid = inside_ribs & tissue
        for box in ndimage.find_objects(fluid.astype(np.uint8)):
            mean = self._mean_hu(hu, tissue, box)
            fluid[box] &= (mean > _FLUID_HU[0]) & (mean < _FLUID_HU[1])
        fluid = opened(fluid, _FLUID_HALF_THICKNESS_MM, self.grid)
        fluid = self._dependent(fluid, ribs, couch_side(hu, body, self.grid) == "front")
        return fluid if not self._holds_air(fluid, hu, lung) else np.zeros_like(fluid)

    def _mean_hu(
        self, hu: Float32[np.ndarray, "slices rows columns"], tissue: Mask, box: Box
    ) -> Float32[np.ndarray, "a b c"]:
        """Gaussian mean of the tissue around each voxel of a box."""
        sigma = [_FLUID_SMOOTHING_MM / s for s in self.grid.spacing_mm]
        margins = [int(4.0 * s + 0.5) for s in sigma]  # where `gaussian_filter` cuts its kernel off
        around = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margins, strict=True))
        inner = tuple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(box, around, strict=True))
        weight = tissue[around].astype(np.float32)
        total = np.maximum(ndimage.gaussian_filter(weight, sigma), 1e-3)
        mean: Float32[np.ndarray, "a b c"] = (ndimage.gaussian_filter(hu[around] * weight, sigma) / total)[inner]
        return mean

    def _dependent(self, fluid: Mask, ribs: Surface, on_front: bool) -> Mask:
        """Parts of the fluid that lie against the ribs on the lower side and are large enough."""
        labels, count = cc3d.connected_components(fluid, connectivity=6, return_N=True)
        radius, angle = self._polar(fluid.shape)
        known = np.clip(angle, 0, len(_ANGLES_DEG) - 1)
        at_ribs = ribs[:, known] - radius < _TO_RIBS_MM
        degrees = _ANGLES_DEG[known] * (-1.0 if on_front else 1.0)
        lower = (degrees > _DEPENDENT_DEG[0]) & (degrees < _DEPENDENT_DEG[1]) & (angle == known)
        below = np.broadcast_to(lower, fluid.shape)
        sizes_ml = np.bincount(labels.ravel(), minlength=count + 1) * self.grid.voxel_volume_ml
        touching = np.bincount(labels[at_ribs & below], minlength=count + 1) * self.grid.voxel_volume_ml
        keep = (sizes_ml >= LEAST_EFFUSION_ML) & (touching >= 0.1 * sizes_ml)
        keep[0] = False
        kept: Mask = keep[labels]
        return kept

    def _holds_air(self, fluid: Mask, hu: Float32[np.ndarray, "slices rows columns"], lung: Mask) -> bool:
        """Whether bronchi with air run through it: then it is dense lung."""
        if not fluid.any():
            return False
        gas = (hu < _GAS_HU) & ~lung & dilated(fluid, _BRONCHI_MM, self.grid)
        inner = gas & ~dilated(lung, _BRONCHI_MM, self.grid)
        return bool(np.count_nonzero(inner) > _BRONCHI_SHARE * np.count_nonzero(fluid))

    def _outermost(self, mask: Mask) -> Surface:
        """Distance of the outermost voxel of a mask along each ray; 0 where there is none."""
        reach, step = self._rays(mask)
        last = reach.shape[2] - np.argmax(reach[:, :, ::-1], axis=2)
        return np.where(reach.any(axis=2), last * step, 0.0)

    def _ribs(self, hu: Float32[np.ndarray, "slices rows columns"], lung: Mask) -> Surface:
        """Distance of the inside of the rib cage, bridged between the ribs."""
        bone, step = self._rays(hu > _BONE_HU)
        nearest_mm = np.maximum(self._outermost(lung), 45.0) - 5.0
        found = bone & (np.arange(bone.shape[2]) * step > nearest_mm[..., None])
        first = np.where(found.any(axis=2), np.argmax(found, axis=2) * step, np.inf)
        size = (int(2 * _RIB_GAP_MM / self.grid.spacing_mm[0]) | 1, 5)
        nearest = ndimage.minimum_filter(first, size=size, mode="nearest")
        known = np.isfinite(nearest)
        if not known.any():
            return np.zeros_like(nearest)
        # In front the ribs are cartilage: the distance goes on from where they are bone.
        _, at = ndimage.distance_transform_edt(~known, return_indices=True)
        smooth: Surface = ndimage.uniform_filter(nearest[tuple(at)], size=(5, 3))
        return smooth

    def _convex(self, reach: Surface, dented: Bool[np.ndarray, "slices angles"]) -> Surface:
        """Distance of the convex outline of each slice and of those near it, and a little more.

        From the axis a flat wall looks like a dent; the outline tells them apart.
        """
        near = int(_OUTLINE_MM / self.grid.spacing_mm[0])
        outermost = ndimage.maximum_filter1d(reach, 2 * near + 1, axis=0)
        rays = np.stack([np.cos(np.deg2rad(_ANGLES_DEG)), np.sin(np.deg2rad(_ANGLES_DEG))])
        outline = np.full_like(reach, np.inf)
        for k in np.flatnonzero(dented.any(axis=1)):
            if np.count_nonzero(outermost[k]) < 3:
                continue
            hull = ConvexHull(np.vstack([np.zeros(2), (rays * outermost[k]).T]))
            towards = hull.equations[:, :2] @ rays
            distance = -hull.equations[:, 2:] / np.where(towards > 1e-6, towards, np.nan)
            outline[k] = np.nanmin(distance, axis=0)
        return outline + _BEYOND_OUTLINE_MM

    def _closed(self, reach: Surface) -> Surface:
        """The surface with its dents bridged; open dents stay, since nothing is assumed beyond its edges."""
        bridged = self._bridged_flat(reach, _DENT_MM["front"])
        if self.side is Side.LEFT:
            bridged[:, _ANGLES_DEG < _HEART_DEG] = 0.0
        beside = _ANGLES_DEG >= _HEART_DEG
        bridged[:, beside] = np.maximum(bridged[:, beside], self._bridged_flat(reach[:, beside], _DENT_MM["side"]))
        return bridged

    def _bridged_flat(self, reach: Surface, width_mm: float) -> Surface:
        high, wide = (max(int(width_mm / 2 / step), 1) for step in (self.grid.spacing_mm[0], _ANGLE_OF_ARC_MM))
        up, along = np.ogrid[-high : high + 1, -wide : wide + 1]
        footprint = (up / high) ** 2 + (along / wide) ** 2 <= 1.0
        highest = ndimage.grey_dilation(reach, footprint=footprint, mode="constant", cval=0.0)
        closed: Surface = ndimage.grey_erosion(highest, footprint=footprint, mode="constant", cval=0.0)
        return closed

    def _rays(self, mask: Mask) -> tuple[Bool[np.ndarray, "slices angles steps"], float]:
        """A mask along rays from the axis, in steps of one voxel."""
        step = min(self.grid.spacing_mm[1:])
        radius = np.arange(int(220.0 / step)) * step
        radians = np.deg2rad(_ANGLES_DEG)[:, None]
        x_mm = self.axis_mm[0] + _outwards(self.side) * radius * np.cos(radians)
        y_mm = self.axis_mm[1] + radius * np.sin(radians)
        column = np.rint((x_mm - self.grid.origin_mm[0]) / self.grid.spacing_mm[2]).astype(int)
        row = np.rint((y_mm - self.grid.origin_mm[1]) / self.grid.spacing_mm[1]).astype(int)
        inside = (row >= 0) & (row < mask.shape[1]) & (column >= 0) & (column < mask.shape[2])
        taken = mask[:, np.clip(row, 0, mask.shape[1] - 1), np.clip(column, 0, mask.shape[2] - 1)]
        return taken & inside, step

    def _rolled(self, surface: Surface, shape: tuple[int, ...]) -> Mask:
        """Voxels between the axis and a surface."""
        radius, angle = self._polar(shape)
        covered = (angle >= 0) & (angle < len(_ANGLES_DEG))
        inside: Mask = (radius < surface[:, np.clip(angle, 0, len(_ANGLES_DEG) - 1)]) & covered
        return inside

    def _polar(
        self, shape: tuple[int, ...]
    ) -> tuple[Float[np.ndarray, "rows columns"], Int[np.ndarray, "rows columns"]]:
        """Distance from the axis and number of the angle, for every voxel of a slice."""
        x = self.grid.origin_mm[0] + self.grid.spacing_mm[2] * np.arange(shape[2]) - self.axis_mm[0]
        y = self.grid.origin_mm[1] + self.grid.spacing_mm[1] * np.arange(shape[1])[:, None] - self.axis_mm[1]
        degrees = np.rad2deg(np.arctan2(y + 0.0 * x, _outwards(self.side) * x + 0.0 * y))
        step = _ANGLES_DEG[1] - _ANGLES_DEG[0]
        return np.hypot(x, y), np.rint((degrees - _ANGLES_DEG[0]) / step).astype(int)


def effusion_ml(
    hu: Float32[np.ndarray, "slices rows columns"],
    body: Mask,
    lungs: Mapping[Side, Mask],
    grid: Grid,
    midline_mm: float,
) -> dict[Side, float]:
    """Pleural fluid of each side that has at least `LEAST_EFFUSION_ML`, on a coarse volume with patient axes.

    Args:
        hu: the CT.
        body: the patient, lungs filled in.
        lungs: the lung of each side; an empty one is left out.
        grid: of all volumes.
        midline_mm: patient x that parts right from left.
    """
    found = {
        side: float(np.count_nonzero(ChestWall.around(lung, grid, side, midline_mm).fluid(lung, hu, body)))
        for side, lung in lungs.items()
        if lung.any()
    }
    return {side: voxels * grid.voxel_volume_ml for side, voxels in found.items() if voxels > 0}


def _bridged(reach: Surface, dented: Bool[np.ndarray, "slices angles"]) -> Surface:
    """A surface laid smoothly over its dents, from their rims: each point becomes the mean of its neighbours."""
    bridged = reach.copy()
    bridged[dented] = ndimage.maximum_filter(reach, size=5)[dented]
    kernel = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]) / 4.0
    for _ in range(_RELAXATIONS if dented.any() else 0):
        bridged[dented] = ndimage.convolve(bridged, kernel, mode="nearest")[dented]
    smooth: Surface = np.maximum(bridged, reach)
    return smooth


def _outwards(side: Side) -> float:
    """Sign of x towards the ribs."""
    return -1.0 if side is Side.RIGHT else 1.0


def _touching(parts: Mask, lung: Mask) -> Mask:
    """The parts of a mask that touch the lung."""
    labels, count = cc3d.connected_components(parts, connectivity=6, return_N=True)
    keep = np.zeros(count + 1, dtype=bool)
    keep[np.unique(labels[ndimage.binary_dilation(lung)])] = True
    keep[0] = False
    kept: Mask = keep[labels]
    return kept
