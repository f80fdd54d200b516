"""A tree fills regions of any shape, without leaving them where it branches."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from inference.anatomy import Lobe
from tests.insilico_trees import cube
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import ends_supplied
from training.insilico.arteries.territories import territory_middles_mm
from training.insilico.arteries.tree_draft import TreeDraft
from training.insilico.arteries.veins import grow_veins
from training.insilico.arteries.volume_filling import fill, within

GRID = cube(32, 2.0)


def shell() -> np.ndarray:
    """Half a hollow ball: the middle of the whole and of many parts of it lies outside."""
    z, y, x = (part - 15.5 for part in np.ogrid[:32, :32, :32])
    distance = np.sqrt(z**2 + y**2 + x**2)
    return (distance > 10.0) & (distance < 14.5) & (z > -4.0)


def grow(inside: np.ndarray, count: int, *, parts: int = 1, seed: int = 3) -> tuple[ArterialTree, np.ndarray]:
    chance = np.random.default_rng(seed)
    places = territory_middles_mm(inside, GRID, count, chance)
    draft, root = TreeDraft(), GRID.to_patient_mm(np.array([[15.5, 15.5, 15.5]]))[0]
    draft.add(-1, root - 10.0, root, 0)
    draft.grow_lobe(0, Lobe.RUL, places, inside, GRID, parts=parts, chance=chance)
    return draft.finished(5.0), places


def test_every_branch_ends_inside_a_region_that_is_hollow() -> None:
    tree, places = grow(shell(), 150)
    assert not within(places.mean(axis=0)[None], shell(), GRID)[0]
    assert within(tree.end_mm[1:], shell(), GRID).all()


def test_veins_run_in_the_lung_between_the_places_of_arteries() -> None:
    arteries, places = grow(shell(), 300)
    veins = grow_veins(arteries, shell() * np.uint8(Lobe.RUL), GRID)
    ends = veins.end_mm[veins.end >= 0]
    assert within(ends, shell(), GRID).all()
    spacing_mm = np.median(cKDTree(places).query(places, k=2)[0][:, 1])
    assert np.median(cKDTree(places).query(ends)[0]) > 0.4 * spacing_mm


def test_every_place_is_reached_once() -> None:
    tree, places = grow(shell(), 150)
    ends = tree.end_mm[tree.end >= 0]
    np.testing.assert_allclose(ends[np.lexsort(ends.T)], places[np.lexsort(places.T)])


def test_branches_divide_in_two_and_the_first_ones_evenly() -> None:
    tree, places = grow(shell(), 120, parts=4)
    counts = np.bincount(tree.parent[1:], minlength=len(tree.parent))
    assert set(counts[1:]) == {0, 2}
    quarters = [k for k in range(len(tree.parent)) if tree.parent[k] > 0 and tree.parent[tree.parent[k]] == 1]
    np.testing.assert_allclose(ends_supplied(tree)[quarters], len(places) / 4, atol=1.0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_places_are_enough(count: int) -> None:
    tree, places = grow(shell(), count, parts=5)
    assert (tree.end >= 0).sum() == len(places) == count


def test_equal_chance_gives_equal_branches() -> None:
    places = territory_middles_mm(shell(), GRID, 40, np.random.default_rng(1))
    one, same, other = (
        fill(places[0] - 5.0, places[0], places, parts=2, inside=shell(), grid=GRID, chance=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.end_mm, same.end_mm)
    assert one.end_mm.tobytes() != other.end_mm.tobytes()


def test_positions_off_the_grid_are_not_within() -> None:
    everywhere = np.ones(GRID.shape, dtype=bool)
    corner = GRID.to_patient_mm(np.array([[0.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [31.0, 31.0, 31.0], [0.0, 32.0, 0.0]]))
    assert list(within(corner, everywhere, GRID)) == [True, False, True, False]
