"""The shapes of the digital thorax, as formulas in LPS millimetres.

Every function takes coordinates x (to the left), y (to posterior) and z (to superior) that broadcast together and
answers for each position, so any grid shows the same invented patient. The carina lies near the origin. Dimensions are
chosen by hand for a plausible look; only the volume shares of the lobes, the slope of density with gravity and the
perfusion per tissue follow published means (cited where they are used).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from inference.anatomy import Lobe, Side

Coordinate = Float[np.ndarray, "..."]
Position = tuple[float, float, float]

AIR_HU, FAT_HU, SOFT_TISSUE_HU, LIVER_HU, BLOOD_HU, TUMOUR_HU = -1000.0, -95.0, 42.0, 58.0, 45.0, 35.0
SPONGY_BONE_HU, CORTICAL_BONE_HU, COUCH_HU, EMPHYSEMA_HU = 210.0, 620.0, -620.0, -940.0
LUNG_APEX_MM = {Side.RIGHT: 116.0, Side.LEFT: 119.0}
FISSURE_HALF_WIDTH_MM = 0.7


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """An ellipsoid along the patient axes."""

    centre_mm: Position
    radii_mm: Position

    def level(self, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
        """0 at the centre, 1 on the surface, above 1 outside."""
        parts = zip((x, y, z), self.centre_mm, self.radii_mm, strict=True)
        return np.sqrt(sum((((p - c) / r) ** 2 for p, c, r in parts), start=np.zeros(())))


@dataclass(frozen=True, slots=True)
class Tube:
    """A straight tapering tube with round ends."""

    start_mm: Position
    end_mm: Position
    start_radius_mm: float
    end_radius_mm: float

    def depth_mm(self, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
        """Distance below the surface of the tube; negative outside."""
        start, axis = np.array(self.start_mm), np.subtract(self.end_mm, self.start_mm)
        dx, dy, dz = x - start[0], y - start[1], z - start[2]
        along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / float(axis @ axis), 0.0, 1.0)
        distance = np.sqrt((dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2)
        return np.asarray(self.start_radius_mm + along * (self.end_radius_mm - self.start_radius_mm) - distance)


HEART = Ellipsoid((27.0, -28.0, -38.0), (54.0, 44.0, 52.0))
TUMOUR = Ellipsoid((-86.0, 46.0, -22.0), (13.0, 13.0, 13.0))
"""Right lower lobe, posterior: right, back and below the middle, so that every mirroring moves it."""
LOW_REGION = Ellipsoid((66.0, -24.0, 70.0), (46.0, 50.0, 40.0))
"""Cut with the left upper lobe: left, front and top."""
HILUM_MM: dict[Side, Position] = {Side.RIGHT: (-40.0, 22.0, 8.0), Side.LEFT: (42.0, 24.0, 4.0)}

AORTA = (
    Tube((-12.0, -20.0, -10.0), (-12.0, -20.0, 45.0), 14.0, 14.0),
    Tube((-12.0, -20.0, 45.0), (14.0, -2.0, 62.0), 13.0, 12.0),
    Tube((14.0, -2.0, 62.0), (27.0, 46.0, 42.0), 12.0, 12.0),
    Tube((27.0, 46.0, 42.0), (20.0, 50.0, -400.0), 12.0, 10.0),
)
AIRWAY = (
    Tube((0.0, 18.0, 200.0), (0.0, 20.0, 36.0), 8.5, 8.5),
    Tube((0.0, 20.0, 36.0), (-42.0, 23.0, 8.0), 7.5, 6.5),
    Tube((0.0, 20.0, 36.0), (45.0, 25.0, 4.0), 7.0, 6.0),
    Tube((-24.0, 22.0, 20.0), (-58.0, 12.0, 38.0), 5.0, 3.5),
    Tube((-42.0, 23.0, 8.0), (-58.0, 34.0, -34.0), 5.5, 3.5),
    Tube((40.0, 25.0, 7.0), (62.0, 2.0, 30.0), 5.0, 3.5),
    Tube((45.0, 25.0, 4.0), (60.0, 38.0, -34.0), 5.0, 3.5),
)
AIRWAY_WALL_MM = 2.2
"""Thicker than life, so that the wall is still closed on a coarse grid."""


def lobe_labels(x: Coordinate, y: Coordinate, z: Coordinate) -> UInt8[np.ndarray, "..."]:
    """The lobe at each position, 0 outside the lungs; airways are not cut out.

    The fissures were placed so that the lobes have the mean shares of supine volunteers: RUL 17.9, RML 9.3, RLL 26.5,
    LUL 23.1, LLL 23.2 % (PMC7490509, table 3).
    """
    right, left = lung(Side.RIGHT, x, y, z), lung(Side.LEFT, x, y, z)
    above_oblique = {side: oblique_fissure_mm(side, x, y, z) > 0 for side in Side}
    upper_right = np.where(horizontal_fissure_mm(x, y, z) > 0, Lobe.RUL, Lobe.RML)
    labels = np.where(right, np.where(above_oblique[Side.RIGHT], upper_right, Lobe.RLL), 0)
    return np.where(left, np.where(above_oblique[Side.LEFT], Lobe.LUL, Lobe.LLL), labels).astype(np.uint8)


def lung(side: Side, x: Coordinate, y: Coordinate, z: Coordinate) -> Bool[np.ndarray, "..."]:
    """One lung: a rounded column with an apex, without mediastinum and heart, above its half of the diaphragm."""
    sign = -1.0 if side is Side.RIGHT else 1.0
    half_width = 66.0 if side is Side.RIGHT else 62.0
    apex = LUNG_APEX_MM[side]
    taper = np.clip((z + 20.0) / (apex + 20.0), 0.0, None) ** 2.2
    column = (np.abs(x - sign * 64.0) / half_width) ** 2.3 + (np.abs(y - 2.0) / 84.0) ** 2.3 + taper < 1.0
    mediastinum = 11.0 + 15.0 * np.exp(-(((y - 15.0) / 38.0) ** 2)) + 6.0 * np.exp(-(((y - 75.0) / 20.0) ** 2))
    free = (sign * x > mediastinum) & (HEART.level(x, y, z) > 1.0) & (vertebra_level(x, y) > 1.2)
    return np.asarray(column & free & (z > diaphragm_mm(side, x, y)) & ~aorta(x, y, z, margin_mm=2.0))


def diaphragm_mm(side: Side, x: Coordinate, y: Coordinate) -> Coordinate:
    """Height z of the diaphragm; the right half stands higher, the recesses reach deepest at the back."""
    sign, top = (-1.0, -58.0) if side is Side.RIGHT else (1.0, -72.0)
    radial = ((x - sign * 60.0) / 70.0) ** 2 + ((y + 5.0) / 90.0) ** 2
    return np.maximum(top - 58.0 * radial**1.3 - 0.12 * y, -139.0)


def oblique_fissure_mm(side: Side, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Signed distance from the oblique fissure; positive above and in front of it."""
    height, slope = (17.0, 1.05) if side is Side.RIGHT else (11.0, 1.15)
    bulge = 7.0 * np.cos(x / 40.0) + 4.0 * np.sin(y / 30.0)
    return np.asarray((z - height - slope * (y - 10.0) - bulge) / np.sqrt(1.0 + slope**2))


