"""How an invented patient breathes, and how the body lies at each moment of it.

The diaphragm of a person at rest moves by 1 to 2 cm (AAPM report 91, 2006; recalled), more slowly around
end-expiration. The course over time is that of Lujan et al., Med Phys 1999;26:715 (recalled): the height falls with the
fourth power of a cosine. The whole cycle is one number, the share of the way from end-expiration to end-inspiration;
in and out go the same way (no hysteresis, a simplification of ours).

The displacement is largest at the diaphragm and below, falls to zero at the apex, and dies out towards the wall of the
chest and outside the trunk; the front of the chest rises by a few millimetres. The shape of that field is ours.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from inference.geometry import Grid

_POWER = 4
MEAN_INSPIRATION = 3.0 / 8.0
"""Mean of the breath over time, as a share of its way: that of the fourth power of a cosine."""
_INSTANTS = 4096
_WALL_START, _WALL_END = 0.88, 1.06
"""Between these parts of the rib cage's half axes the motion dies out."""
_SPINE = 0.78
"""Where the spine, which stands still, lies behind the middle, by the half depth of the rib cage."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the breathing cycle."""

    phase: float
    """0 ... 1, as for `Breathing.inspiration`."""
    weight: float
    """Share of the time."""


@dataclass(frozen=True, slots=True)
class Breathing:
    """Free breathing at rest, and how the body of the grid stands to it.

    Phase runs from 0 to 1 in one breath. At phase 0 diaphragm and chest pass the mean of their way, breathing in. A
    patient whose CT was made in free breathing lies like this on the body grid.
    """

    diaphragm_mm: float
    """Way of the diaphragm from end-expiration to end-inspiration."""
    anterior_mm: float
    """Way of the front of the chest."""
    apex_mm: float
    """Height z, LPS, of the top of the lungs, where nothing moves."""
    dome_mm: float
    """Height z, LPS, of the diaphragm on the body grid; all below moves as one."""
    cage_middle_mm: tuple[float, float]
    """Middle of the rib cage, LPS x and y."""
    cage_half_mm: tuple[float, float]
    """Half width and half depth of the rib cage; nothing moves outside it."""
    period_s: float = 4.0
    held_mm: float = 0.0
    """How much lower the diaphragm stands on the body grid than in the mean of free breathing: 0 for a CT in free
    breathing, some centimetres for a CT at held deep inspiration."""

    @property
    def is_held(self) -> bool:
        """Whether the body of the grid holds its breath, so that its CT shows no motion."""
        return self.held_mm > 0

    def inspiration(self, phase: float) -> float:
        """Share of the way from end-expiration (0) to end-inspiration (1)."""
        start = -math.acos(MEAN_INSPIRATION ** (1.0 / _POWER)) / math.pi
        return math.cos(math.pi * (phase + start)) ** _POWER

    def rise_mm(self, phase: float) -> float:
        """How much higher the diaphragm stands at a phase than on the body grid."""
        return self.held_mm + self.diaphragm_mm * (MEAN_INSPIRATION - self.inspiration(phase))

    def phases(self, count: int) -> tuple[Phase, ...]:
        """The cycle in parts of equal way, from end-expiration to end-inspiration, with their shares of the time.

        Each part stands at its mean position, so the weighted mean of all is the mean of breathing.

        Args:
            count: number of parts, 5 to 10 for an average over breathing.
        """
        way = np.cos(np.pi * (np.arange(_INSTANTS) + 0.5) / _INSTANTS) ** _POWER
        parts = np.minimum((way * count).astype(int), count - 1)
        weights = np.bincount(parts, minlength=count) / _INSTANTS
        means = np.bincount(parts, weights=way, minlength=count) / np.maximum(weights * _INSTANTS, 1)
        return tuple(Phase(self._phase_at(float(m)), float(w)) for m, w in zip(means, weights, strict=True))

    def _phase_at(self, inspiration: float) -> float:
        half_cycle = math.acos(min(inspiration, 1.0) ** (1.0 / _POWER)) / math.pi
        return half_cycle + math.acos(MEAN_INSPIRATION ** (1.0 / _POWER)) / math.pi


