from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid, Reorientation
from inference.lung_box import lung_box
from inference.phantom.thorax import DigitalThorax
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.findings import Findings, Severity
from inference.quality.patient import (
    check_breath,
    check_contrast,
    check_gas,
    check_metal,
    check_noise,
    check_position,
    check_size,
)
from inference.quality.policy import BY_THE_TABLE
from inference.quality.threshold_lungs import ThresholdLungs
from inference.volumes import CtVolume, LobeMap
from tests.lung_blocks import codes, ct_of, the


def coarse(ct: CtVolume, lobes: LobeMap) -> tuple[CoarseThorax, ThresholdLungs]:
    thorax = CoarseThorax.of(ct, lobes)
    return thorax, ThresholdLungs.of(thorax)


@pytest.fixture(scope="module")
def parts(thorax: DigitalThorax) -> tuple[CoarseThorax, ThresholdLungs]:
    return coarse(thorax.ct, thorax.lobes)


def with_hu(thorax: DigitalThorax, hu: np.ndarray) -> CtVolume:
    return replace(thorax.ct, hu=hu.astype(np.float32))


def position(grid: Grid, hu: np.ndarray, thorax: DigitalThorax) -> Findings:
    """What is said of the position when the same voxels lie on another grid."""
    ct, lobes = CtVolume(hu, grid, thorax.ct.source), LobeMap(thorax.lobes.labels, grid, thorax.lobes.segmenter)
    return check_position(CoarseThorax.of(ct, lobes), grid, BY_THE_TABLE)


def turned(grid: Grid, *signs: float) -> Grid:
    affine = grid.affine.copy()
    affine[:3, :3] = np.diag([signs[2], signs[1], signs[0]]) @ affine[:3, :3]
    return Grid(grid.shape, affine, grid.frame_of_reference_uid)


def test_supine_and_head_first_is_not_worth_a_word(thorax: DigitalThorax) -> None:
    assert position(thorax.ct.grid, thorax.ct.hu, thorax) == ()


def test_a_couch_at_the_front_is_prone_and_a_flag(thorax: DigitalThorax) -> None:
    found = position(turned(thorax.ct.grid, 1, -1, -1), thorax.ct.hu, thorax)
    assert codes(found, Severity.FLAG) == {"POSITION_PRONE"}
    assert "couch lies at the front" in found[0].sentence


def test_the_couch_is_believed_rather_than_the_image_axes(thorax: DigitalThorax) -> None:
    """A patient who lies prone on images whose rows run to the back, and the reverse."""
    back_to_front = np.flip(thorax.ct.hu, 1).copy()
    assert codes(position(thorax.ct.grid, back_to_front, thorax)) == {"POSITION_PRONE"}
    assert position(turned(thorax.ct.grid, 1, -1, -1), back_to_front, thorax) == ()


def test_without_a_couch_the_image_axes_say_prone(thorax: DigitalThorax) -> None:
    body = CoarseThorax.of(thorax.ct, thorax.lobes).body
    assert body.shape == thorax.ct.hu.shape
    hu = np.where(body, thorax.ct.hu, -1000.0).astype(np.float32)
    assert position(thorax.ct.grid, hu, thorax) == ()
    found = position(turned(thorax.ct.grid, 1, -1, -1), hu, thorax)
    assert "image rows run to the front" in the(found, "POSITION_PRONE").sentence


def test_feet_first_is_a_note(thorax: DigitalThorax) -> None:
    found = position(turned(thorax.ct.grid, -1, 1, -1), thorax.ct.hu, thorax)
    assert codes(found, Severity.NOTE) == {"POSITION_FEET_FIRST"}


def test_lungs_of_a_child_are_flagged_by_their_height(thorax: DigitalThorax) -> None:
    for scale, is_small in ((1.0, False), (0.7, False), (0.62, True)):
        affine = thorax.ct.grid.affine.copy()
        affine[:3, :3] *= scale
        grid = Grid(thorax.ct.grid.shape, affine, thorax.ct.grid.frame_of_reference_uid)
        small = CoarseThorax(thorax.ct.hu, thorax.lobes.labels, grid)
        assert bool(check_size(small, BY_THE_TABLE)) is is_small, scale


@pytest.mark.parametrize(("shift_hu", "is_found"), [(0.0, False), (-80.0, True), (100.0, False), (220.0, True)])
def test_an_unusual_depth_of_breath_is_noted(thorax: DigitalThorax, shift_hu: float, is_found: bool) -> None:
    hu = np.where(thorax.lobes.lungs, thorax.ct.hu + shift_hu, thorax.ct.hu)
    found = check_breath(*coarse(with_hu(thorax, hu), thorax.lobes), BY_THE_TABLE)
    assert ("INSPIRATION" in codes(found, Severity.NOTE)) is is_found


