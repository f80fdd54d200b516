"""A digital thorax: an invented patient whose lungs, lobes and perfusion are known by construction.

It serves the tests, the demonstration and the self-test of the node at start-up. Everything is drawn from formulas in
patient coordinates (`thorax_anatomy`), so any grid shows the same patient: other spacing, flipped or swapped axes,
another patient position. It is an invention without any clinical value: agreement with it shows that the software
keeps geometry and arithmetic, never that a prediction is right for a human being.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from inference.anatomy import Lobe, Side
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.thorax_anatomy import (
    AIR_HU,
    AIRWAY,
    AIRWAY_WALL_MM,
    BLOOD_HU,
    CORTICAL_BONE_HU,
    COUCH_HU,
    FAT_HU,
    FISSURE_HALF_WIDTH_MM,
    HEART,
    LIVER_HU,
    LOW_REGION,
    SOFT_TISSUE_HU,
    SPONGY_BONE_HU,
    TUMOUR,
    TUMOUR_HU,
    Coordinate,
    Tube,
    aorta,
    body_depth_mm,
    bone,
    couch,
    diaphragm_mm,
    fissure_visibility,
    lobe_labels,
    parenchyma_hu,
    relative_perfusion,
    vertebra_level,
)
from inference.thorax_vessels import vessel_tree
from inference.volumes import CtVolume, LobeMap, PerfusionMap, SeriesReference

NAME = "digital-thorax"
VERSION = "1"
CAVEAT = "Digital phantom, no patient; no clinical value."
NOISE_HU = 9.0
FRAME_OF_REFERENCE_UID = "2.25.270464921604411157304817305467196071801"
DEFAULT_GRID = Grid.axial(
    (96, 192, 192), (3.0, 2.0, 2.0), (-191.0, -185.0, -152.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)


class ThoraxVariant(StrEnum):
    """Which patient is drawn."""

    STANDARD = "standard"
    NO_LUNGS = "no-lungs"
    """The lungs are soft tissue, as if another body part had been scanned."""
    ONE_LUNG = "one-lung"
    """The left lung is consolidated; the truth has no left lobes."""
    TRUNCATED = "truncated"
    """The middle half of the grid's slices: apex and base are cut off. The volumes lie on that smaller grid."""


@dataclass(frozen=True, slots=True, eq=False)
class DigitalThorax:
    """The CT of the invented patient and everything that is true about it, on one grid."""

    ct: CtVolume
    lobes: LobeMap
    """True lobes: with vessels and tumour, without the airways that are drawn."""
    perfusion: PerfusionMap
    """True relative perfusion, mean 1 over both lungs."""
    airway: Bool[np.ndarray, "slices rows columns"]
    """Air in trachea and bronchi."""
    tumour: Bool[np.ndarray, "slices rows columns"]
    """A soft tissue sphere in the right lower lobe."""
    low_region: Bool[np.ndarray, "slices rows columns"]
    """The emphysema-like front and top of the left upper lobe, with low perfusion."""


def draw_thorax(grid: Grid = DEFAULT_GRID, *, variant: ThoraxVariant = ThoraxVariant.STANDARD) -> DigitalThorax:
    """Draw the digital thorax on a grid.

    The lungs reach from z = -150 to z = +122 mm, the body is 336 mm wide and 232 mm deep around (0, 2) mm; what lies
    outside the grid is cut off. Equal arguments give equal arrays and UIDs.

    Args:
        grid: where to draw; about one second per 3 million voxels.
        variant: which patient.
    """
    if variant is ThoraxVariant.TRUNCATED:
        quarter = grid.shape[0] // 4
        whole = slice(0, grid.shape[1]), slice(0, grid.shape[2])
        grid = grid.cropped((slice(quarter, max(grid.shape[0] - quarter, quarter + 1)), *whole))
    labels, hu, perfusion = _lay_tissue(grid, variant)
    _paint_vessels(grid, labels, hu)
    airway = _paint_airway(grid, labels, hu, variant)
    _paint_tumour_and_noise(grid, labels, hu)
    return _assemble(grid, variant, labels, hu, perfusion, airway)


