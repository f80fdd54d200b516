"""The shapes of the digital thorax, as formulas in millimetres.

Every function takes a `ThoraxBuild` and coordinates x (to the left), y (to posterior) and z (to superior) that
broadcast together, in the space of the standard patient (`ThoraxBuild.to_reference`), and answers for each position; so
any grid shows the same invented patient. The carina lies near the origin. Dimensions are chosen by hand for a plausible
look; only the volume shares of the lobes, the slope of density with gravity and the perfusion per tissue follow
published means (cited where they are used).
"""

import numpy as np
from jaxtyping import Bool, UInt8

from inference.anatomy import Lobe, Side
from inference.phantom.build import HorizontalFissure, ObliqueFissure, ThoraxBuild
from inference.phantom.great_vessels import AORTA, PULMONARY_ARTERIES, VEINS_AND_BRANCHES, inside
from inference.phantom.shapes import Coordinate, Position
from inference.phantom.skeleton import cage_taper, vertebra_level

AIR_HU, FAT_HU, SOFT_TISSUE_HU, LIVER_HU, TUMOUR_HU = -1000.0, -95.0, 42.0, 58.0, 35.0
SPONGY_BONE_HU, CORTICAL_BONE_HU, COUCH_HU, EMPHYSEMA_HU, GLAND_HU = 210.0, 620.0, -620.0, -940.0, 20.0
FISSURE_HALF_WIDTH_MM = 0.7
_HALF_DEPTH_MM = 84.0
HILUM_MM: dict[Side, Position] = {Side.RIGHT: (-40.0, 22.0, 8.0), Side.LEFT: (42.0, 24.0, 4.0)}


def lobe_labels(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate) -> UInt8[np.ndarray, "..."]:
    """The lobe at each position, 0 outside the lungs; airways are not cut out.

    The fissures of the standard build were placed so that the lobes have the mean shares of supine volunteers: RUL
    17.9, RML 9.3, RLL 26.5, LUL 23.1, LLL 23.2 % (PMC7490509, table 3).
    """
    x, y, z = np.broadcast_arrays(x, y, z)
    labels = np.zeros(x.shape, dtype=np.uint8)
    for side, lower, upper in ((Side.RIGHT, Lobe.RLL, Lobe.RUL), (Side.LEFT, Lobe.LLL, Lobe.LUL)):
        in_lung = lung(build, side, x, y, z)
        place = x[in_lung], y[in_lung], z[in_lung]
        upper_part = np.full(place[0].shape, upper, dtype=np.uint8)
        if side is Side.RIGHT:
            upper_part[horizontal_fissure_mm(build.horizontal, *place) <= 0] = Lobe.RML
        labels[in_lung] = np.where(oblique_fissure_mm(build.oblique(side), *place) > 0, upper_part, lower)
    for lobe in build.absent:
        labels[labels == lobe] = 0
    return labels


def lung(build: ThoraxBuild, side: Side, x: Coordinate, y: Coordinate, z: Coordinate) -> Bool[np.ndarray, "..."]:
    """One lung: a rounded column with an apex, without mediastinum and heart, above its half of the diaphragm.

    A mediastinum drawn to one side takes the inner border of both lungs along; the ribs stay.
    """
    x, y, z = np.broadcast_arrays(x, y, z)
    centre, half_width = _column(build, side)
    near = (np.abs(x - centre) < half_width) & (np.abs(y - 2.0) < _HALF_DEPTH_MM) & (z < build.apex_mm.of(side))
    found = np.zeros(x.shape, dtype=bool)
    found[near] = _in_lung(build, side, x[near], y[near], z[near])
    return found


def _column(build: ThoraxBuild, side: Side) -> tuple[float, float]:
    """Middle and half width of one half of the rib cage, as far as the mediastinum leaves it."""
    sign = -1.0 if side is Side.RIGHT else 1.0
    shift = build.mediastinum_shift_mm
    return sign * 64.0 + shift / 2, build.lung_half_width_mm.of(side) - sign * shift / 2


def _in_lung(build: ThoraxBuild, side: Side, x: Coordinate, y: Coordinate, z: Coordinate) -> Bool[np.ndarray, "..."]:
    """As `lung`, for positions that may well lie in it."""
    sign = -1.0 if side is Side.RIGHT else 1.0
    shift = build.mediastinum_shift_mm
    centre, half_width = _column(build, side)
    taper = cage_taper(build, build.apex_mm.of(side), z)
    column = (np.abs(x - centre) / half_width) ** 2.3 + (np.abs(y - 2.0) / _HALF_DEPTH_MM) ** 2.3 + taper < 1.0
    narrow = build.mediastinum_mm
    mediastinum = narrow + 15.0 * np.exp(-(((y - 15.0) / 38.0) ** 2)) + 6.0 * np.exp(-(((y - 75.0) / 20.0) ** 2))
    free = (sign * (x - shift) > mediastinum) & (vertebra_level(x, y) > 1.2)
    outside_heart = build.heart.level(x - shift, y, z) > 1.0
    above = z > diaphragm_mm(build, side, x, y)
    return np.asarray(column & free & outside_heart & above & ~great_vessels(build, x, y, z, margin_mm=2.0))


def diaphragm_mm(build: ThoraxBuild, side: Side, x: Coordinate, y: Coordinate) -> Coordinate:
    """Height z of the diaphragm; the right half stands higher, the recesses reach deepest at the back."""
    sign = -1.0 if side is Side.RIGHT else 1.0
    radial = ((x - sign * 60.0) / 70.0) ** 2 + ((y + 5.0) / 90.0) ** 2
    return np.maximum(build.diaphragm_mm.of(side) - 58.0 * radial**1.3 - 0.12 * y, -139.0)