def test_a_high_half_of_the_diaphragm_is_noted(parts: tuple[CoarseThorax, ThresholdLungs]) -> None:
    thorax, found = parts
    assert check_breath(thorax, found, BY_THE_TABLE) == ()
    right, left = found.right.copy(), found.left.copy()
    planes = np.flatnonzero(right.any(axis=(1, 2)))
    right[: planes[0] + 24] = False
    higher = the(check_breath(thorax, replace(found, right=right), BY_THE_TABLE), "DIAPHRAGM_LEVEL")
    assert higher.measured > 60.0
    left[: planes[0] + 24] = False
    lower = the(check_breath(thorax, replace(found, left=left), BY_THE_TABLE), "DIAPHRAGM_LEVEL")
    assert lower.measured < -30.0


def test_contrast_medium_is_noted(thorax: DigitalThorax, parts: tuple[CoarseThorax, ThresholdLungs]) -> None:
    assert check_contrast(*parts, BY_THE_TABLE) == ()
    for added_hu, is_found in ((60.0, False), (130.0, True)):
        blood = (thorax.ct.hu > 0.0) & (thorax.ct.hu < 100.0)
        hu = np.where(blood, thorax.ct.hu + added_hu, thorax.ct.hu)
        found = check_contrast(*coarse(with_hu(thorax, hu), thorax.lobes), BY_THE_TABLE)
        assert bool(found) is is_found, added_hu
    assert found[0].severity is Severity.NOTE


def test_metal_near_the_lungs_is_flagged_and_elsewhere_not(thorax: DigitalThorax) -> None:
    box = lung_box(thorax.lobes.lungs, thorax.lobes.grid)
    voxel_ml = thorax.ct.grid.voxel_volume_ml
    hu = thorax.ct.hu.copy()
    hu[box[0].start, box[1].start, box[2].start :][: int(0.25 / voxel_ml)] = 3071.0
    assert check_metal(with_hu(thorax, hu), thorax.lobes, BY_THE_TABLE) == ()
    hu[box[0].start, box[1].start, box[2].start :][: int(0.5 / voxel_ml)] = 3071.0
    (finding,) = check_metal(with_hu(thorax, hu), thorax.lobes, BY_THE_TABLE)
    assert (finding.code, finding.severity, finding.unit) == ("METAL", Severity.FLAG, "ml")
    bone = np.where(hu == 3071.0, 2500.0, thorax.ct.hu)
    assert check_metal(with_hu(thorax, bone), thorax.lobes, BY_THE_TABLE) == ()
    far = thorax.ct.hu.copy()
    far[:, 0, 0] = 3071.0
    assert check_metal(with_hu(thorax, far), thorax.lobes, BY_THE_TABLE) == ()


@pytest.mark.parametrize(("noise_hu", "is_found"), [(10.0, False), (50.0, False), (90.0, True)])
def test_pixel_noise_is_noted_from_its_limit_on(noise_hu: float, is_found: bool) -> None:
    noise = np.random.default_rng(5).normal(0.0, noise_hu, (24, 128, 128))
    found = check_noise(ct_of(40.0 + noise), BY_THE_TABLE)
    assert bool(found) is is_found


def test_gas_without_tissue_in_the_lungs_is_flagged(thorax: DigitalThorax) -> None:
    assert check_gas(CoarseThorax.of(thorax.ct, thorax.lobes), BY_THE_TABLE) == ()
    voxels = np.argwhere(thorax.lobes.lungs)
    for ml, is_found in ((50.0, False), (70.0, True)):
        hu = thorax.ct.hu.copy()
        hu[tuple(voxels[: int(ml / thorax.ct.grid.voxel_volume_ml)].T)] = -1000.0
        found = check_gas(CoarseThorax.of(with_hu(thorax, hu), thorax.lobes), BY_THE_TABLE)
        assert bool(found) is is_found, ml


def test_findings_are_the_same_however_the_scanner_stored_the_slices(thorax: DigitalThorax) -> None:
    stored = Reorientation((0, 2, 1), (True, False, True))
    grid = stored.grid(thorax.ct.grid)
    ct = CtVolume(np.ascontiguousarray(stored.apply(thorax.ct.hu)), grid, thorax.ct.source)
    lobes = LobeMap(np.ascontiguousarray(stored.apply(thorax.lobes.labels)), grid, thorax.lobes.segmenter)
    one, other = CoarseThorax.of(thorax.ct, thorax.lobes), CoarseThorax.of(ct, lobes)
    assert np.array_equal(one.hu, other.hu)
    assert np.array_equal(one.labels, other.labels)
    assert one.grid.matches(other.grid)
