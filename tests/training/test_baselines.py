"""Trivial predictors on a block of lung whose blurred pictures are known."""

import numpy as np
import pytest

from inference.geometry import Grid
from inference.volumes import CtVolume, SeriesReference
from training.baselines import (
    PUBLISHED_WEIGHTS,
    LungsOnSpect,
    Predictor,
    Term,
    blurred,
    density,
    density_and_gravity,
    fit,
    lungs_on_spect,
    predict,
    shape_and_gravity,
    shape_only,
    sharp_terms,
    weighted,
)
from training.metrics import spearman

FRAME = "2.25.1"
SPECT = Grid.axial((20, 20, 20), (4.0, 4.0, 4.0), (-38.0, -38.0, -38.0), frame_of_reference_uid=FRAME)
NEARLY_SHARP_MM = 0.5


@pytest.fixture(scope="module")
def block() -> LungsOnSpect:
    """A cube of lung, 48 mm across, with twice as much tissue in its left half."""
    share = np.zeros(SPECT.shape, np.float32)
    share[4:16, 4:16, 4:16] = 1.0
    tissue = share * np.where(np.arange(20) >= 10, 4.0 / 3.0, 2.0 / 3.0).astype(np.float32)
    return LungsOnSpect(share, tissue, SPECT)


def test_shape_knows_nothing_but_the_outline(block: LungsOnSpect) -> None:
    sharp = shape_only(block, fwhm_mm=NEARLY_SHARP_MM)
    assert sharp == pytest.approx(block.share, abs=1e-3)
    soft = shape_only(block, fwhm_mm=16.0)
    assert soft[10, 10, 10] > soft[10, 10, 4] > soft[10, 10, 2] > 0  # spilled over the edge
    assert soft[10, 10, 4] == pytest.approx(soft[10, 4, 10], rel=1e-4)


def test_gravity_falls_by_the_published_part_per_centimetre_of_height(block: LungsOnSpect) -> None:
    sharp = shape_and_gravity(block, fwhm_mm=NEARLY_SHARP_MM)
    front, back = sharp[10, 4, 10], sharp[10, 15, 10]  # 44 mm apart, the back below
    assert back - front == pytest.approx(0.026 * 4.4, rel=1e-2)
    assert 0.5 * (front + back) == pytest.approx(1.0, rel=1e-2)


def test_density_is_tissue(block: LungsOnSpect) -> None:
    sharp = density(block, fwhm_mm=NEARLY_SHARP_MM)
    assert sharp[10, 10, 14] / sharp[10, 10, 5] == pytest.approx(2.0, rel=1e-2)
    both = density_and_gravity(block, fwhm_mm=NEARLY_SHARP_MM)
    assert both[10, 15, 14] - both[10, 4, 14] == pytest.approx(4.0 / 3.0 * 0.026 * 4.4, rel=1e-2)


def test_the_blurred_outline_alone_scores_high_on_the_whole_mask() -> None:
    # What the project warns of: perfusion without any pattern, blurred, against the outline.
    mask = np.zeros(SPECT.shape, bool)
    mask[3:17, 5:15, 2:18] = True
    lungs = LungsOnSpect(mask.astype(np.float32), mask.astype(np.float32), SPECT)
    spect = blurred(mask.astype(np.float32) + 0.05 * np.random.default_rng(3).random(SPECT.shape, np.float32), SPECT,
                    fwhm_mm=15.0)  # fmt: skip
    assert spearman(shape_only(lungs, fwhm_mm=15.0), spect, mask) > 0.95


def test_a_fit_finds_the_weights_that_made_the_image(block: LungsOnSpect) -> None:
    made = {Term.LUNG: 0.4, Term.TISSUE: 0.6, Term.LUNG_HEIGHT: -0.05, Term.TISSUE_HEIGHT: 0.03}
    terms = np.stack([blurred(term, SPECT, fwhm_mm=10.0) for term in sharp_terms(block)])[:, block.mask]
    spect = weighted(terms, made)
    found = fit(Predictor.DENSITY_GRAVITY, [(terms, 7.0 * spect), (terms, 3.0 * spect)])
    scale = found[Term.LUNG] / made[Term.LUNG]
    assert {term: weight / scale for term, weight in found.items()} == pytest.approx(made, rel=1e-2)


def test_every_patient_has_the_same_say_whatever_the_counts(block: LungsOnSpect) -> None:
    terms = sharp_terms(block)[:, block.mask]
    one, other = {Term.LUNG: 0.0, Term.TISSUE: 1.0}, {Term.LUNG: 1.0, Term.TISSUE: 0.0}
    found = fit(Predictor.DENSITY, [(terms, weighted(terms, one)), (terms, 1000.0 * weighted(terms, other))])
    assert found == pytest.approx({Term.LUNG: 0.5, Term.TISSUE: 0.5}, abs=1e-4)


def test_what_crosses_the_end_of_the_grid_is_lost() -> None:
    even = np.ones(SPECT.shape, np.float32)
    assert blurred(even, SPECT, fwhm_mm=12.0)[0, 10, 10] < 0.7
    assert blurred(even, SPECT, fwhm_mm=12.0)[10, 10, 10] == pytest.approx(1.0, abs=1e-3)


def test_a_fit_without_patients_is_refused() -> None:
    with pytest.raises(ValueError, match="no training patient"):
        fit(Predictor.SHAPE, [])


@pytest.mark.parametrize("predictor", list(Predictor))
def test_own_weights_take_the_place_of_published_ones(predictor: Predictor, block: LungsOnSpect) -> None:
    doubled = {term: 2.0 * weight for term, weight in PUBLISHED_WEIGHTS[predictor].items()}
    plain = predict(predictor, block, fwhm_mm=12.0)
    assert predict(predictor, block, fwhm_mm=12.0, weights=doubled) == pytest.approx(2.0 * plain, rel=1e-5)


def test_a_ct_becomes_lung_and_tissue_at_the_voxels_of_the_spect() -> None:
    fine = Grid.axial((40, 40, 40), (2.0, 2.0, 2.0), (-39.0, -39.0, -39.0), frame_of_reference_uid=FRAME)
    lungs = np.zeros(fine.shape, bool)
    lungs[10:30, 10:30, 10:30] = True
    hu = np.full(fine.shape, 40.0, np.float32)
    hu[10:30, 10:30, 10:20] = -800.0  # 0.2 of it is tissue
    hu[10:30, 10:30, 20:30] = -600.0  # 0.4
    source = SeriesReference("2.25.3", "2.25.4", FRAME, tuple(f"2.25.{k + 5}" for k in range(40)))
    seen = lungs_on_spect(CtVolume(hu, fine, source), lungs, SPECT)
    assert seen.share[5:15, 5:15, 5:15] == pytest.approx(1.0)
    assert seen.share.sum() == pytest.approx(1000.0)
    assert seen.tissue[10, 10, 7] == pytest.approx(2.0 / 3.0, rel=1e-5)
    assert seen.tissue[10, 10, 12] == pytest.approx(4.0 / 3.0, rel=1e-5)
    assert np.count_nonzero(seen.mask) == 1000
