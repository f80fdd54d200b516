"""Figures of a patient made of blocks, all of which can be worked out by hand."""

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.geometry import Grid
from inference.volumes import CtVolume, SeriesReference
from training.baselines import Predictor, blurred
from training.insilico.patient import Truth
from training.insilico.realism.agreement_figures import SEEN_TRUTH, TRUTH
from training.insilico.realism.ct_figures import HISTOGRAM_HU, class_percent
from training.insilico.realism.perfusion_figures import measure_defects, measure_perfusion
from training.insilico.realism.realism import PatientFigures, Views, measure
from training.insilico.realism.spect_phantom import point_fwhm_mm
from training.voxel_means import voxel_means

FRAME = "2.25.1"
BODY = Grid.axial((40, 40, 60), (4.0, 4.0, 4.0), (-118.0, -78.0, -78.0), frame_of_reference_uid=FRAME)
SPECT = Grid.axial((40, 36, 54), (4.5, 4.5, 4.5), (-121.0, -80.0, -88.0), frame_of_reference_uid=FRAME)
GRAVITY = 0.03
"""Fall of perfusion per cm of height."""
FACTS = {
    "patient": "NC-001",
    "cohort": "non-cancer",
    "hospital": "hospital-a",
    "breath": "free breathing",
    "counts": 4_000_000,
    "tumour_grade": 2,
}


def block_lobes() -> np.ndarray:
    """Two boxes of 80 mm height and depth, the right 64 mm wide, the left 48 mm; lower lobes are the lower halves."""
    lobes = np.zeros(BODY.shape, np.uint8)
    lobes[10:20, 10:30, 6:22], lobes[20:30, 10:30, 6:22] = Lobe.RLL, Lobe.RUL
    lobes[10:20, 10:30, 38:50], lobes[20:30, 10:30, 38:50] = Lobe.LLL, Lobe.LUL
    return lobes


def with_gravity(lobes: np.ndarray) -> np.ndarray:
    height_cm = np.broadcast_to(-BODY.coordinates_mm()[1] / 10.0, BODY.shape)
    return np.where(lobes > 0, 1.0 - GRAVITY * height_cm, 0.0).astype(np.float32)


def ct_of(lobes: np.ndarray) -> CtVolume:
    """Lung of -700 HU in tissue; a quarter of the left upper lobe is air, an eighth of the right lower nearly."""
    hu = np.where(lobes > 0, -700.0, 30.0).astype(np.float32)
    hu[25:30, 10:20, 38:50] = -960.0
    hu[10:15, 10:20, 6:14] = -940.0
    source = SeriesReference("2.25.2", "2.25.3", FRAME, tuple(f"2.25.{k + 9}" for k in range(BODY.shape[0])))
    return CtVolume(hu, BODY, source)


@pytest.fixture(scope="module")
def figures() -> PatientFigures:
    lobes = block_lobes()
    tumour = np.zeros(BODY.shape, bool)
    tumour[10:15, 10:15, 38:44] = True
    perfusion = with_gravity(lobes)
    perfusion /= perfusion[lobes > 0].mean()
    activity = voxel_means(perfusion, BODY, SPECT)
    truth = Truth(
        grid=BODY,
        lobes=lobes,
        perfusion=perfusion,
        vessels=np.zeros(BODY.shape, np.uint8),
        territories=np.where(lobes > 0, 0, -1).astype(np.int32),
        diseases={"tumour": tumour},
    )
    return measure(Views(truth, ct_of(lobes), blurred(activity, SPECT, fwhm_mm=14.0), SPECT), FACTS)[0]


def test_volumes_are_those_of_the_blocks(figures: PatientFigures) -> None:
    assert figures.ct.volume_ml == pytest.approx(80 * 80 * (64 + 48) / 1000.0)
    assert figures.ct.right_percent == pytest.approx(100 * 64 / 112)
    assert figures.ct.lobe_percent == pytest.approx(
        {"RUL": 100 * 32 / 112, "RLL": 100 * 32 / 112, "LUL": 100 * 24 / 112, "LLL": 100 * 24 / 112}
    )


