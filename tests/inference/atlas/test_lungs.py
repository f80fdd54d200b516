import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.anatomy import Side
from inference.atlas.lungs import find_lungs
from inference.errors import LungsNotFound
from inference.geometry import Grid, Reorientation
from inference.images import to_array, to_grid
from inference.phantom.thorax import ThoraxVariant, draw_thorax
from inference.volumes import CtVolume, SeriesReference

DATA = Path(os.environ.get("PERFUSION_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
GRID = Grid.axial((76, 96, 96), (4.0, 4.0, 4.0), (-190.0, -184.0, -150.0), frame_of_reference_uid="1.2.3")
PATIENT_POSITIONS = {
    "HFS": (False, False, False),
    "HFP": (False, True, True),
    "FFS": (True, False, True),
    "FFP": (True, True, False),
}


def ct_of(hu: np.ndarray, grid: Grid) -> CtVolume:
    uids = tuple(f"1.2.9.{k}" for k in range(grid.shape[0]))
    reference = SeriesReference("1.2.7", "1.2.8", grid.frame_of_reference_uid, uids)
    return CtVolume(np.ascontiguousarray(hu, dtype=np.float32), grid, reference)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def box(x_mm: tuple[float, float], y_mm: tuple[float, float], z_mm: tuple[float, float]) -> np.ndarray:
    x, y, z = GRID.coordinates_mm()
    return ((x >= x_mm[0]) & (x <= x_mm[1])) & ((y >= y_mm[0]) & (y <= y_mm[1])) & ((z >= z_mm[0]) & (z <= z_mm[1]))


def boxy_patient() -> np.ndarray:
    """A box of water 320 x 240 mm with a right lung of 1.7 l and a left lung of 1.1 l, 20 mm apart at the midline."""
    hu = np.full(GRID.shape, -1000.0)
    hu[box((-160, 160), (-120, 120), (-200, 200))] = 20.0
    hu[box((-130, -10), (-80, 80), (-60, 80))] = -800.0
    hu[box((10, 90), (-80, 80), (-60, 80))] = -800.0
    return hu


def test_the_lungs_of_the_digital_thorax_are_found() -> None:
    thorax = draw_thorax(GRID)
    lungs = find_lungs(thorax.ct)
    for side in Side:
        assert dice(lungs.side(side), thorax.lobes.lung(side)) > 0.97
    assert np.count_nonzero((lungs.right | lungs.left) & thorax.airway) < 0.25 * np.count_nonzero(thorax.airway)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_any_patient_position_gives_the_same_lungs_in_the_patient(position: str) -> None:
    ct = ct_of(boxy_patient(), GRID)
    encode = Reorientation((0, 1, 2), PATIENT_POSITIONS[position])
    lungs = find_lungs(ct_of(encode.apply(ct.hu), encode.grid(GRID)))
    expected = find_lungs(ct)
    assert np.array_equal(lungs.right, encode.apply(expected.right))
    assert np.array_equal(lungs.left, encode.apply(expected.left))
    x, _, _ = lungs.grid.coordinates_mm()
    assert np.broadcast_to(x, lungs.grid.shape)[lungs.right].max() < 0
    assert np.broadcast_to(x, lungs.grid.shape)[lungs.left].min() > 0
    assert lungs.volume_ml(Side.RIGHT) > 1.3 * lungs.volume_ml(Side.LEFT)


def test_lungs_that_touch_in_front_are_parted_where_they_touch() -> None:
    hu = boxy_patient()
    hu[box((-12, 12), (-80, -60), (-20, 60))] = -800.0
    lungs = find_lungs(ct_of(hu, GRID))
    x = np.broadcast_to(GRID.coordinates_mm()[0], GRID.shape)
    assert not (lungs.right & lungs.left).any()
    assert x[lungs.right].max() < 20
    assert x[lungs.left].min() > -20
    assert lungs.volume_ml(Side.RIGHT) == pytest.approx(120 * 160 * 140 / 1000, rel=0.1)


def test_a_nodule_and_a_vessel_inside_belong_to_the_lung() -> None:
    hu = boxy_patient()
    nodule, vessel = box((-70, -58), (-10, 2), (0, 12)), box((40, 46), (-60, 60), (20, 26))
    hu[nodule | vessel] = 40.0
    lungs = find_lungs(ct_of(hu, GRID))
    assert lungs.right[nodule].all()
    assert lungs.left[vessel].all()


@pytest.mark.parametrize(("hu_of_gas", "z_mm"), [(-1000.0, (-110, -66)), (-600.0, (-150, -100))])
def test_gas_below_the_lungs_is_not_lung(hu_of_gas: float, z_mm: tuple[float, float]) -> None:
    hu = boxy_patient()
    gas = box((20, 100), (-60, 20), z_mm)
    hu[gas] = hu_of_gas
    lungs = find_lungs(ct_of(hu, GRID))
    assert not (lungs.right | lungs.left)[gas].any()
    assert lungs.volume_ml(Side.LEFT) == pytest.approx(80 * 160 * 140 / 1000, rel=0.1)


def test_a_stomach_beside_the_lung_is_told_by_its_pure_gas() -> None:
    hu = boxy_patient()
    stomach = box((102, 150), (-60, 20), (-50, 30))
    hu[stomach] = -1000.0
    lungs = find_lungs(ct_of(hu, GRID))
    assert not (lungs.right | lungs.left)[stomach].any()


def test_a_foam_couch_and_air_around_the_patient_are_not_lung() -> None:
    hu = boxy_patient()
    hu[box((-180, 180), (130, 170), (-200, 200))] = 50.0
    hu[box((-176, 176), (136, 164), (-200, 200))] = -900.0
    lungs = find_lungs(ct_of(hu, GRID))
    y = np.broadcast_to(GRID.coordinates_mm()[1], GRID.shape)
    assert y[lungs.right | lungs.left].max() < 90


@pytest.mark.parametrize("hu", [-1000.0, 0.0])
def test_a_volume_of_air_or_of_water_has_no_lungs(hu: float) -> None:
    with pytest.raises(LungsNotFound) as caught:
        find_lungs(ct_of(np.full(GRID.shape, hu), GRID))
    assert caught.value.volume_ml == 0.0


def test_a_thorax_without_lungs_is_refused() -> None:
    with pytest.raises(LungsNotFound):
        find_lungs(draw_thorax(GRID, variant=ThoraxVariant.NO_LUNGS).ct)


def test_a_real_coarse_ct_agrees_with_its_reference_labels() -> None:
    if not (DATA / "ct/cip/ct-64.nrrd").is_file():
        pytest.skip("PERFUSION_TEST_DATA has no ct/cip")
    image = sitk.ReadImage(str(DATA / "ct/cip/ct-64.nrrd"))
    part = to_array(sitk.ReadImage(str(DATA / "ct/cip/lm-64.nrrd"))) & 0xFF
    lungs = find_lungs(ct_of(to_array(image), to_grid(image, frame_of_reference_uid="1.2.3")))
    assert dice(lungs.left, (part >= 9) & (part <= 11)) > 0.97
    assert dice(lungs.right, (part >= 12) & (part <= 14)) > 0.97