def displaced(
    volume: Float32[np.ndarray, "slices rows columns"],
    grid: Grid,
    breathing: Breathing,
    phase: float,
    *,
    keeps_sum: bool = False,
) -> Float32[np.ndarray, "slices rows columns"]:
    """A volume of the body as it lies at one phase of breathing.

    Args:
        volume: on `grid`, as the body lies there.
        grid: axial, head first, supine; any spacing.
        breathing: of the person.
        phase: 0 ... 1; 0 gives the volume back where the body grid shows free breathing.
        keeps_sum: whether the volume is an amount per millilitre, such as activity, which thins out where the body is
            stretched; false for CT numbers.

    Returns:
        A new volume on the same grid, by linear interpolation.
    """
    up_mm = breathing.rise_mm(phase)
    if abs(up_mm) < 1e-6:
        return volume.copy()
    share, thinning = _along_body(breathing, grid)
    across, front = _across_body(breathing, grid)
    back_mm = breathing.anterior_mm * up_mm / breathing.diaphragm_mm
    up, back = up_mm / grid.spacing_mm[0], back_mm / grid.spacing_mm[1]
    across_slope, front_slope = (np.gradient(plane, grid.spacing_mm[1], axis=0) for plane in (across, front))
    rows, columns = np.ogrid[: grid.shape[1], : grid.shape[2]]
    flat, size, moved = volume.reshape(-1), grid.shape[1] * grid.shape[2], np.empty_like(volume)
    for k in range(grid.shape[0]):
        height, low = _between(k - up * share[k] * across, grid.shape[0])
        depth, low_row = _between(rows - back * share[k] * front, grid.shape[1])
        at = low * size + low_row * grid.shape[2] + columns
        lower = flat[at] + depth * (flat[at + grid.shape[2]] - flat[at])
        at += size
        upper = flat[at] + depth * (flat[at + grid.shape[2]] - flat[at])
        moved[k] = lower + height * (upper - lower)
        if keeps_sum:
            straight = (1.0 + up_mm * thinning[k] * across) * (1.0 - back_mm * share[k] * front_slope)
            moved[k] *= straight + (up_mm * back_mm * thinning[k] * share[k]) * across_slope * front
    return moved


def _between(
    place: Float[np.ndarray, "rows columns"], count: int
) -> tuple[Float32[np.ndarray, "rows columns"], Int64[np.ndarray, "rows columns"]]:
    """The lower of the two voxels that a place lies between, and its share of the way to the other."""
    low = np.clip(np.floor(place).astype(np.int64), 0, count - 2)
    return np.clip(place - low, 0.0, 1.0).astype(np.float32), low


def _along_body(breathing: Breathing, grid: Grid) -> tuple[Float32[np.ndarray, " k"], Float32[np.ndarray, " k"]]:
    """Share of the diaphragm's way at each slice, 0 at the apex to 1 at the dome, and how it falls per mm upwards."""
    length_mm = breathing.apex_mm - breathing.dome_mm
    column = grid.cropped((slice(0, grid.shape[0]), slice(0, 1), slice(0, 1)))
    t = np.clip((breathing.apex_mm - column.coordinates_mm()[2].ravel()) / length_mm, 0.0, 1.0)
    return _smooth(t).astype(np.float32), (6.0 * t * (1.0 - t) / length_mm).astype(np.float32)


def _across_body(breathing: Breathing, grid: Grid) -> tuple[Float32[np.ndarray, "r c"], Float32[np.ndarray, "r c"]]:
    """Share of the displacement at each place of an axial plane, and how much of it the front of the chest takes."""
    x, y, _ = grid.cropped((slice(0, 1), slice(0, grid.shape[1]), slice(0, grid.shape[2]))).coordinates_mm()
    (middle_x, middle_y), (wide, deep) = breathing.cage_middle_mm, breathing.cage_half_mm
    right, back = (x[0] - middle_x) / wide, (y[0] - middle_y) / deep
    inside = _smooth((_WALL_END - np.hypot(right, back)) / (_WALL_END - _WALL_START))
    spine = _smooth((np.hypot(2.2 * right, back - _SPINE) - 0.25) / 0.25)
    across = inside * spine
    return across.astype(np.float32), (across * np.clip(0.5 - 0.5 * back, 0.0, 1.0)).astype(np.float32)


def _smooth(share: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """From 0 to 1 without a kink."""
    share = np.clip(share, 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share))
