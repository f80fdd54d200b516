"""What stands before the camera: the right activity, the right attenuation, in the right place."""

from dataclasses import replace

import numpy as np
import pytest

from tests.insilico_spect import QUIET, STILL, chest, middle_mm
from training.insilico.spect.spect_breath import breath_mean
from training.insilico.spect.spect_source import attenuation_per_mm, spect_source

SHIFT = (3.3, -1.7, 2.6)


def test_all_activity_is_in_the_field_and_follows_perfusion() -> None:
    perfusion, hu, grid = chest()
    perfusion = perfusion * np.where(grid.coordinates_mm()[0] > 0, np.float32(3.0), np.float32(1.0))
    source = spect_source(perfusion, hu, grid, STILL, QUIET, (0.0, 0.0, 0.0))
    assert source.activity_mbq.sum(dtype=np.float64) == pytest.approx(QUIET.activity_mbq, rel=1e-5)
    left = source.activity_mbq[..., source.field.grid.shape[2] // 2 :].sum() / source.activity_mbq.sum()
    assert left == pytest.approx(0.75, abs=0.01)


def test_the_shunt_lies_in_other_tissue() -> None:
    perfusion, hu, grid = chest()
    source = spect_source(perfusion, hu, grid, STILL, replace(QUIET, shunt=0.1), (0.0, 0.0, 0.0))
    of_lungs = spect_source(perfusion, hu, grid, STILL, QUIET, (0.0, 0.0, 0.0))
    outside = of_lungs.activity_mbq == 0
    # The edge of the lungs holds some of the tissue too.
    assert 0.07 < source.activity_mbq[outside].sum() / source.activity_mbq.sum() <= 0.1
    cut = (source.field.wide.shape[1] - source.field.grid.shape[1]) // 2
    in_air = source.ct_attenuation_per_mm[:, cut or None : -cut or None, cut or None : -cut or None] == 0
    assert source.activity_mbq[in_air].sum() == 0


@pytest.mark.parametrize(
    ("hu", "per_cm"),
    [(-1000.0, 0.0), (-1200.0, 0.0), (0.0, 0.1538), (-700.0, 0.0393), (1000.0, 0.1538 + 0.10895)],
    ids=["air", "below air", "water", "lung", "bone"],
)
def test_attenuation_is_that_of_140_kev(hu: float, per_cm: float) -> None:
    # Symbia's table, 140 keV at 130 kV: 0.1538/cm in water; slopes 0.00016364 below (to 0 at air) and 0.00010895 above.
    assert 10.0 * attenuation_per_mm(np.array([hu], np.float32))[0] == pytest.approx(per_cm, abs=1e-2 * 0.1538)


def test_the_camera_finds_the_patient_elsewhere_than_the_ct() -> None:
    perfusion, hu, grid = chest()
    source = spect_source(perfusion, hu, grid, STILL, QUIET, SHIFT)
    still = spect_source(perfusion, hu, grid, STILL, QUIET, (0.0, 0.0, 0.0))
    spect_grid = source.field.grid
    assert spect_grid.matches(still.field.grid)
    way = middle_mm(source.activity_mbq, spect_grid) - middle_mm(still.activity_mbq, spect_grid)
    assert way == pytest.approx(SHIFT, abs=0.1)
    wide = source.field.wide
    way = middle_mm(source.attenuation_per_mm, wide) - middle_mm(still.attenuation_per_mm, wide)
    assert way[:2] == pytest.approx(SHIFT[:2], abs=0.1)
    assert way[2] == pytest.approx(SHIFT[2], abs=0.3)  # the body is cut off within the field
    assert np.array_equal(source.ct_attenuation_per_mm, still.ct_attenuation_per_mm)


def test_the_couch_is_no_patient_and_an_arm_is() -> None:
    perfusion, hu, grid = chest()
    x, y, _ = grid.coordinates_mm()
    lying = hu.copy()
    lying[np.broadcast_to((y > 66.0) & (y < 74.0) & (np.abs(x) < 80.0), grid.shape)] = 100.0
    source = spect_source(perfusion, lying, grid, STILL, QUIET, (0.0, 0.0, 0.0))
    assert source.half_depth_mm == pytest.approx(62.0, abs=5.0)
    assert source.half_width_mm == pytest.approx(90.0, abs=5.0)
    body = np.broadcast_to((x / 60.0) ** 2 + (y / 62.0) ** 2 < 1.0, grid.shape)
    arm = np.broadcast_to(((x - 80.0) / 18.0) ** 2 + (y / 30.0) ** 2 < 1.0, grid.shape)
    slim = np.where(body | arm, np.where(perfusion > 0, -700.0, 30.0), -1000.0).astype(np.float32)
    beside = spect_source(perfusion, slim, grid, STILL, QUIET, (0.0, 0.0, 0.0))
    assert beside.half_width_mm == pytest.approx(0.5 * (77.0 + 98.0), abs=5.0)


def test_breathing_smears_the_bases_along_the_patient_and_loses_nothing() -> None:
    perfusion, hu, grid = chest()
    deep = replace(STILL, diaphragm_mm=20.0, apex_mm=60.0, dome_mm=-55.0, cage_half_mm=(95.0, 70.0))
    still = spect_source(perfusion, hu, grid, STILL, QUIET, (0.0, 0.0, 0.0))
    breathing = spect_source(perfusion, hu, grid, deep, QUIET, (0.0, 0.0, 0.0))

    def edge_mm(source) -> float:  # type: ignore[no-untyped-def]
        # Width of the lower edge of the right lung, from the profile through its middle.
        shape, step = source.activity_mbq.shape, source.field.grid.spacing_mm[0]
        half = source.activity_mbq[: shape[0] // 2, :, : shape[2] // 2]
        profile = half[:, half.shape[1] // 2, :].max(axis=1)
        return float(step * np.count_nonzero((profile > 0.1 * profile.max()) & (profile < 0.9 * profile.max())))

    assert edge_mm(breathing) > edge_mm(still) + 5.0
    assert breathing.activity_mbq.sum(dtype=np.float64) == pytest.approx(QUIET.activity_mbq, rel=1e-5)


def test_the_mean_of_a_breath_is_the_mean_of_its_course() -> None:
    _, _, grid = chest()
    deep = replace(STILL, diaphragm_mm=16.0, apex_mm=60.0, dome_mm=-40.0, cage_half_mm=(95.0, 70.0))
    ramp = np.broadcast_to(grid.coordinates_mm()[2], grid.shape).astype(np.float32)
    mean = breath_mean(ramp, grid, deep, keeps_sum=False)
    # In free breathing the body's grid shows the mean state, so a straight slope stays what it is.
    inner = (slice(6, -6), slice(10, -10), slice(10, -10))
    assert np.abs(mean - ramp)[inner].max() < 0.3


def test_a_body_without_lungs_is_refused() -> None:
    perfusion, hu, grid = chest()
    with pytest.raises(ValueError, match="no lungs"):
        spect_source(np.zeros_like(perfusion), hu, grid, STILL, QUIET, (0.0, 0.0, 0.0))