def test_emphysema_is_the_air_of_the_left_upper_lobe(figures: PatientFigures) -> None:
    assert figures.ct.lobe_laa950_percent == pytest.approx({"RUL": 0.0, "RLL": 0.0, "LUL": 25.0, "LLL": 0.0})
    assert figures.ct.laa950_percent == pytest.approx(25.0 * 24 / 112)
    assert figures.ct.mean_hu == pytest.approx(-700.0 - 260.0 * 6 / 112 - 240.0 * 4 / 112)


def test_the_histogram_holds_all_voxels_in_their_bins(figures: PatientFigures) -> None:
    bins = dict(zip(HISTOGRAM_HU[:-1], figures.ct.histogram_percent, strict=True))
    assert bins[-960.0] == pytest.approx(100.0 * 6 / 112)
    assert bins[-940.0] == pytest.approx(100.0 * 4 / 112)
    assert bins[-700.0] == pytest.approx(100.0 * 102 / 112)
    assert sum(figures.ct.histogram_percent) == pytest.approx(100.0)


def test_classes_of_inflation_are_shares_of_weight() -> None:
    # Weights 0.05, 0.3, 0.7 and 1.03 of water.
    shares = class_percent(np.array([-950.0, -700.0, -300.0, 30.0], np.float32))
    assert list(shares.values()) == pytest.approx([100 * w / 2.08 for w in (0.05, 0.3, 0.7, 1.03)], rel=1e-5)


def test_gravity_is_found_on_the_truth_and_at_spect_resolution(figures: PatientFigures) -> None:
    # Heights are symmetric about y = 0, so the mean perfusion before scaling is 1.
    assert figures.truth.gravity_percent_per_cm == pytest.approx(-100.0 * GRAVITY, rel=1e-5)
    assert figures.truth.height_share == pytest.approx(1.0, rel=1e-5)
    assert figures.truth.variation == pytest.approx(GRAVITY * np.std(np.arange(20) * 0.4), rel=1e-4)
    assert figures.seen.gravity_percent_per_cm == pytest.approx(-100.0 * GRAVITY, rel=0.15)


def test_perfusion_follows_volume_where_it_is_even(figures: PatientFigures) -> None:
    assert figures.truth.right_percent == pytest.approx(100 * 64 / 112, rel=1e-5)
    assert figures.truth.lobe_relative == pytest.approx(dict.fromkeys(("RUL", "RLL", "LUL", "LLL"), 1.0), rel=1e-5)


def test_per_tissue_the_front_with_less_tissue_gets_more() -> None:
    even = measure_on(with_density=lambda lobes: np.where(lobes > 0, -700.0, 30.0))
    assert even.gravity_per_tissue == pytest.approx(-100.0 * GRAVITY, rel=0.1)  # tissue is even, so the slope stays
    denser = measure_on(with_density=lambda lobes: np.where(lobes > 0, -1000.0 + 300.0 * with_gravity(lobes), 30.0))
    assert denser.gravity_per_tissue == pytest.approx(0.0, abs=0.15)


def measure_on(with_density) -> PatientFigures:  # type: ignore[no-untyped-def]
    lobes = block_lobes()
    perfusion = with_gravity(lobes)
    territories = np.where(lobes > 0, 0, -1).astype(np.int32)
    truth = Truth(BODY, lobes, perfusion, np.zeros(BODY.shape, np.uint8), territories)
    source = SeriesReference("2.25.2", "2.25.3", FRAME, tuple(f"2.25.{k + 9}" for k in range(BODY.shape[0])))
    ct = CtVolume(np.asarray(with_density(lobes), np.float32), BODY, source)
    spect = blurred(voxel_means(perfusion, BODY, SPECT), SPECT, fwhm_mm=14.0)
    return measure(Views(truth, ct, spect, SPECT), FACTS)[0]


