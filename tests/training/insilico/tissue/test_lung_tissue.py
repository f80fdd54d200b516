"""Lesions change what they should, never in place, and added tissue brings no blood."""

import numpy as np

from tests.insilico_trees import coarse_body
from training.insilico.tissue.lung_tissue import MOST_TISSUE, LungTissue, bedded_fraction, tissue_fraction


def some_voxels() -> np.ndarray:
    return np.flatnonzero(coarse_body().lobes)[1000:1010]


def test_a_lesion_leaves_the_tissue_before_it_as_it_was() -> None:
    before = LungTissue.healthy(coarse_body())
    hu, lobes = before.hu.copy(), before.lobes.copy()
    after = before.with_lesion("x", some_voxels(), hu=20.0, capillaries=0.5, lobes=0)
    np.testing.assert_array_equal(before.hu, hu)
    np.testing.assert_array_equal(before.lobes, lobes)
    assert before.capillaries.min() == 1.0
    assert (after.hu.flat[some_voxels()] == 20.0).all()
    assert (after.lobes.flat[some_voxels()] == 0).all()
    assert set(np.flatnonzero(after.masks["x"])) == set(some_voxels())


def test_lesions_of_one_name_share_a_mask() -> None:
    voxels = some_voxels()
    tissue = LungTissue.healthy(coarse_body()).with_lesion("x", voxels[:3]).with_lesion("x", voxels[5:])
    assert tissue.masks["x"].sum() == 8


def test_added_tissue_brings_no_capillaries_but_pressed_lung_keeps_its_own() -> None:
    voxels, healthy = some_voxels(), LungTissue.healthy(coarse_body())
    filled = healthy.with_lesion("x", voxels, hu=0.0, capillaries=0.5, adds_tissue=True)
    pressed = healthy.with_lesion("x", voxels, hu=0.0, capillaries=0.5)
    before = bedded_fraction(healthy.hu.flat[voxels])
    after = bedded_fraction(filled.hu.flat[voxels])
    np.testing.assert_allclose(after * filled.capillaries.flat[voxels], 0.5 * before, rtol=1e-5)
    np.testing.assert_allclose(pressed.capillaries.flat[voxels], 0.5)


def test_tissue_is_what_is_not_air() -> None:
    hu = np.array([-1024.0, -1000.0, -700.0, 0.0, 300.0], dtype=np.float32)
    np.testing.assert_allclose(tissue_fraction(hu), [0.0, 0.0, 0.3, 1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(bedded_fraction(hu), [0.0, 0.0, 0.3, MOST_TISSUE, MOST_TISSUE], atol=1e-6)