def oblique_fissure_mm(fissure: ObliqueFissure, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Signed distance from an oblique fissure; positive above and in front of it."""
    fold = fissure.bulge_mm * np.cos(x / 40.0) + fissure.wave_mm * np.sin(y / 30.0)
    twist = fissure.twist * (np.abs(x) - 70.0) * (y - 10.0) / 80.0
    height = z - fissure.height_mm - fissure.slope * (y - 10.0) - fold - twist
    return np.asarray(height / np.sqrt(1.0 + fissure.slope**2))


def horizontal_fissure_mm(fissure: HorizontalFissure, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Signed distance from the right lung's horizontal fissure; positive above it."""
    level = z - fissure.height_mm - fissure.slope * (y + 40.0) - fissure.bulge_mm * np.cos((x + 70.0) / 45.0)
    return level - fissure.tilt * (x + 70.0)


def fissure_visibility(
    build: ThoraxBuild,
    x: Coordinate,
    y: Coordinate,
    z: Coordinate,
    labels: UInt8[np.ndarray, "..."],
    *,
    half_width_mm: float,
) -> Coordinate:
    """1 on a fissure, falling to 0 at `half_width_mm` from it; pleura is thin, so it fades when wider."""
    right_upper = (labels == Lobe.RUL) | (labels == Lobe.RML)
    distance = np.full(labels.shape, np.inf, dtype=np.result_type(z))
    for side, lobes in ((Side.RIGHT, (Lobe.RUL, Lobe.RML, Lobe.RLL)), (Side.LEFT, (Lobe.LUL, Lobe.LLL))):
        fissure = build.oblique(side)
        near = _where_seen(np.abs(oblique_fissure_mm(fissure, x, y, z)), fissure.seen, x)
        distance = np.where(np.isin(labels, lobes), near, distance)
    near = _where_seen(np.abs(horizontal_fissure_mm(build.horizontal, x, y, z)), build.horizontal.seen, x)
    distance = np.where(right_upper, np.minimum(distance, near), distance)
    return np.clip(1.0 - distance / half_width_mm, 0.0, 1.0) * min(1.0, FISSURE_HALF_WIDTH_MM / half_width_mm)


def _where_seen(distance: Coordinate, seen: float, x: Coordinate) -> Coordinate:
    """The distance from a fissure where it exists: an incomplete one lacks its part towards the hilum."""
    if seen >= 1.0:
        return distance
    return np.where(np.abs(x) > 20.0 + 115.0 * (1.0 - seen), distance, np.inf)


def parenchyma_hu(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Smooth lung density: about -850 HU in front to -785 HU at the back, emphysema in the low region.

    The standard slope makes tissue per volume rise by about 2.6 % per cm towards the dependent side, the slope of
    perfusion in supine lungs (PMC4294417).
    """
    down = -build.gravity_hu_per_mm if build.prone else build.gravity_hu_per_mm
    gravity = build.density_hu + down * y - 0.04 * z
    if build.base_gravity:
        gravity = gravity + build.base_gravity * np.clip((20.0 - z) / 90.0, 0.0, 1.0) * down * y
    texture = 5.0 * np.sin(x / 11.0 + 1.0) * np.sin(y / 13.0) + 4.0 * np.sin(z / 9.0 + x / 17.0) + 3.0 * np.sin(y / 7.0)
    return np.asarray(gravity + texture + (EMPHYSEMA_HU - gravity) * low_weight(build, x, y, z))


def low_weight(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """1 in the low region, falling to 0 within about 5 mm of it; only left of the midline and above the fissure."""
    edge = np.clip((1.0 - build.low_region.level(x, y, z)) * 10.0 + 1.0, 0.0, 1.0)
    fissure = np.clip(oblique_fissure_mm(build.left_oblique, x, y, z) / 5.0 + 1.0, 0.0, 1.0)
    return np.where(x > 0, edge * fissure, 0.0)


def relative_perfusion(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Perfusion before normalisation: tissue fraction × perfusion per tissue × losses.

    Perfusion per tissue peaks at mid-height by 9 % in supine lungs (PMC4294417). The low region has lost half of what
    its tissue would carry, the tumour 95 %; both losses are inventions.
    """
    tissue = (parenchyma_hu(build, x, y, z) - AIR_HU) / 1000.0
    per_tissue = 1.0 + 0.09 * np.clip(1.0 - ((y - 2.0) / 89.0) ** 2, 0.0, 1.0)
    tumour = 1.0 - 0.95 * np.clip((1.0 - build.tumour.level(x, y, z)) * 4.0 + 1.0, 0.0, 1.0)
    return tissue * per_tissue * (1.0 - 0.5 * low_weight(build, x, y, z)) * tumour


def great_vessels(
    build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate, *, margin_mm: float = 0.0
) -> Bool[np.ndarray, "..."]:
    """Ascending aorta, arch and descending aorta left of the spine; pulmonary arteries and great veins if built."""
    tubes = (*AORTA, *PULMONARY_ARTERIES, *VEINS_AND_BRANCHES) if build.has_great_vessels else AORTA
    return inside(tubes, x - build.mediastinum_shift_mm, y, z, margin_mm=margin_mm)


def body_depth_mm(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Roughly the depth below the skin of the trunk; negative outside. Tapered, the front slopes back to the neck."""
    wide, deep, middle = 168.0 + build.fat_mm, np.asarray(116.0 + build.fat_mm, z.dtype), np.asarray(2.0, z.dtype)
    if build.is_tapered:
        slope = 16.0 * np.clip((z - 35.0) / 90.0, 0.0, 1.4) ** 2
        deep, middle = deep - slope, middle + slope
    return np.asarray((1.0 - ((np.abs(x) / wide) ** 2.3 + (np.abs(y - middle) / deep) ** 2.3) ** (1 / 2.3)) * 130.0)
