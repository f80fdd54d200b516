"""Coronal, sagittal and axial cut through CT and map, sampled for a page: colours, outlines, where each cut lies.

All three have one scale and are centred on the lungs. Numbers between voxels are linear interpolation, as in any
viewer; the map keeps to the lungs. The colours shown are those of `shown_colours`, from which a legend is made too.
"""

from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from scipy import ndimage

from inference.anatomy import Lobe, Side, lobes_of
from inference.engine import PerfusionResult
from inference.geometry import Grid, Reorientation
from inference.volumes import CtVolume

WINDOW_HU = (-1100.0, 600.0)
"""Wider than a lung window: vessels stand out, soft tissue is calm grey, and bone is still told from it."""
MAP_RANGE_PERCENT = (0.0, 200.0)
"""Percent of the lung mean, from the first to the last colour. Larger values have the last colour."""
COLOUR_MAP = "inferno"
"""Even to the eye, right for colour-blind readers, and rising in brightness, so that it survives a grey printer."""
OPACITY = 0.75
"""Of the map over the CT."""
NAME_DEPTH_MM = 12.0
"""A lobe is named where it is at least this thick to every side."""
MARGIN_MM = 16.0
"""Shown around the lungs, at least."""
_LEGEND_GREY = 0.15  # the CT under the map: aerated lung in the window
_OUTSIDE_HU = -1024.0
_FAR_MM = -1e3
_RING_STEP = 3  # pixels; outlines change slowly


@dataclass(frozen=True, slots=True)
class Plane:
    """One of the three planes, in patient axes (superior, posterior, left)."""

    name: str
    axis: int
    """The patient axis that it cuts."""
    coordinate: str
    """The LPS coordinate along that axis."""
    letters: tuple[str, str, str, str]
    """Patient directions at the left, right, top and bottom edge (PS3.3 C.7.6.1.1.1)."""

    @property
    def in_plane(self) -> tuple[int, int]:
        """Patient axes that rows follow one another along, and columns."""
        rows, columns = (axis for axis in range(3) if axis != self.axis)
        return rows, columns

    def sign(self, axis: int) -> int:
        """Whether the picture runs along a patient axis or against it: superior is up."""
        return -1 if axis == 0 else 1


CORONAL = Plane("Coronal", 1, "y", ("R", "L", "H", "F"))
SAGITTAL = Plane("Sagittal", 2, "x", ("A", "P", "H", "F"))
AXIAL = Plane("Axial", 0, "z", ("R", "L", "A", "P"))

Rings = list[Float[np.ndarray, "points 2"]]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A cut, ready to be drawn. Outlines are (x, y) in mm of the patient, from the top left corner of the picture."""

    plane: Plane
    position_mm: float
    """LPS coordinate of the cut."""
    rgb: UInt8[np.ndarray, "rows columns 3"]
    high: Rings
    low: Rings
    lobes: dict[Lobe, Rings]
    names: dict[Lobe, tuple[float, float]]
    """The middle of each lobe that has room for its name."""
    crossing_mm: tuple[float, float]
    """Where the other two cuts lie: x and y in the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class _Body:
    """All volumes in patient axes, and the point where the three cuts meet."""

    grid: Grid
    hu: Float[np.ndarray, "s p l"]
    perfusion: Float[np.ndarray, "s p l"]
    labels: UInt8[np.ndarray, "s p l"]
    high: Bool[np.ndarray, "s p l"]
    low: Bool[np.ndarray, "s p l"]
    centre: tuple[float, ...]
    """Index of the middle of the lungs."""
    reach_mm: tuple[float, ...]
    """Size of the box around the lungs."""
    cuts: tuple[int, int, int]


def cut_views(
    ct: CtVolume, result: PerfusionResult, sizes: dict[Plane, tuple[float, float]], pixels: int
) -> tuple[dict[Plane, View], float]:
    """The views of a result, and their common scale.

    Each cut is the one that shows most lung; the sagittal one goes through the right lung, which has three lobes.

    Args:
        ct: the CT.
        result: on its grid.
        sizes: width and height on paper of each plane's picture, mm.
        pixels: per mm of paper.

    Returns:
        The views, and how many mm of the patient 1 mm on paper shows.
    """
    body = _turn(ct, result)
    reach = body.reach_mm
    scale = max(
        max((reach[columns] + 2 * MARGIN_MM) / width, (reach[rows] + 2 * MARGIN_MM) / height)
        for (rows, columns), width, height in ((plane.in_plane, *size) for plane, size in sizes.items())
    )
    views = {plane: _cut(body, plane, size, scale, pixels) for plane, size in sizes.items()}
    return views, scale


