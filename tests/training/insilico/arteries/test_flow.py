"""Blood divides among the territories as Poiseuille's and Kirchhoff's laws say, and none is lost."""

import numpy as np
import pytest

from inference.anatomy import Lobe
from tests.insilico_trees import TERRITORIES, coarse_body, grown, tree_of
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import downstream, ends_below, ends_supplied, length_mm, lobar_artery
from training.insilico.arteries.flow import ARTERY_SHARE, artery_conductance, flows
from training.insilico.arteries.territories import territory_map, territory_volumes_ml

FORK = [-1, 0, 0]
OPEN = np.ones(3)


def by_kirchhoff(tree: ArterialTree, bed: np.ndarray, lumen: np.ndarray, healthy_bed: float) -> np.ndarray:
    """Node pressures from a dense linear system: 1 before the trunk, 0 behind all beds."""
    artery = artery_conductance(tree, healthy_bed) * lumen**4
    count = len(artery)
    matrix, inflow = np.zeros((count, count)), np.zeros(count)
    for k in range(count):
        matrix[k, k] += artery[k]
        if tree.parent[k] < 0:
            inflow[k] += artery[k]
        else:
            parent = tree.parent[k]
            matrix[parent, parent] += artery[k]
            matrix[k, parent] -= artery[k]
            matrix[parent, k] -= artery[k]
        if tree.end[k] >= 0:
            matrix[k, k] += bed[tree.end[k]]
    pressure = np.linalg.solve(matrix, inflow)
    through = np.zeros(len(bed))
    ends = tree.end >= 0
    through[tree.end[ends]] = pressure[ends] * bed[tree.end[ends]]
    return through / through.sum()


def test_equal_ways_get_equal_flow() -> None:
    np.testing.assert_allclose(flows(tree_of(FORK), np.array([1.0, 1.0]), OPEN), [0.5, 0.5])


def test_a_fork_worked_out_by_hand() -> None:
    tree, bed = tree_of(FORK), np.array([1.0, 3.0])
    artery = artery_conductance(tree, 4.0)[1]
    branch = [1.0 / (1.0 / artery + 1.0), 1.0 / (1.0 / artery + 1.0 / 3.0)]
    np.testing.assert_allclose(flows(tree, bed, OPEN), np.array(branch) / sum(branch))


def test_half_the_radius_is_sixteen_times_the_resistance() -> None:
    tree, bed = tree_of(FORK), np.array([1.0, 1.0])
    resistance = 1.0 / artery_conductance(tree, 2.0)[1]
    branch = [1.0 / (16.0 * resistance + 1.0), 1.0 / (resistance + 1.0)]
    np.testing.assert_allclose(flows(tree, bed, np.array([1.0, 0.5, 1.0])), np.array(branch) / sum(branch))


def test_resistance_is_length_over_fourth_power_of_radius() -> None:
    tree = tree_of(FORK)
    tree.radius_mm[1] *= 2.0
    tree.end_mm[2, 0] += 20.0
    conductance = artery_conductance(tree, 1.0)
    assert conductance[1] / conductance[0] == pytest.approx(16.0)
    assert conductance[2] / conductance[0] == pytest.approx(1.0 / 3.0)


def test_arteries_hold_their_share_of_the_resistance() -> None:
    tree = grown()
    bed = np.full(TERRITORIES, 0.01)
    supplied = ends_supplied(tree)
    lost = ((supplied / supplied[0]) ** 2 / artery_conductance(tree, float(bed.sum()))).sum()
    assert lost / (lost + 1.0 / bed.sum()) == pytest.approx(ARTERY_SHARE)


def test_the_unit_of_the_bed_does_not_matter() -> None:
    bed = np.random.default_rng(2).random(TERRITORIES)
    lumen = np.ones(len(grown().parent))
    np.testing.assert_allclose(flows(grown(), bed, lumen), flows(grown(), 1e6 * bed, lumen))


@pytest.mark.parametrize("seed", range(5))
def test_flows_are_those_of_a_dense_linear_solve(seed: int) -> None:
    chance = np.random.default_rng(seed)
    tree = tree_of([-1, *(int(chance.integers(0, k)) for k in range(1, 40))])
    tree.radius_mm[:] = chance.uniform(0.3, 3.0, 40)
    bed = chance.uniform(0.1, 2.0, int(tree.end.max()) + 1)
    lumen = chance.uniform(0.3, 1.0, 40)
    np.testing.assert_allclose(flows(tree, bed, lumen, healthy_bed=20.0), by_kirchhoff(tree, bed, lumen, 20.0))


