"""The healthy part of a digital thorax, painted in order: tissue, vessels, airways, the tumour; noise comes last."""

import numpy as np

from inference.anatomy import Lobe, Side
from inference.phantom.airways import AIRWAY_WALL_MM, airway_tree
from inference.phantom.anatomy import (
    AIR_HU,
    CORTICAL_BONE_HU,
    COUCH_HU,
    FAT_HU,
    FISSURE_HALF_WIDTH_MM,
    LIVER_HU,
    SOFT_TISSUE_HU,
    SPONGY_BONE_HU,
    TUMOUR_HU,
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
from inference.phantom.build import ThoraxBuild
from inference.phantom.canvas import Canvas, Mask
from inference.phantom.shapes import Coordinate
from inference.phantom.vessels import vessel_tree


def paint_tissue(canvas: Canvas, drawn: tuple[Lobe, ...]) -> None:
    """Body, couch and lungs, and the perfusion of the lungs.

    Args:
        canvas: blank.
        drawn: lobes that hold air; the others are soft tissue.
    """
    build = canvas.build
    half_width_mm = max(FISSURE_HALF_WIDTH_MM, 0.5 * sorted(canvas.grid.spacing_mm)[1])
    for part in canvas.slices():
        place = part.x, part.y, part.z
        labels = lobe_labels(build, *place)
        labels = np.where(np.isin(labels, drawn), labels, 0).astype(np.uint8)
        visibility = fissure_visibility(build, *place, labels, half_width_mm=half_width_mm)
        parenchyma = parenchyma_hu(build, *place)
        air_space = parenchyma + 0.75 * visibility * (SOFT_TISSUE_HU - parenchyma)
        part.hu[:] = np.where(labels > 0, air_space, _solid_hu(build, *place))
        part.labels[:] = labels
        part.perfusion[:] = np.where(labels > 0, relative_perfusion(build, *place), 0.0)


def _solid_hu(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
    """HU of everything but lung and airway."""
    depth = body_depth_mm(build, x, y)
    hu = np.where(depth > 0, np.where(depth < 11.0 + build.fat_mm, FAT_HU, SOFT_TISSUE_HU), AIR_HU)
    hu = np.where((depth < 0) & couch(build, x, y), COUCH_HU, hu)
    bones = bone(x, y, z)
    hu = np.where(bones, np.where(vertebra_level(x, y) < 0.85, SPONGY_BONE_HU, CORTICAL_BONE_HU), hu)
    below_right = (x < 0) & (z < diaphragm_mm(build, Side.RIGHT, x, y)) & (z > -400.0) & (depth > 30.0) & ~bones
    hu = np.where(below_right, LIVER_HU, hu)
    heart = build.heart.level(x - build.mediastinum_shift_mm, y, z) < 1.0
    return np.where((heart | aorta(build, x, y, z)) & ~bones, build.blood_hu, hu)


def paint_vessels(canvas: Canvas) -> None:
    """The vessels of every lobe, each inside its own lobe only."""
    for lobe in Lobe:
        for box, depth in canvas.along(vessel_tree(canvas.build, lobe), margin_mm=1.0):
            hu, inside = canvas.hu[box], canvas.labels[box] == lobe
            share = np.clip(depth / max(canvas.grid.spacing_mm) + 0.5, 0.0, 1.0) * inside
            hu[:] = np.maximum(hu, hu + share * (canvas.build.blood_hu - hu))


def paint_airway(canvas: Canvas) -> Mask:
    """Trachea and bronchi: walls first, then all lumina, so that branches open into one another."""
    airway, wall = canvas.nothing(), canvas.nothing()
    for box, depth in canvas.along(airway_tree(canvas.build), margin_mm=AIRWAY_WALL_MM):
        wall[box] |= depth > -AIRWAY_WALL_MM
        airway[box] |= depth > 0
    canvas.hu[wall] = SOFT_TISSUE_HU
    canvas.hu[airway] = AIR_HU
    canvas.labels[wall | airway] = 0
    return airway


def paint_tumour(canvas: Canvas) -> None:
    """The tumour, as far as it lies in lung."""
    for part, level in canvas.around([canvas.build.tumour]):
        part.hu[(level < 1.0) & (part.labels > 0)] = TUMOUR_HU


def paint_noise(canvas: Canvas) -> None:
    """What the scanner adds: its point spread and its noise; CT numbers are whole and of twelve bits."""
    build = canvas.build
    if build.blur_mm > 0:
        from scipy import ndimage  # heavy; the standard patient does not need it

        ndimage.gaussian_filter(
            canvas.hu, [build.blur_mm / spacing for spacing in canvas.grid.spacing_mm], output=canvas.hu, mode="nearest"
        )
    for part in canvas.slices():
        noise = _noise(*part.grid.coordinates_mm(), build.noise_seed)
        part.hu[:] = np.clip(np.round(part.hu + build.noise_hu * noise), -1024, 3071)


def _noise(x: Coordinate, y: Coordinate, z: Coordinate, seed: int) -> Coordinate:
    """Noise of mean 0 and variance 1 that depends on the position (to 0.25 mm) only, so it turns with the grid.

    A multiplicative hash of the position; four bytes of it add up to nearly a normal distribution.
    """
    steps = [np.floor(p * 4.0 + 0.371).astype(np.int64).astype(np.uint64) for p in (x, y, z)]
    with np.errstate(over="ignore"):
        state = steps[0] * np.uint64(0x9E3779B97F4A7C15) + steps[1] * np.uint64(0xC2B2AE3D27D4EB4F)
        state = state + steps[2] * np.uint64(0x165667B19E3779F9) + np.uint64(seed) * np.uint64(0x27D4EB2F165667C5)
        for shift in (31, 29):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(0xBF58476D1CE4E5B9)
    total = sum(((state >> np.uint64(8 * byte)) & np.uint64(255)).astype(np.float64) for byte in range(4, 8))
    return np.asarray((total - 510.0) / 147.8)
