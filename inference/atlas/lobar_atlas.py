"""A lobar atlas made from published numbers: where the fissures of an average lung run.

Each lung has coordinates of its own: height (0 at the lowest recess, 1 at the apex), depth (0 front, 1 back) and
laterality (0 towards the mediastinum, 1 at the ribs). Fissures are surfaces in these coordinates; fitting the atlas to
a patient is finding the extent of the lung, and then moving each fissure up or down, within anatomical limits, until
the lobes have their published shares of the lung.

So a lobe's share says nothing about this patient as long as no limit was reached, and no fissure of the CT is looked
at: that is what `fissures` does, which starts from here. A lung that the scan cuts off, or that lost a lobe, is fitted
as if it were whole.

Shares: healthy volunteers, supine, inspiration (n=32, PMC7490509 table 3). Courses: the oblique fissures start at the
back at the level of T4 to T5, some 6 cm below the apex, and reach the diaphragm behind the anterior chest wall; their
upper part faces laterally, their lower part medially (Proto and Ball, AJR 1983); the horizontal fissure lies at the
level of the fourth rib in front and slopes a little down to the front.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from inference.anatomy import Lobe, Side
from inference.geometry import Grid

SHARE_OF_BOTH_LUNGS = {Lobe.RUL: 0.179, Lobe.RML: 0.093, Lobe.RLL: 0.265, Lobe.LUL: 0.231, Lobe.LLL: 0.232}
"""Mean lobar share of total lung volume (PMC7490509 table 3)."""

_OBLIQUE_AT_BACK = {Side.RIGHT: 0.76, Side.LEFT: 0.79}
"""Height of the oblique fissure at depth 1: 6 cm below the apex of a lung 25 cm high; the left one starts higher."""
_OBLIQUE_AT_FRONT = {Side.RIGHT: 0.05, Side.LEFT: 0.03}
"""Height at depth 0, reached outside the lung: the surface meets the diaphragm (height 0.2) at a fifth of the depth."""
_TWIST = 0.25
"""Propeller twist: height lost laterally at the back and gained laterally in front, per laterality and depth."""
_HORIZONTAL = 0.48
"""Height of the horizontal fissure midway: fourth costal cartilage, level of the interlobar artery."""
_HORIZONTAL_SLOPE = 0.10
"""Height gained from front to back."""
_LARGEST_SHIFT = 0.15
"""Furthest way a fissure is moved from its landmark, in lung heights (about 4 cm)."""
_SAMPLE = 200_000

Normalised = tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]


@dataclass(frozen=True, slots=True)
class FittedAtlas:
    """The atlas of one side, laid into one lung."""

    side: Side
    lowest_mm: tuple[float, float, float]
    """Smallest x, y, z of the lung, half a percent of its voxels left out."""
    highest_mm: tuple[float, float, float]
    """Largest x, y, z, likewise."""
    oblique_shift: float = 0.0
    """How far the oblique fissure lies above its landmark, in lung heights."""
    horizontal_shift: float = 0.0
    """The same for the horizontal fissure; 0 on the left, which has none."""

    @classmethod
    def fit(cls, lung: Bool[np.ndarray, "slices rows columns"], grid: Grid, side: Side) -> "FittedAtlas":
        """Lay the atlas into a lung, whatever the order of the axes of `grid`.

        Args:
            lung: voxels of one lung, not empty.
            grid: where they lie.
            side: which lung it is.
        """
        return cls.of_points(sample_of(lung, grid), side)

    @classmethod
    def of_points(cls, points_mm: Float[np.ndarray, "n 3"], side: Side) -> "FittedAtlas":
        """Lay the atlas into the lung that has these voxels, or an even sample of them."""
        lowest, highest = np.percentile(points_mm, [0.5, 99.5], axis=0)
        highest = np.maximum(highest, lowest + 1.0)
        atlas = cls(side, _triple(lowest), _triple(highest))
        above = atlas.above_oblique(points_mm)
        oblique = _shift(above, _share_of_lung(side, (Lobe.RLL, Lobe.LLL)))
        atlas = replace(atlas, oblique_shift=oblique)
        return atlas.with_horizontal(points_mm[above >= oblique])

    def with_horizontal(self, upper_mm: Float[np.ndarray, "n 3"]) -> "FittedAtlas":
        """The same atlas, its horizontal fissure fitted to the voxels that lie above the oblique one."""
        if self.side is Side.LEFT or not len(upper_mm):
            return self
        share = SHARE_OF_BOTH_LUNGS[Lobe.RML] / (SHARE_OF_BOTH_LUNGS[Lobe.RML] + SHARE_OF_BOTH_LUNGS[Lobe.RUL])
        above = replace(self, horizontal_shift=0.0).above_horizontal(upper_mm)
        return replace(self, horizontal_shift=_shift(above, share))

    @property
    def size_mm(self) -> Float[np.ndarray, " 3"]:
        """Width, depth and height of the lung."""
        size: Float[np.ndarray, " 3"] = np.subtract(self.highest_mm, self.lowest_mm)
        return size

    @property
    def oblique_slope(self) -> float:
        """Rise of the oblique fissure from front to back, mm per mm."""
        _, depth, height = self.size_mm
        return float((_OBLIQUE_AT_BACK[self.side] - _OBLIQUE_AT_FRONT[self.side]) * height / depth)

    @property
    def horizontal_slope(self) -> float:
        """Rise of the horizontal fissure from front to back, mm per mm."""
        _, depth, height = self.size_mm
        return float(_HORIZONTAL_SLOPE * height / depth)

    def normalised(self, points_mm: Float[np.ndarray, "n 3"]) -> Normalised:
        """Height, depth and laterality of LPS positions."""
        low, high = np.array(self.lowest_mm), np.array(self.highest_mm)
        towards_left, depth, height = ((points_mm - low) / (high - low)).T
        return height, depth, towards_left if self.side is Side.LEFT else 1.0 - towards_left

    def above_oblique(self, points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """How far positions lie above the oblique fissure, in lung heights; negative below."""
        height, depth, laterality = self.normalised(points_mm)
        above: Float[np.ndarray, " n"] = height - _oblique_height(self.side, depth, laterality) - self.oblique_shift
        return above

    def above_horizontal(self, points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """How far positions lie above the horizontal fissure, in lung heights; negative below."""
        height, depth, _ = self.normalised(points_mm)
        above: Float[np.ndarray, " n"] = height - _horizontal_height(depth) - self.horizontal_shift
        return above

    def labels(self, points_mm: Float[np.ndarray, "n 3"]) -> UInt8[np.ndarray, " n"]:
        """The lobe of each LPS position in this lung, no fissure looked at."""
        horizontal = self.above_horizontal(points_mm) if self.side is Side.RIGHT else None
        return lobes_between(self.side, self.above_oblique(points_mm), horizontal)


def sample_of(lung: Bool[np.ndarray, "slices rows columns"], grid: Grid) -> Float[np.ndarray, "n 3"]:
    """LPS positions of an even sample of the voxels of a lung."""
    index = np.flatnonzero(lung)
    index = index[:: max(len(index) // _SAMPLE, 1)]
    return grid.to_patient_mm(np.stack(np.unravel_index(index, lung.shape), axis=1).astype(np.float64))


def lobes_between(
    side: Side, above_oblique: Float[np.ndarray, " n"], above_horizontal: Float[np.ndarray, " n"] | None
) -> UInt8[np.ndarray, " n"]:
    """The lobe at positions of one lung, told by the side of the fissures on which they lie."""
    lower, upper = (Lobe.LLL, Lobe.LUL) if side is Side.LEFT else (Lobe.RLL, Lobe.RUL)
    labels = np.where(above_oblique < 0, np.uint8(lower), np.uint8(upper))
    if above_horizontal is not None:
        labels[(above_oblique >= 0) & (above_horizontal < 0)] = Lobe.RML
    return labels


def _oblique_height(
    side: Side, depth: Float[np.ndarray, " n"], laterality: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    front, back = _OBLIQUE_AT_FRONT[side], _OBLIQUE_AT_BACK[side]
    return front + (back - front) * depth - _TWIST * (laterality - 0.5) * (depth - 0.55)


def _horizontal_height(depth: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return _HORIZONTAL + _HORIZONTAL_SLOPE * (depth - 0.35)


def _share_of_lung(side: Side, lower: tuple[Lobe, Lobe]) -> float:
    of_side = {lobe: share for lobe, share in SHARE_OF_BOTH_LUNGS.items() if lobe.side is side}
    return sum(share for lobe, share in of_side.items() if lobe in lower) / sum(of_side.values())


def _shift(above: Float[np.ndarray, " n"], share: float) -> float:
    """Shift of a surface that leaves `share` of the voxels below it, within the limits."""
    return float(np.clip(np.quantile(above, share), -_LARGEST_SHIFT, _LARGEST_SHIFT))


def _triple(point: Float[np.ndarray, " 3"]) -> tuple[float, float, float]:
    x, y, z = (float(c) for c in point)
    return x, y, z
