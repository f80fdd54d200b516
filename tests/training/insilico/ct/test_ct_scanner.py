"""A whole scan of a phantom whose answer is known: numbers, noise, places, edges, identity."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid
from inference.volumes import CtVolume
from training.insilico.ct.ct_noise import REFERENCE_MM
from training.insilico.ct.ct_scanner import HIGHEST_HU, LOWEST_HU, LUNG_MARGIN_MM, CtScanner, scan_ct
from training.insilico.draws import Draws
from training.insilico.hospitals import LUNG, SOFT
from training.insilico.people.breathing import Breathing

BODY = Grid.axial((40, 70, 76), (5.0, 5.0, 5.0), (-187.5, -172.5, -97.5), frame_of_reference_uid="2.25.77")
SCANNER = CtScanner(
    manufacturer="In-silico",
    model="Test",
    protocol="test",
    kernel=SOFT,
    noise_hu=20.0,
    slice_mm=5.0,
    spacing_mm=5.0,
    field_mm=440.0,
    matrix=128,
    current_modulation=0.0,
)
DRAWS = Draws("7/NC-001")


@pytest.fixture(scope="module")
def cylinder() -> tuple[np.ndarray, np.ndarray]:
    """Water, with two lungs of -800 HU and a rod of bone from end to end."""
    x, y, z = BODY.coordinates_mm()
    hu = np.where(np.hypot(x, y) < 0.5 * REFERENCE_MM, 0.0, -1000.0) + 0.0 * z
    lobes = np.zeros(BODY.shape, np.uint8)
    lobes[(np.hypot(x + 75.0, y) < 30.0) & (np.abs(z) < 50.0)] = 1
    lobes[(np.hypot(x - 75.0, y) < 30.0) & (np.abs(z) < 50.0)] = 4
    hu[lobes > 0] = -800.0
    return hu.astype(np.float32), lobes


def scan(cylinder: tuple[np.ndarray, np.ndarray], scanner: CtScanner = SCANNER, draws: Draws = DRAWS) -> CtVolume:
    return scan_ct(*cylinder, BODY, scanner, draws, study_instance_uid="2.25.5")


@pytest.fixture(scope="module")
def ct(cylinder: tuple[np.ndarray, np.ndarray]) -> CtVolume:
    return scan(cylinder)


def near(ct: CtVolume, x_mm: float, y_mm: float, radius_mm: float) -> np.ndarray:
    x, y, z = ct.grid.coordinates_mm()
    found: np.ndarray = ct.hu[(np.hypot(x - x_mm, y - y_mm) < radius_mm) & (np.abs(z) < 35.0)]
    return found


def test_even_regions_keep_their_number(ct: CtVolume) -> None:
    assert near(ct, 0.0, 0.0, 25.0).mean() == pytest.approx(0.0, abs=1.0)
    assert near(ct, -75.0, 0.0, 15.0).mean() == pytest.approx(-800.0, abs=1.0)


def test_noise_in_the_middle_of_water_is_as_stated(cylinder: tuple[np.ndarray, np.ndarray]) -> None:
    water = np.maximum(cylinder[0], np.where(cylinder[1] > 0, 0.0, -1000.0).astype(np.float32))
    for kernel in (SOFT, LUNG):
        middle = near(scan((water, cylinder[1]), replace(SCANNER, kernel=kernel)), 0.0, 0.0, 20.0)
        assert middle.std() == pytest.approx(SCANNER.noise_hu, rel=0.1)


def test_hu_are_whole_numbers_of_twelve_bits(cylinder: tuple[np.ndarray, np.ndarray]) -> None:
    hu, lobes = cylinder[0].copy(), cylinder[1]
    hu[:, 35, 38] = 9000.0
    noisy = scan((hu, lobes), replace(SCANNER, noise_hu=200.0)).hu
    assert np.array_equal(noisy, np.rint(noisy))
    assert (noisy.min(), noisy.max()) == (LOWEST_HU, HIGHEST_HU)


def test_landmarks_stay_where_they_are_in_the_patient(ct: CtVolume, cylinder: tuple[np.ndarray, np.ndarray]) -> None:
    for label, side in ((1, -1), (4, 1)):
        truth = BODY.to_patient_mm(np.argwhere(cylinder[1] == label).astype(float)).mean(axis=0)
        x, _, _ = ct.grid.coordinates_mm()
        seen = (ct.hu < -400.0) & (ct.hu > -950.0) & (side * x > 30.0) & (side * x < 115.0)
        assert ct.grid.to_patient_mm(np.argwhere(seen).astype(float)).mean(axis=0) == pytest.approx(truth, abs=2.5)


def test_the_scan_keeps_the_frame_of_reference_and_holds_the_lungs(
    ct: CtVolume, cylinder: tuple[np.ndarray, np.ndarray]
) -> None:
    assert ct.grid.frame_of_reference_uid == ct.source.frame_of_reference_uid == "2.25.77"
    assert ct.grid.shape[1:] == (128, 128)
    assert ct.grid.spacing_mm == pytest.approx((5.0, 440.0 / 128, 440.0 / 128))
    index = ct.grid.to_index(BODY.to_patient_mm(np.argwhere(cylinder[1] > 0).astype(float)))
    assert (index > 2.0).all()
    assert (index < np.array(ct.grid.shape) - 3.0).all()


def test_a_wide_field_is_centred_on_the_body(ct: CtVolume) -> None:
    first, last = (ct.grid.to_patient_mm(np.array([0.0, k, k]))[:2] for k in (-0.5, 127.5))
    assert 0.5 * (first + last) == pytest.approx([0.0, 0.0], abs=1e-6)
    assert last - first == pytest.approx([440.0, 440.0])


def test_a_narrow_field_cuts_the_body_but_never_the_lungs(cylinder: tuple[np.ndarray, np.ndarray]) -> None:
    narrow = scan(cylinder, replace(SCANNER, field_mm=150.0))
    low, high = (narrow.grid.to_patient_mm(np.array([0.0, k, k]))[:2] for k in (-0.5, 127.5))
    assert low[0] == pytest.approx(-105.0 - LUNG_MARGIN_MM, abs=5.0)
    assert high[0] == pytest.approx(105.0 + LUNG_MARGIN_MM, abs=5.0)
    assert narrow.hu[narrow.grid.shape[0] // 2, 64, 0] > -100.0  # still inside the body


def test_a_round_field_is_padded_in_its_corners(cylinder: tuple[np.ndarray, np.ndarray]) -> None:
    padded = scan(cylinder, replace(SCANNER, round_field=True, noise_hu=5.0)).hu
    assert (padded[:, [0, 0, -1, -1], [0, -1, 0, -1]] == LOWEST_HU).all()
    assert (padded[:, 64, 2] > LOWEST_HU).all()


def test_equal_draws_give_equal_pixels_and_uids_and_others_do_not(
    ct: CtVolume, cylinder: tuple[np.ndarray, np.ndarray]
) -> None:
    again, other = scan(cylinder), scan(cylinder, draws=Draws("7/NC-002"))
    assert np.array_equal(again.hu, ct.hu)
    assert again.source == ct.source
    assert not np.array_equal(other.hu[:20], ct.hu[:20])
    assert not set(other.source.sop_instance_uids) & set(ct.source.sop_instance_uids)


def test_another_pixel_value_gives_other_uids_in_the_same_study(
    ct: CtVolume, cylinder: tuple[np.ndarray, np.ndarray]
) -> None:
    hu = cylinder[0].copy()
    hu[20, 35, 38] = 60.0
    other = scan((hu, cylinder[1])).source
    assert other.study_instance_uid == ct.source.study_instance_uid == "2.25.5"
    assert other.series_instance_uid != ct.source.series_instance_uid
    assert not set(other.sop_instance_uids) & set(ct.source.sop_instance_uids)
    uids = [ct.source.series_instance_uid, *ct.source.sop_instance_uids]
    assert len(set(uids)) == len(uids) == ct.grid.shape[0] + 1
    assert all(len(uid) <= 64 and uid.startswith("2.25.") for uid in uids)


def test_only_a_free_breathing_patient_in_a_scanner_that_lets_breathe_is_blurred(
    cylinder: tuple[np.ndarray, np.ndarray],
) -> None:
    free = Breathing(20.0, 3.0, 80.0, -50.0, (0.0, 0.0), (120.0, 120.0))
    quiet = replace(SCANNER, noise_hu=0.0, seconds_per_slice=20.0)

    def scanned(scanner: CtScanner, breathing: Breathing | None) -> np.ndarray:
        return scan_ct(*cylinder, BODY, scanner, DRAWS, study_instance_uid="2.25.5", breathing=breathing).hu

    still = scanned(quiet, None)
    assert np.array_equal(scanned(replace(quiet, free_breathing=False), free), still)
    assert np.array_equal(scanned(quiet, replace(free, held_mm=25.0)), still)
    assert np.abs(scanned(quiet, free) - still).max() > 200.0