def _lay_tissue(
    grid: Grid, variant: ThoraxVariant
) -> tuple[UInt8[np.ndarray, "s r c"], Float32[np.ndarray, "s r c"], Float32[np.ndarray, "s r c"]]:
    """Labels, HU and unscaled perfusion, slice by slice to keep memory small."""
    labels, hu = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.float32)
    perfusion = np.zeros(grid.shape, np.float32)
    for k in range(grid.shape[0]):
        x, y, z = _slice_of(grid, k).coordinates_mm()
        all_lobes = lobe_labels(x, y, z)
        drawn = _existing_lobes(all_lobes, variant)
        visibility = fissure_visibility(x, y, z, drawn, half_width_mm=_fissure_half_width_mm(grid))
        parenchyma = parenchyma_hu(x, y, z)
        air_space = parenchyma + 0.75 * visibility * (SOFT_TISSUE_HU - parenchyma)
        hu[k] = np.where(drawn > 0, air_space, _tissue_hu(x, y, z))[0]
        labels[k] = drawn[0]
        perfusion[k] = np.where(drawn > 0, relative_perfusion(x, y, z), 0.0)[0]
    return labels, hu, perfusion


def _existing_lobes(labels: UInt8[np.ndarray, "s r c"], variant: ThoraxVariant) -> UInt8[np.ndarray, "s r c"]:
    if variant is ThoraxVariant.NO_LUNGS:
        return np.zeros_like(labels)
    if variant is ThoraxVariant.ONE_LUNG:
        return np.where(labels >= Lobe.LUL, 0, labels).astype(np.uint8)
    return labels