def test_the_resolution_of_the_spect_is_found(figures: PatientFigures) -> None:
    assert figures.agreement.fwhm_mm == pytest.approx(14.0, abs=0.2)


def test_ceiling_and_trivial_predictors_stand_in_their_order(figures: PatientFigures) -> None:
    scores = figures.agreement.with_spect
    assert scores[SEEN_TRUTH].whole == pytest.approx(1.0, abs=1e-3)  # no noise was added
    assert scores[SEEN_TRUTH].eroded == pytest.approx(1.0, abs=1e-3)
    # All of this truth is shape and gravity, and the SPECT is blurred: sharp truth fails at the edge, the outline alone
    # fails inside.
    assert scores[Predictor.SHAPE_GRAVITY].whole > 0.99
    assert scores[Predictor.SHAPE].whole > 0.6
    assert scores[TRUTH].whole < scores[Predictor.SHAPE_GRAVITY].whole
    assert scores[Predictor.SHAPE].eroded < 0.3
    assert 0 < figures.agreement.eroded_voxels < figures.agreement.voxels


def test_the_tumour_lies_where_it_was_put(figures: PatientFigures) -> None:
    assert figures.tumour_side == "L"
    assert figures.tumour_grade == 2
    assert figures.disease_percent["tumour"] == pytest.approx(100.0 * 5 * 5 * 6 / (20 * 20 * 28))


def test_defects_are_connected_low_regions_from_five_millilitres() -> None:
    grid = Grid.axial((20, 20, 20), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), frame_of_reference_uid=FRAME)
    lungs, values = np.ones(grid.shape, bool), np.ones(grid.shape, np.float32)
    values[2:6, 2:6, 2:6] = 0.2  # 64 voxels of 0.125 ml: 8 ml
    values[10:14, 10:15, 10:12] = 0.3  # 40 voxels: 5 ml, just counted
    values[18, 18, 1:8] = 0.0  # 7 voxels: too small
    values[15:18, 2:8, 2:8] = 0.6  # not low enough
    values[2:5, 15:18, 12:15], values[5:8, 12:15, 12:15] = 0.1, 0.1  # 3.4 ml each, they touch along an edge only
    found = measure_defects(values, lungs, grid)
    assert (found.number, found.largest_ml) == (2, pytest.approx(8.0))
    assert found.percent == pytest.approx(100.0 * 13.0 / 1000.0)
    assert found.largest_percent == pytest.approx(0.8)


def test_half_the_perfusion_of_one_lung_is_a_third_of_all() -> None:
    lobes = block_lobes()
    values = np.where(lobes >= Lobe.LUL, 0.5, 1.0).astype(np.float32)
    found = measure_perfusion(values, lobes, BODY)
    assert found.right_percent == pytest.approx(100 * 64 / (64 + 24))
    assert found.lobe_relative["LLL"] / found.lobe_relative["RLL"] == pytest.approx(0.5)
    assert found.gravity_percent_per_cm == pytest.approx(0.0, abs=1e-6)


def test_the_width_of_a_gaussian_is_its_full_width_at_half_maximum() -> None:
    grid = Grid.axial((40, 40, 40), (4.0, 4.0, 4.0), (-153.0, -78.0, -78.0), frame_of_reference_uid=FRAME)
    x, y, z = grid.coordinates_mm()
    sigma = 12.0 / 2.3548
    spot = np.exp(-0.5 * (((x + 75.0) ** 2 + y**2 + z**2) / sigma**2)).astype(np.float32)
    # The size of the hot cube is taken out in quadrature: a cube of 6 mm has a variance of 3 mm².
    assert point_fwhm_mm(spot, grid) == pytest.approx(2.3548 * np.sqrt(sigma**2 - 3.0), rel=1e-3)
