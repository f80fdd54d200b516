"""Which voxel hangs on which artery."""

import numpy as np
import pytest

from inference.anatomy import Lobe
from tests.insilico_trees import TERRITORIES, coarse_body, cube, grown
from training.insilico.arteries.territories import territory_map, territory_middles_mm, territory_volumes_ml


def test_every_lung_voxel_has_a_territory_and_no_other_voxel() -> None:
    body = coarse_body()
    territories = territory_map(grown(), body.lobes, body.grid)
    assert territories.dtype == np.int32
    np.testing.assert_array_equal(territories >= 0, body.lobes > 0)


def test_territories_never_cross_a_fissure() -> None:
    body, tree = coarse_body(), grown()
    lobe_of = np.zeros(TERRITORIES, dtype=int)
    lobe_of[tree.end[tree.end >= 0]] = tree.lobe[tree.end >= 0]
    lungs = body.lobes > 0
    np.testing.assert_array_equal(lobe_of[territory_map(tree, body.lobes, body.grid)[lungs]], body.lobes[lungs])


def test_a_voxel_belongs_to_the_nearest_end_of_its_lobe() -> None:
    body, tree = coarse_body(), grown()
    territories = territory_map(tree, body.lobes, body.grid)
    for index in np.argwhere(body.lobes > 0)[::97]:
        place = body.grid.to_patient_mm(index[None].astype(float))[0]
        of_lobe = np.flatnonzero((tree.end >= 0) & (tree.lobe == body.lobes[tuple(index)]))
        distance = np.linalg.norm(tree.end_mm[of_lobe] - place, axis=1)
        mine = np.flatnonzero(tree.end[of_lobe] == territories[tuple(index)])
        assert distance[mine] == pytest.approx(distance.min())


def test_no_territory_is_empty_and_all_are_of_similar_size() -> None:
    body = coarse_body()
    volumes = territory_volumes_ml(territory_map(grown(), body.lobes, body.grid), body.grid, TERRITORIES)
    assert volumes.min() > 0
    assert volumes.sum() == pytest.approx((body.lobes > 0).sum() * body.grid.voxel_volume_ml)
    assert volumes.std() / volumes.mean() < 0.3


def test_a_territory_whose_lung_is_gone_has_no_volume() -> None:
    body, tree = coarse_body(), grown()
    rest = np.where(body.lobes == Lobe.LUL, 0, body.lobes).astype(np.uint8)
    volumes = territory_volumes_ml(territory_map(tree, rest, body.grid), body.grid, TERRITORIES)
    gone = tree.end[(tree.end >= 0) & (tree.lobe == Lobe.LUL)]
    assert set(np.flatnonzero(volumes == 0)) == set(gone)


def test_a_lobe_without_artery_is_refused() -> None:
    body = coarse_body()
    with pytest.raises(ValueError, match="lobe 6"):
        territory_map(grown(), np.where(body.lobes == Lobe.RML, 6, body.lobes).astype(np.uint8), body.grid)


def test_middles_are_voxels_of_the_lobe_each_of_its_own() -> None:
    grid, lobe = cube(20, 2.0), np.zeros((20, 20, 20), dtype=bool)
    lobe[3:17, 4:15, 2:18] = True
    middles = territory_middles_mm(lobe, grid, 60, np.random.default_rng(1))
    index = grid.to_index(middles)
    np.testing.assert_allclose(index, np.rint(index), atol=1e-9)
    assert lobe[tuple(np.rint(index).astype(int).T)].all()
    assert len(np.unique(np.rint(index), axis=0)) == len(middles) == 60


def test_more_territories_than_voxels_gives_one_for_each_voxel_at_most() -> None:
    grid, lobe = cube(6, 2.0), np.zeros((6, 6, 6), dtype=bool)
    lobe[2, 2, 1:5] = True
    assert 1 <= len(territory_middles_mm(lobe, grid, 100, np.random.default_rng(1))) <= 4