def shown_colours(
    percent: Float[np.ndarray, "*n"], grey: Float[np.ndarray, "*n"] | float = _LEGEND_GREY
) -> UInt8[np.ndarray, "*n 3"]:
    """Colours of map values over a CT grey from 0 (black) to 1; by default over that of aerated lung."""
    from matplotlib import colormaps

    low, high = MAP_RANGE_PERCENT
    colours = colormaps[COLOUR_MAP](np.clip((percent - low) / (high - low), 0.0, 1.0))[..., :3]
    mixed = OPACITY * colours + (1.0 - OPACITY) * np.asarray(grey)[..., None]
    return np.rint(255.0 * mixed).astype(np.uint8)


def _turn(ct: CtVolume, result: PerfusionResult) -> _Body:
    turn = Reorientation.to_patient_axes(ct.grid)
    labels = turn.apply(result.lobes.labels)
    lungs = labels > 0 if labels.any() else np.ones(labels.shape, dtype=bool)
    right = np.isin(labels, lobes_of(Side.RIGHT))
    ends = [np.flatnonzero(lungs.any(axis=tuple(k for k in range(3) if k != axis)))[[0, -1]] for axis in range(3)]
    grid = turn.grid(ct.grid)
    reach = (float(last - first + 1) * spacing for (first, last), spacing in zip(ends, grid.spacing_mm, strict=True))
    return _Body(
        grid=grid,
        hu=turn.apply(ct.hu),
        perfusion=turn.apply(result.perfusion.values),
        labels=labels,
        high=turn.apply(result.regions.high),
        low=turn.apply(result.regions.low),
        centre=tuple(float(pair.mean()) for pair in ends),
        reach_mm=tuple(reach),
        cuts=(_fullest(lungs, 0), _fullest(lungs, 1), _fullest(right if right.any() else lungs, 2)),
    )


def _fullest(mask: Bool[np.ndarray, "a b c"], axis: int) -> int:
    return int(np.argmax(np.count_nonzero(mask, axis=tuple(k for k in range(3) if k != axis))))


def _cut(body: _Body, plane: Plane, size: tuple[float, float], scale: float, pixels: int) -> View:
    across = _Sampling.of(body, plane, size, scale, pixels)

    def cut(volume: Shaped[np.ndarray, "s p l"]) -> Shaped[np.ndarray, "r c"]:
        image: np.ndarray = volume.take(body.cuts[plane.axis], axis=plane.axis)
        return image

    labels = cut(body.labels)
    lobes = {lobe: across.depth_mm(labels == lobe) for lobe in Lobe}
    grey = np.clip((across.values(cut(body.hu), _OUTSIDE_HU) - WINDOW_HU[0]) / np.ptp(WINDOW_HU), 0.0, 1.0)
    rgb = np.repeat(np.rint(255.0 * grey)[..., None], 3, axis=-1).astype(np.uint8)
    # The map is 0 outside the lungs: divided by how much lung there is, it does not fade at the border.
    percent = 100.0 * across.values(cut(body.perfusion)) / np.maximum(across.values(labels > 0), 1e-6)
    lungs = across.depth_mm(labels > 0) >= 0
    rgb[lungs] = shown_colours(percent[lungs], grey[lungs])
    at = np.array([float(k) for k in body.cuts])
    return View(
        plane=plane,
        position_mm=float(body.grid.to_patient_mm(at)[2 - plane.axis]),
        rgb=rgb,
        high=across.rings(across.depth_mm(cut(body.high))),
        low=across.rings(across.depth_mm(cut(body.low))),
        lobes={lobe: across.rings(depth) for lobe, depth in lobes.items()},
        names=_name_places(lobes, across.mm_per_pixel),
        crossing_mm=across.place_of(body.cuts),
    )


def _name_places(lobes: dict[Lobe, Float[np.ndarray, "h w"]], mm_per_pixel: float) -> dict[Lobe, tuple[float, float]]:
    """The middle of each lobe that has room for its name."""
    places = {}
    for lobe, depth in lobes.items():
        row, column = np.unravel_index(np.argmax(depth), depth.shape)
        if depth[row, column] >= NAME_DEPTH_MM:
            places[lobe] = (float(column + 0.5) * mm_per_pixel, float(row + 0.5) * mm_per_pixel)
    return places