def horizontal_fissure_mm(x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Signed distance from the right lung's horizontal fissure; positive above it."""
    return z - 11.0 - 0.10 * (y + 40.0) - 5.0 * np.cos((x + 70.0) / 45.0)


def fissure_visibility(
    x: Coordinate, y: Coordinate, z: Coordinate, labels: UInt8[np.ndarray, "..."], *, half_width_mm: float
) -> Coordinate:
    """1 on a fissure, falling to 0 at `half_width_mm` from it; pleura is thin, so it fades when wider."""
    right_upper = (labels == Lobe.RUL) | (labels == Lobe.RML)
    distance = np.full(labels.shape, np.inf)
    for side, lobes in ((Side.RIGHT, (Lobe.RUL, Lobe.RML, Lobe.RLL)), (Side.LEFT, (Lobe.LUL, Lobe.LLL))):
        near = np.abs(oblique_fissure_mm(side, x, y, z))
        distance = np.where(np.isin(labels, lobes), near, distance)
    distance = np.where(right_upper, np.minimum(distance, np.abs(horizontal_fissure_mm(x, y, z))), distance)
    return np.clip(1.0 - distance / half_width_mm, 0.0, 1.0) * min(1.0, FISSURE_HALF_WIDTH_MM / half_width_mm)


def parenchyma_hu(x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Smooth lung density: about -850 HU in front to -785 HU at the back, emphysema in the low region.

    The slope makes tissue per volume rise by about 2.6 % per cm towards the dependent side, the slope of perfusion in
    supine lungs (PMC4294417).
    """
    gravity = -818.0 + 0.37 * y - 0.04 * z
    texture = 5.0 * np.sin(x / 11.0 + 1.0) * np.sin(y / 13.0) + 4.0 * np.sin(z / 9.0 + x / 17.0) + 3.0 * np.sin(y / 7.0)
    return np.asarray(gravity + texture + (EMPHYSEMA_HU - gravity) * low_weight(x, y, z))


def low_weight(x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """1 in the low region, falling to 0 within about 5 mm of it; only left of the midline and above the fissure."""
    edge = np.clip((1.0 - LOW_REGION.level(x, y, z)) * 10.0 + 1.0, 0.0, 1.0)
    fissure = np.clip(oblique_fissure_mm(Side.LEFT, x, y, z) / 5.0 + 1.0, 0.0, 1.0)
    return np.where(x > 0, edge * fissure, 0.0)


def relative_perfusion(x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Perfusion before normalisation: tissue fraction × perfusion per tissue × losses.

    Perfusion per tissue peaks at mid-height by 9 % in supine lungs (PMC4294417). The low region has lost half of what
    its tissue would carry, the tumour 95 %; both losses are inventions.
    """
    tissue = (parenchyma_hu(x, y, z) - AIR_HU) / 1000.0
    per_tissue = 1.0 + 0.09 * np.clip(1.0 - ((y - 2.0) / 89.0) ** 2, 0.0, 1.0)
    tumour = 1.0 - 0.95 * np.clip((1.0 - TUMOUR.level(x, y, z)) * 4.0 + 1.0, 0.0, 1.0)
    return tissue * per_tissue * (1.0 - 0.5 * low_weight(x, y, z)) * tumour


def aorta(x: Coordinate, y: Coordinate, z: Coordinate, *, margin_mm: float = 0.0) -> Bool[np.ndarray, "..."]:
    """Ascending aorta, arch and descending aorta left of the spine."""
    depth = np.maximum.reduce([tube.depth_mm(x, y, z) for tube in AORTA])
    return np.asarray(depth > -margin_mm)


def vertebra_level(x: Coordinate, y: Coordinate) -> Coordinate:
    """0 at the axis of the spine, 1 on the surface of the vertebral bodies."""
    return np.sqrt((x / 21.0) ** 2 + ((y - 74.0) / 19.0) ** 2)


def body_depth_mm(x: Coordinate, y: Coordinate) -> Coordinate:
    """Roughly the depth below the skin; negative outside. The arms are up and not drawn."""
    return np.asarray((1.0 - ((np.abs(x) / 168.0) ** 2.3 + (np.abs(y - 2.0) / 116.0) ** 2.3) ** (1 / 2.3)) * 130.0)


def bone(x: Coordinate, y: Coordinate, z: Coordinate) -> Bool[np.ndarray, "..."]:
    """Ribs descending to the front, sternum and spine with discs."""
    shell = ((np.abs(x) / 137.0) ** 2.3 + (np.abs(y - 2.0) / 97.0) ** 2.3) ** (1 / 2.3)
    rib = (np.abs(shell - 1.0) < 0.035) & (np.sin(2 * np.pi * (z - 0.45 * y) / 27.0) > 0.25) & (y > -80.0)
    sternum = (np.abs(x) < 17.0) & (np.abs(y + 96.0) < 5.0) & (z > -70.0) & (z < 95.0)
    spine = (vertebra_level(x, y) < 1.0) & (np.sin(2 * np.pi * z / 25.0) > -0.85)
    process = (np.abs(x) < 4.0) & (y > 90.0) & (y < 108.0) & (np.sin(2 * np.pi * z / 25.0) > 0.0)
    return np.asarray(rib | sternum | spine | process)


def couch(x: Coordinate, y: Coordinate) -> Bool[np.ndarray, "..."]:
    """A flat treatment couch under the back."""
    return np.asarray((np.abs(x) < 200.0) & (np.abs(y - 126.0) < 7.0))
