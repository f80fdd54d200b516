"""A lobar atlas made from published numbers: where the fissures of an average lung run.

Each lung has coordinates of its own: height (0 at the lowest recess, 1 at the apex), depth (0 front, 1 back) and
laterality (0 towards the mediastinum, 1 at the ribs). Fissures are surfaces in these coordinates; fitting the atlas to
a patient is finding the extent of the lung, and then moving each fissure up or down, within anatomical limits, until
the lobes have their published shares of the lung.

So a lobe's share says nothing about this patient as long as no limit was reached, and no fissure of the CT is looked
at. A lung that the scan cuts off, or that lost a lobe, is fitted as if it were whole.

Shares: healthy volunteers, supine, inspiration (n=32, PMC7490509 table 3). Courses: the oblique fissures start at the
back at the level of T4 to T5, some 6 cm below the apex, and reach the diaphragm behind the anterior chest wall; their
upper part faces laterally, their lower part medially (Proto and Ball, AJR 1983); the horizontal fissure lies at the
level of the fourth rib in front and slopes a little down to the front.
"""

from dataclasses import dataclass

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
        index = np.flatnonzero(lung)
        index = index[:: max(len(index) // _SAMPLE, 1)]
        points_mm = grid.to_patient_mm(np.stack(np.unravel_index(index, lung.shape), axis=1).astype(np.float64))
        lowest, highest = np.percentile(points_mm, [0.5, 99.5], axis=0)
        highest = np.maximum(highest, lowest + 1.0)
        atlas = cls(side, _triple(lowest), _triple(highest))
        place = atlas.normalised(points_mm)
        above = place[0] - _oblique_height(side, place[1], place[2])
        oblique = _shift(above, _share_of_lung(side, (Lobe.RLL, Lobe.LLL)))
        horizontal = 0.0
        upper = above >= oblique
        if side is Side.RIGHT and upper.any():
            share = SHARE_OF_BOTH_LUNGS[Lobe.RML] / (SHARE_OF_BOTH_LUNGS[Lobe.RML] + SHARE_OF_BOTH_LUNGS[Lobe.RUL])
            horizontal = _shift((place[0] - _horizontal_height(place[1]))[upper], share)
        return cls(side, atlas.lowest_mm, atlas.highest_mm, oblique, horizontal)

    def normalised(self, points_mm: Float[np.ndarray, "n 3"]) -> Normalised:
        """Height, depth and laterality of LPS positions."""
        low, high = np.array(self.lowest_mm), np.array(self.highest_mm)
        towards_left, depth, height = ((points_mm - low) / (high - low)).T
        return height, depth, towards_left if self.side is Side.LEFT else 1.0 - towards_left

    def labels(self, points_mm: Float[np.ndarray, "n 3"]) -> UInt8[np.ndarray, " n"]:
        """The lobe of each LPS position in this lung."""
        height, depth, laterality = self.normalised(points_mm)
        is_lower = height < _oblique_height(self.side, depth, laterality) + self.oblique_shift
        if self.side is Side.LEFT:
            return np.where(is_lower, np.uint8(Lobe.LLL), np.uint8(Lobe.LUL))
        is_middle = height < _horizontal_height(depth) + self.horizontal_shift
        upper = np.where(is_middle, np.uint8(Lobe.RML), np.uint8(Lobe.RUL))
        return np.where(is_lower, np.uint8(Lobe.RLL), upper)


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