@dataclass(frozen=True, slots=True, eq=False)
class _Sampling:
    """Linear interpolation of one cut at the pixels of its picture."""

    down: "_AxisSampling"
    across: "_AxisSampling"
    spacing_mm: tuple[float, float]
    mm_per_pixel: float
    plane: Plane
    corner: tuple[float, float]
    """Index of the picture's top left corner along the plane's two axes."""

    @classmethod
    def of(cls, body: _Body, plane: Plane, size: tuple[float, float], scale: float, pixels: int) -> "_Sampling":
        samplings, corner = [], []
        for axis, length in zip(plane.in_plane, reversed(size), strict=True):
            count, spacing_mm = round(length * pixels), body.grid.spacing_mm[axis]
            step = scale / pixels / spacing_mm * plane.sign(axis)
            start = body.centre[axis] - 0.5 * count * step
            samplings.append(_AxisSampling.at(start + (np.arange(count) + 0.5) * step, body.grid.shape[axis]))
            corner.append(start)
        rows, columns = plane.in_plane
        spacing = body.grid.spacing_mm[rows], body.grid.spacing_mm[columns]
        return cls(samplings[0], samplings[1], spacing, scale / pixels, plane, (corner[0], corner[1]))

    def values(self, image: Shaped[np.ndarray, "r c"], outside: float = 0.0) -> Float[np.ndarray, "h w"]:
        """The image at every pixel of the picture, `outside` where the volume does not reach."""
        rows = self.down.values(image.astype(np.float32), outside)
        return np.ascontiguousarray(self.across.values(rows.T, outside).T)

    def depth_mm(self, mask: Bool[np.ndarray, "r c"]) -> Float[np.ndarray, "h w"]:
        """Distance from the border of an area, positive inside: between thick slices shapes move, without steps."""
        if not mask.any():
            return np.full((len(self.down.below), len(self.across.below)), _FAR_MM, np.float32)
        padded = np.pad(mask, 1)
        inside = ndimage.distance_transform_edt(padded, sampling=self.spacing_mm)
        outside = ndimage.distance_transform_edt(~padded, sampling=self.spacing_mm)
        return self.values((inside - outside)[1:-1, 1:-1], _FAR_MM)

    def rings(self, depth_mm: Float[np.ndarray, "h w"]) -> Rings:
        """Closed outlines of what is deeper than 0; areas that the picture cuts off are closed along its edge."""
        thinned = np.pad(depth_mm[::_RING_STEP, ::_RING_STEP], 1, constant_values=_FAR_MM)
        lines = contour_generator(z=thinned).lines(0.0)
        return [np.asarray((line - 1.0) * _RING_STEP + 0.5) * self.mm_per_pixel for line in lines if len(line) > 3]

    def place_of(self, index: tuple[int, int, int]) -> tuple[float, float]:
        """Where a voxel lies in the picture, x and y in mm of the patient."""
        y, x = (
            (index[axis] - start) * spacing_mm * self.plane.sign(axis)
            for axis, start, spacing_mm in zip(self.plane.in_plane, self.corner, self.spacing_mm, strict=True)
        )
        return float(x), float(y)


@dataclass(frozen=True, slots=True, eq=False)
class _AxisSampling:
    """Linear interpolation along the first axis of an image; constant in the outer half of the outer voxels."""

    below: Int[np.ndarray, " n"]
    share: Float[np.ndarray, "n 1"]
    """Of the voxel after `below`."""
    outside: Bool[np.ndarray, " n"]

    @classmethod
    def at(cls, positions: Float[np.ndarray, " n"], length: int) -> "_AxisSampling":
        clamped = np.clip(positions, 0.0, length - 1.0)
        below = np.clip(np.floor(clamped).astype(int), 0, max(length - 2, 0))
        share = (clamped - below).astype(np.float32)[:, None]
        return cls(below, share, (positions < -0.5) | (positions > length - 0.5))

    def values(self, image: Float[np.ndarray, "m k"], outside: float) -> Float[np.ndarray, "n k"]:
        above = np.minimum(self.below + 1, len(image) - 1)
        sampled: np.ndarray = image[self.below] * (1.0 - self.share) + image[above] * self.share
        sampled[self.outside] = outside
        return sampled
