"""Bring the lungs of a build to given volumes: set diaphragm and fissures, and if need be the size of the chest.

All of these are monotone, so each is a quantile over sample positions and needs no search. The sample is spread
evenly over the space of the build before it is bent and stretched, so the volumes take the bending into account.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from inference.anatomy import Side
from inference.phantom.anatomy import diaphragm_mm, horizontal_fissure_mm, lung, oblique_fissure_mm
from inference.phantom.build import Sides, ThoraxBuild
from inference.phantom.vessels import PLASTIC_NUMBER

_SAMPLES = 60_000
_REACH_MM = ((-165.0, 165.0), (-115.0, 115.0), (-165.0, 150.0))
_FAR_MM = 1e4
_STEPS = 20
Places = tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]


@dataclass(frozen=True, slots=True)
class LungSizes:
    """What the lungs of a build are to measure, airways and large vessels left out."""

    right_ml: float
    left_ml: float
    lower_of_right: float
    """Share of the lower lobe in the right lung."""
    middle_of_upper_right: float
    """Share of the middle lobe in what lies above the right oblique fissure."""
    lower_of_left: float


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A build with the sizes asked for."""

    build: ThoraxBuild
    places: Places
    """Sample of the lungs, evenly spread, in the space of the standard patient."""


def fitted(build: ThoraxBuild, sizes: LungSizes, *, domes_mm: tuple[float, float]) -> Fitted:
    """The build with lungs and lobes of the sizes.

    Args:
        build: everything else of the patient.
        sizes: what to reach.
        domes_mm: the lowest and the highest mean height of the diaphragm that is plausible. Where the volume would ask
            for another one, chest and trunk become narrower or wider and less or more deep.
    """
    sample = {side: _column_places(build, side) for side in Side}
    heights = {side: np.sort(_above_diaphragm_mm(build, sample[side]))[::-1] for side in Side}
    goal_ml = Sides(sizes.right_ml, sizes.left_ml)
    for _ in range(_STEPS):
        domes = {side: _dome_mm(heights[side], goal_ml.of(side) / _sample_ml(build)) for side in Side}
        mean = 0.5 * sum(domes.values())
        if domes_mm[0] <= mean <= domes_mm[1]:
            break
        change = 1.012 if mean < domes_mm[0] else 1 / 1.012
        build = replace(build, width=build.width * change, depth=build.depth * change)
    build = replace(build, diaphragm_mm=Sides(domes[Side.RIGHT], domes[Side.LEFT]))
    inside = {side: _where(sample[side], lung(build, side, *sample[side])) for side in Side}
    x, y, z = np.hstack([np.array(inside[side]) for side in Side])
    return Fitted(_with_fissures(build, sizes, inside), (x, y, z))


def _with_fissures(build: ThoraxBuild, sizes: LungSizes, inside: dict[Side, Places]) -> ThoraxBuild:
    right, left = (replace(build.oblique(side), height_mm=0.0) for side in (Side.RIGHT, Side.LEFT))
    above_right = oblique_fissure_mm(right, *inside[Side.RIGHT]) * math.hypot(1.0, right.slope)
    above_left = oblique_fissure_mm(left, *inside[Side.LEFT]) * math.hypot(1.0, left.slope)
    right = replace(right, height_mm=float(np.quantile(above_right, sizes.lower_of_right)))
    left = replace(left, height_mm=float(np.quantile(above_left, sizes.lower_of_left)))
    upper = _where(inside[Side.RIGHT], above_right > right.height_mm)
    flat = replace(build.horizontal, height_mm=0.0)
    level = float(np.quantile(horizontal_fissure_mm(flat, *upper), sizes.middle_of_upper_right))
    return replace(build, right_oblique=right, left_oblique=left, horizontal=replace(flat, height_mm=level))


def _column_places(build: ThoraxBuild, side: Side) -> Places:
    """Sample positions in one lung if the diaphragm stood as low as it can, in the standard patient's space."""
    low, high = np.array(_REACH_MM).T
    steps = PLASTIC_NUMBER ** -np.arange(1.0, 4.0)
    spread = low + (high - low) * ((0.5 + np.arange(1.0, _SAMPLES + 1.0)[:, np.newaxis] * steps) % 1.0)
    places = build.deformation.moved(*spread.T.astype(np.float32))
    low = replace(build, diaphragm_mm=Sides(-_FAR_MM, -_FAR_MM))
    return _where(places, lung(low, side, *places))


def _above_diaphragm_mm(build: ThoraxBuild, places: Places) -> Float32[np.ndarray, " n"]:
    """Height of the dome at which the diaphragm would pass through each place."""
    side = Side.RIGHT if places[0].mean() < 0 else Side.LEFT
    far = replace(build, diaphragm_mm=Sides(_FAR_MM, _FAR_MM))
    fall = _FAR_MM - diaphragm_mm(far, side, *(p.astype(np.float64) for p in places[:2]))
    return np.asarray(places[2] + fall, np.float32)


def _dome_mm(falling: Float32[np.ndarray, " n"], count: float) -> float:
    """The dome above which `count` of the sample lie; the lowest there is if that is more than all."""
    return float(np.interp(count, np.arange(1, len(falling) + 1), falling))


def _sample_ml(build: ThoraxBuild) -> float:
    box_mm3 = math.prod(high - low for low, high in _REACH_MM)
    return box_mm3 / _SAMPLES * build.width * build.depth * build.height / 1000.0


def _where(places: Places, chosen: np.ndarray) -> Places:
    return places[0][chosen], places[1][chosen], places[2][chosen]
