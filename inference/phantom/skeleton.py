"""The bones of the digital thorax: ribs, sternum and spine, in the space of the standard patient."""

import numpy as np
from jaxtyping import Bool

from inference.phantom.build import ThoraxBuild
from inference.phantom.shapes import Coordinate

_RIB_PERIOD_MM, _RIB_SLOPE = 27.0, 0.45
_DISC_PERIOD_MM = 25.0
_CANAL_MM = 96.0
"""Where the spinal canal lies behind the middle of the body."""


def vertebra_level(x: Coordinate, y: Coordinate) -> Coordinate:
    """0 at the axis of the spine, 1 on the surface of the vertebral bodies."""
    return np.sqrt((x / 21.0) ** 2 + ((y - 74.0) / 19.0) ** 2)


def bone(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate) -> Bool[np.ndarray, "..."]:
    """Ribs descending to the front, sternum and spine with discs."""
    shell = rib_cage_level(build, x, y, z)
    rib = (np.abs(shell - 1.0) < 0.035) & (_rib_wave(y, z) > 0.25) & (y > -80.0)
    sternum = (np.abs(x) < 17.0) & (np.abs(y + 96.0) < 5.0) & (z > -70.0) & (z < 95.0)
    if build.is_tapered:
        rib &= (z < _top_mm(build) - 12.0) & ((np.abs(x) > 22.0) | (y < 0.0))
        sternum = (np.abs(x) < 17.0) & (np.abs(shell - 1.0) < 0.05) & (y < 0.0) & (z > -70.0) & (z < 85.0)
    vertebra = np.sin(2 * np.pi * z / _DISC_PERIOD_MM)
    spine = (vertebra_level(x, y) < 1.0) & (vertebra > -0.85)
    process = (np.abs(x) < 4.0) & (y > 90.0) & (y < 108.0) & (vertebra > 0.0)
    if build.is_tapered:
        ring = np.hypot(x, y - _CANAL_MM)
        process = (process & (ring > 8.0)) | ((ring > 8.0) & (ring < 13.0) & (vertebra > -0.5))
        spine &= ring > 8.0
        rib |= _shoulder_blade(x, y, z, shell)
    return np.asarray(rib | sternum | spine | process)


def marrow(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate) -> Bool[np.ndarray, "..."]:
    """Where bone is spongy: inside the vertebral bodies and, in a patient drawn in detail, the ribs and sternum."""
    spongy = vertebra_level(x, y) < 0.85
    if build.is_tapered:
        core = np.abs(rib_cage_level(build, x, y, z) - 1.0) < np.where(np.abs(x) < 14.0, 0.034, 0.02)
        spongy = spongy | (core & (y < 60.0) & ((_rib_wave(y, z) > 0.5) | (np.abs(x) < 14.0)))
    return np.asarray(spongy)


def rib_cage_level(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """1 in the middle of the ribs, less inside; tapered, it closes like a dome over the tops of the lungs."""
    around = (np.abs(x) / 137.0) ** 2.3 + (np.abs(y - 2.0) / 97.0) ** 2.3
    if build.is_tapered:
        around = around + cage_taper(build, _top_mm(build), z)
    return np.asarray(around ** (1 / 2.3))


def cage_taper(build: ThoraxBuild, top_mm: float, z: Coordinate) -> Coordinate:
    """How far the rib cage has closed at a height: 0 where it is widest, 1 at its top."""
    start, power = (-70.0, 2.4) if build.is_tapered else (-20.0, 2.2)
    return np.asarray(np.clip((z - start) / (top_mm - start), 0.0, None) ** power)


def _shoulder_blade(x: Coordinate, y: Coordinate, z: Coordinate, shell: Coordinate) -> Bool[np.ndarray, "..."]:
    """A thin triangle behind the upper ribs of each side, its tip below."""
    aside = np.abs(x)
    triangle = (z > -10.0) & (z < 112.0) & (aside > 62.0) & (aside < 72.0 + 0.55 * (z + 10.0)) & (y > 25.0)
    return np.asarray(triangle & (np.abs(shell - 1.06) < 0.018))


def _rib_wave(y: Coordinate, z: Coordinate) -> Coordinate:
    return np.asarray(np.sin(2 * np.pi * (z - _RIB_SLOPE * y) / _RIB_PERIOD_MM))


def _top_mm(build: ThoraxBuild) -> float:
    return max(build.apex_mm.right, build.apex_mm.left) + 20.0