def test_lost_beds_change_less_when_the_arteries_are_those_of_the_healthy_lung() -> None:
    """With a tenth of the bed left everywhere, arteries hardly count, so a narrow one matters less."""
    tree, lumen = tree_of(FORK), np.array([1.0, 0.6, 1.0])
    bed = np.array([0.1, 0.1])
    alone, against_healthy = flows(tree, bed, lumen)[0], flows(tree, bed, lumen, healthy_bed=2.0)[0]
    assert alone < against_healthy < 0.5


@pytest.mark.parametrize("lobe", Lobe)
def test_a_closed_lobar_artery_darkens_its_lobe_and_only_it(lobe: Lobe) -> None:
    body, tree = coarse_body(), grown()
    bed = territory_volumes_ml(territory_map(tree, body.lobes, body.grid), body.grid, TERRITORIES)
    lumen = np.ones(len(tree.parent))
    before = flows(tree, bed, lumen)
    lumen[lobar_artery(tree, lobe)] = 0.0
    after = flows(tree, bed, lumen)
    dark = np.zeros(TERRITORIES, dtype=bool)
    dark[tree.end[(tree.lobe == lobe) & (tree.end >= 0)]] = True
    assert (after[dark] == 0.0).all()
    assert (after[~dark] > before[~dark]).all()
    assert before.sum() == pytest.approx(1.0)
    assert after.sum() == pytest.approx(1.0)


def test_an_artery_narrowed_a_little_takes_some_from_what_lies_below_it() -> None:
    tree, bed = grown(), np.ones(TERRITORIES)
    artery = lobar_artery(tree, Lobe.RLL)
    lumen = np.ones(len(tree.parent))
    before = flows(tree, bed, lumen)
    lumen[artery] = 0.3
    after = flows(tree, bed, lumen)
    below = np.zeros(TERRITORIES, dtype=bool)
    below[ends_below(tree, artery)] = True
    assert (after[below] < before[below]).all()
    assert (after[below] > 0.0).all()
    assert (after[~below] > before[~below]).all()


def test_a_territory_without_lung_gets_nothing() -> None:
    bed = np.ones(TERRITORIES)
    bed[[3, 77]] = 0.0
    result = flows(grown(), bed, np.ones(len(grown().parent)))
    assert (result[[3, 77]] == 0.0).all()
    assert (np.delete(result, [3, 77]) > 0.0).all()
    assert result.sum() == pytest.approx(1.0)


def test_healthy_flow_varies_little_with_the_way() -> None:
    """Less than the 15 to 30 % that the paper notes ask of heterogeneity which CT does not show."""
    body, tree = coarse_body(), grown()
    volume = territory_volumes_ml(territory_map(tree, body.lobes, body.grid), body.grid, TERRITORIES)
    relative = flows(tree, volume, np.ones(len(tree.parent))) / volume * volume.sum()
    spread = np.sqrt(np.average((relative - 1.0) ** 2, weights=volume))
    assert spread < 0.15
    for lobe in Lobe:
        mine = ends_below(tree, lobar_artery(tree, lobe))
        assert np.average(relative[mine], weights=volume[mine]) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("closed", ["trunk", "beds", "all ways"])
def test_nothing_can_flow_when_all_is_closed(closed: str) -> None:
    tree, bed = grown(), np.zeros(TERRITORIES) if closed == "beds" else np.ones(TERRITORIES)
    lumen = np.ones(len(tree.parent))
    if closed == "trunk":
        lumen[0] = 0.0
    if closed == "all ways":
        for lobe in Lobe:
            lumen[downstream(tree, lobar_artery(tree, lobe))] = 0.0
    with pytest.raises(ValueError, match="no blood can flow"):
        flows(tree, bed, lumen)


def test_a_segment_of_no_length_lets_blood_through() -> None:
    tree = tree_of(FORK)
    tree.end_mm[1] = tree.start_mm[1]
    assert length_mm(tree)[1] == 0.0
    result = flows(tree, np.ones(2), OPEN)
    assert 0.5 < result[0] < 1.0