def _tissue_hu(x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """HU of everything but lung and airway."""
    depth = body_depth_mm(x, y)
    hu = np.where(depth > 0, np.where(depth < 11.0, FAT_HU, SOFT_TISSUE_HU), AIR_HU)
    hu = np.where((depth < 0) & couch(x, y), COUCH_HU, hu)
    bones = bone(x, y, z)
    hu = np.where(bones, np.where(vertebra_level(x, y) < 0.85, SPONGY_BONE_HU, CORTICAL_BONE_HU), hu)
    below_right = (x < 0) & (z < diaphragm_mm(Side.RIGHT, x, y)) & (z > -400.0) & (depth > 30.0) & ~bones
    hu = np.where(below_right, LIVER_HU, hu)
    return np.where(((HEART.level(x, y, z) < 1.0) | aorta(x, y, z)) & ~bones, BLOOD_HU, hu)


def _paint_vessels(grid: Grid, labels: UInt8[np.ndarray, "s r c"], hu: Float32[np.ndarray, "s r c"]) -> None:
    for lobe in Lobe:
        for tube in vessel_tree(lobe):
            box = _box_around(grid, tube, margin_mm=1.0)
            if box is None:
                continue
            depth = tube.depth_mm(*grid.cropped(box).coordinates_mm())
            share = np.clip(depth / max(grid.spacing_mm) + 0.5, 0.0, 1.0) * (labels[box] == lobe)
            hu[box] = np.maximum(hu[box], hu[box] + share * (BLOOD_HU - hu[box]))


def _paint_airway(
    grid: Grid, labels: UInt8[np.ndarray, "s r c"], hu: Float32[np.ndarray, "s r c"], variant: ThoraxVariant
) -> Bool[np.ndarray, "s r c"]:
    """Walls first, then all lumina, so that branches open into one another."""
    airway = np.zeros(grid.shape, bool)
    if variant is ThoraxVariant.NO_LUNGS:
        return airway
    wall = np.zeros(grid.shape, bool)
    for tube in AIRWAY:
        box = _box_around(grid, tube, margin_mm=AIRWAY_WALL_MM)
        if box is not None:
            depth = tube.depth_mm(*grid.cropped(box).coordinates_mm())
            wall[box] |= depth > -AIRWAY_WALL_MM
            airway[box] |= depth > 0
    hu[wall] = SOFT_TISSUE_HU
    hu[airway] = AIR_HU
    labels[wall | airway] = 0
    return airway


def _paint_tumour_and_noise(grid: Grid, labels: UInt8[np.ndarray, "s r c"], hu: Float32[np.ndarray, "s r c"]) -> None:
    for k in range(grid.shape[0]):
        x, y, z = _slice_of(grid, k).coordinates_mm()
        tumour = (TUMOUR.level(x, y, z)[0] < 1.0) & (labels[k] > 0)
        smooth = np.where(tumour, TUMOUR_HU, hu[k])
        hu[k] = np.clip(np.round(smooth + NOISE_HU * _noise(x, y, z)[0]), -1024, 3071)


def _noise(x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """Noise of mean 0 and variance 1 that depends on the position (to 0.25 mm) only, so it turns with the grid.

    A multiplicative hash of the position; four bytes of it add up to nearly a normal distribution.
    """
    steps = [np.floor(p * 4.0 + 0.371).astype(np.int64).astype(np.uint64) for p in (x, y, z)]
    with np.errstate(over="ignore"):
        state = steps[0] * np.uint64(0x9E3779B97F4A7C15) + steps[1] * np.uint64(0xC2B2AE3D27D4EB4F)
        state = state + steps[2] * np.uint64(0x165667B19E3779F9)
        for shift in (31, 29):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(0xBF58476D1CE4E5B9)
    total = sum(((state >> np.uint64(8 * byte)) & np.uint64(255)).astype(np.float64) for byte in range(4, 8))
    return np.asarray((total - 510.0) / 147.8)


def _assemble(
    grid: Grid,
    variant: ThoraxVariant,
    labels: UInt8[np.ndarray, "s r c"],
    hu: Float32[np.ndarray, "s r c"],
    perfusion: Float32[np.ndarray, "s r c"],
    airway: Bool[np.ndarray, "s r c"],
) -> DigitalThorax:
    identity = ModelIdentity(NAME, VERSION, caveat=CAVEAT)
    lungs = labels > 0
    mean = float(perfusion[lungs].mean(dtype=np.float64)) if lungs.any() else 1.0
    values = np.where(lungs, perfusion / mean, 0.0).astype(np.float32)
    tumour, low = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    for k in range(grid.shape[0]):
        x, y, z = _slice_of(grid, k).coordinates_mm()
        tumour[k] = (TUMOUR.level(x, y, z)[0] < 1.0) & lungs[k]
        low[k] = (LOW_REGION.level(x, y, z)[0] < 1.0) & (labels[k] == Lobe.LUL)
    return DigitalThorax(
        ct=CtVolume(hu, grid, _source(grid, variant)),
        lobes=LobeMap(labels, grid, identity),
        perfusion=PerfusionMap(values, lungs, grid, identity),
        airway=airway,
        tumour=tumour,
        low_region=low,
    )


def _source(grid: Grid, variant: ThoraxVariant) -> SeriesReference:
    """UIDs under 2.25 (PS3.5 B.2) from what is drawn: equal drawings have equal UIDs."""
    what = f"{NAME} {VERSION} {variant} {grid.shape} {np.round(grid.affine, 6).tolist()} {grid.frame_of_reference_uid}"

    def uid(role: str) -> str:
        return f"2.25.{int(hashlib.sha256(f'{what} {role}'.encode()).hexdigest()[:32], 16)}"

    instances = tuple(uid(f"instance {k}") for k in range(grid.shape[0]))
    return SeriesReference(uid("study"), uid("series"), grid.frame_of_reference_uid, instances)


def _slice_of(grid: Grid, k: int) -> Grid:
    return grid.cropped((slice(k, k + 1), slice(0, grid.shape[1]), slice(0, grid.shape[2])))


def _fissure_half_width_mm(grid: Grid) -> float:
    return max(FISSURE_HALF_WIDTH_MM, 0.5 * sorted(grid.spacing_mm)[1])


def _box_around(grid: Grid, tube: Tube, *, margin_mm: float) -> tuple[slice, slice, slice] | None:
    """The part of the grid that can show the tube, or None."""
    reach = max(tube.start_radius_mm, tube.end_radius_mm) + margin_mm + max(grid.spacing_mm)
    ends = np.array([tube.start_mm, tube.end_mm])
    low, high = ends.min(axis=0) - reach, ends.max(axis=0) + reach
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1).T
    index = grid.to_index(corners)
    start = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
    stop = np.minimum(np.ceil(index.max(axis=0)) + 1, grid.shape).astype(int)
    if (start >= stop).any():
        return None
    return slice(int(start[0]), int(stop[0])), slice(int(start[1]), int(stop[1])), slice(int(start[2]), int(stop[2]))
