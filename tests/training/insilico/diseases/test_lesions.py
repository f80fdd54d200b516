"""Fibrosis, consolidation, radiation change and vasoconstriction: where they are, and what they take from perfusion."""

import numpy as np
import pytest

from inference.anatomy import Lobe
from tests.insilico_lungs import healthy, middle_of, perfused, place_of
from tests.insilico_trees import coarse_body
from training.insilico.diseases.consolidation import Consolidation
from training.insilico.diseases.fibrosis import Fibrosis
from training.insilico.diseases.radiation import RadiationChange
from training.insilico.diseases.vasoconstriction import Vasoconstriction
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.lung_voxels import LungVoxels


def test_fibrosis_is_dense_basal_subpleural_and_badly_perfused() -> None:
    lungs = perfused((Fibrosis(0.2, 0.3, 0.25, "f"),))
    mask, inside = lungs.tissue.masks["fibrosis"], lungs.tissue.lobes > 0
    assert mask.sum() == pytest.approx(0.2 * inside.sum(), rel=0.02)
    assert inside[mask].all()
    voxels = LungVoxels.of(lungs.tissue.grid, lungs.tissue.lobes)
    struck = mask.reshape(-1)[voxels.flat]
    assert voxels.depth_mm()[struck].mean() < 0.6 * voxels.depth_mm().mean()
    assert voxels.height()[struck].mean() < voxels.height().mean() - 0.1
    assert -700.0 < lungs.tissue.hu[mask].mean() < -200.0
    assert lungs.mean(mask) < 0.75 * healthy().mean(mask)


@pytest.mark.parametrize("share", [0.15, 1.0])
def test_consolidation_fills_its_share_of_one_lobe_and_takes_its_blood(share: float) -> None:
    lungs = perfused((Consolidation(Lobe.RLL, share, middle_of(Lobe.RLL), 0.3, "c"),))
    mask, own = lungs.tissue.masks["consolidation"], coarse_body().lobes == Lobe.RLL
    assert mask.sum() == pytest.approx(share * own.sum(), rel=0.1)
    assert own[mask].all()
    np.testing.assert_array_equal(lungs.tissue.lobes, coarse_body().lobes)
    assert -100.0 < np.median(lungs.tissue.hu[mask]) < 60.0
    assert 0.2 < lungs.mean(mask) / healthy().mean(mask) < 0.5


def test_perfusion_falls_by_a_percent_per_gray() -> None:
    change = RadiationChange(middle_of(Lobe.RUL), 30.0, 60.0, 0.01, 1.0, 0.0, "r")
    tissue = change.damage(LungTissue.healthy(coarse_body()))
    voxels = LungVoxels.of(tissue.grid, tissue.lobes)
    dose, left = change.dose_at(voxels), tissue.capillaries.reshape(-1)[voxels.flat]
    assert dose.max() == pytest.approx(60.0, abs=1.0)
    high = dose > 5.0
    np.testing.assert_allclose(left[high], 1.0 - 0.01 * dose[high], atol=1e-3)
    np.testing.assert_array_equal(tissue.hu, coarse_body().hu)
    mask = tissue.masks["radiation-change"]
    assert mask.sum() == (dose >= 20.0).sum()
    assert np.linalg.norm(place_of(mask) - middle_of(Lobe.RUL), axis=1).min() < 6.0


def test_scars_of_radiation_are_dense_and_do_not_glow() -> None:
    lungs = perfused((RadiationChange(middle_of(Lobe.RUL), 30.0, 60.0, 0.01, 1.0, 1.0, "r"),))
    dense = lungs.tissue.hu > coarse_body().hu + 150.0
    assert dense.sum() > 50
    assert lungs.mean(dense) < 0.8 * healthy().mean(dense)


def test_vasoconstriction_takes_blood_that_the_ct_still_promises() -> None:
    lungs = perfused((Vasoconstriction(0.25, 45.0, 0.3, "v"),))
    mask = lungs.tissue.masks["vasoconstriction"]
    np.testing.assert_array_equal(lungs.tissue.hu, coarse_body().hu)
    assert mask.sum() == pytest.approx(0.25 * (coarse_body().lobes > 0).sum(), rel=0.02)
    assert lungs.mean(mask) < 0.7 * healthy().mean(mask)
    assert lungs.mean(~mask & (coarse_body().lobes > 0)) > 1.02
