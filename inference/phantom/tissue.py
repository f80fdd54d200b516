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
    GLAND_HU,
    LIVER_HU,
    SOFT_TISSUE_HU,
    SPONGY_BONE_HU,
    TUMOUR_HU,
    body_depth_mm,
    diaphragm_mm,
    fissure_visibility,
    great_vessels,
    lobe_labels,
    parenchyma_hu,
    relative_perfusion,
)
from inference.phantom.arms import arm_hu
from inference.phantom.build import ThoraxBuild
from inference.phantom.canvas import Canvas, Mask, Part
from inference.phantom.couch import THICKNESS_MM
from inference.phantom.shapes import Coordinate
from inference.phantom.skeleton import bone, marrow
from inference.phantom.vessels import vessel_tree


def paint_tissue(canvas: Canvas, drawn: tuple[Lobe, ...], *, with_perfusion: bool = True) -> Mask:
    """Body, couch and lungs, and the perfusion of the lungs.

    Args:
        canvas: blank.
        drawn: lobes that hold air; the others are soft tissue.
        with_perfusion: whether the canvas gets its perfusion.

    Returns:
        The patient with everything inside, without the couch.
    """
    build, skin = canvas.build, canvas.nothing()
    half_width_mm = max(FISSURE_HALF_WIDTH_MM, 0.5 * sorted(canvas.grid.spacing_mm)[1])
    for part in canvas.slices():
        labels = lobe_labels(build, part.x, part.y, part.z)
        labels[~np.isin(labels, drawn)] = 0
        part.labels[:] = labels
        skin[part.box] = _paint_solid(part, build)
        in_lung = labels > 0
        place, lobes = part.places(in_lung), labels[in_lung]
        visibility = fissure_visibility(build, *place, lobes, half_width_mm=half_width_mm)
        parenchyma = parenchyma_hu(build, *place)
        part.hu[in_lung] = parenchyma + 0.75 * visibility * (SOFT_TISSUE_HU - parenchyma)
        if with_perfusion:
            part.perfusion[in_lung] = relative_perfusion(build, *place)
    return skin


def _paint_solid(part: Part, build: ThoraxBuild) -> Mask:
    """Everything but lung and airway.

    Returns:
        The patient's voxels.
    """
    depth = np.broadcast_to(body_depth_mm(build, part.x, part.y, part.z), part.labels.shape)
    straight_x, straight_y, _ = build.straightened(*part.grid.coordinates_mm())
    below = build.couch.below_surface_mm(straight_x, straight_y, fat_mm=build.fat_mm, is_prone=build.prone)
    trunk = (depth > 0) if build.couch.sunk_mm <= 0 else (depth > 0) & (below <= 0)
    part.hu[:] = AIR_HU
    on_couch = (depth < 0) if build.couch.sunk_mm <= 0 else ~trunk
    part.hu[on_couch & (below > 0) & (below < THICKNESS_MM) & (np.abs(straight_x) < build.couch.half_width_mm)] = (
        COUCH_HU
    )
    skin = trunk.copy()
    _paint_arms(part, build, skin)
    _paint_breasts(part, build, skin)
    solid = trunk & (part.labels == 0)
    part.hu[solid] = _solid_hu(build, *part.places(solid), depth[solid])
    return skin


def _paint_arms(part: Part, build: ThoraxBuild, skin: Mask) -> None:
    """Bone, muscle and fat of the arms, under the trunk where both meet."""
    if build.arms is None:
        return
    share = np.zeros(skin.shape, np.float32)
    for limb in build.arms.limbs(build.fat_mm):
        reach = max(limb.start_radius_mm, limb.end_radius_mm)
        low, high = sorted((limb.start_mm[2], limb.end_mm[2]))
        near = (part.z > low - reach) & (part.z < high + reach) & (part.x * limb.end_mm[0] > 0)
        near = np.broadcast_to(near, skin.shape)
        if near.any():
            share[near] = np.maximum(share[near], limb.depth_mm(*part.places(near)) / reach)
    inside = share > 0
    part.hu[inside] = arm_hu(share[inside])
    skin[inside] = True


def _paint_breasts(part: Part, build: ThoraxBuild, skin: Mask) -> None:
    """Fat and gland, under the trunk where both meet."""
    for outline, gland in build.breasts.halves(build.fat_mm) if build.breasts else ():
        (cx, cy, cz), (rx, ry, rz) = outline.centre_mm, outline.radii_mm
        near = (np.abs(part.x - cx) < rx) & (np.abs(part.y - cy) < ry) & (np.abs(part.z - cz) < rz)
        near = np.broadcast_to(near, skin.shape)
        if near.any():
            place = part.places(near)
            inside = outline.level(*place) < 1.0
            hu = np.where(gland.level(*place) < 1.0, GLAND_HU, FAT_HU)
            part.hu[near] = np.where(inside, hu, part.hu[near])
            skin[near] |= inside


def _solid_hu(build: ThoraxBuild, x: Coordinate, y: Coordinate, z: Coordinate, depth: Coordinate) -> Coordinate:
    """HU of the trunk but lung and airway.

    Args:
        build: the patient.
        x: of positions in the trunk.
        y: of the same positions.
        z: of the same positions.
        depth: below the skin, in millimetres.
    """
    hu = np.where(depth < 11.0 + build.fat_mm, FAT_HU, SOFT_TISSUE_HU)
    bones = bone(build, x, y, z)
    hu[bones] = CORTICAL_BONE_HU
    hu[bones & marrow(build, x, y, z)] = SPONGY_BONE_HU
    below_right = (x < 0) & (z < diaphragm_mm(build, Side.RIGHT, x, y)) & (z > -400.0) & (depth > 30.0) & ~bones
    hu[below_right] = LIVER_HU
    heart = build.heart.level(x - build.mediastinum_shift_mm, y, z) < 1.0
    hu[(heart | great_vessels(build, x, y, z)) & ~bones] = build.blood_hu
    return hu


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
