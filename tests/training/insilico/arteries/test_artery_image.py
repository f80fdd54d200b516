"""Vessels in the CT: as much blood as they hold, where they are, and nowhere else."""

import numpy as np
import pytest
from scipy import ndimage

from inference.anatomy import Lobe
from tests.insilico_trees import coarse_body, cube, grown, tube, with_lobes
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.arteries import grow_arteries
from training.insilico.arteries.artery_image import AIR_HU, BLOOD_HU, blood_share, paint_vessels
from training.insilico.arteries.branching import downstream, lobar_artery
from training.insilico.arteries.veins import grow_veins
from training.insilico.draws import Draws

GRID = cube(40, 1.5)
MIDDLE = tuple(GRID.to_patient_mm(np.array([[19.5, 19.5, 19.5]]))[0])
LUNG = np.full(GRID.shape, Lobe.RUL, dtype=np.uint8)
OPEN = np.ones(3)


def along(
    direction: tuple[float, float, float], length_mm: float, radius_mm: float, shift_mm: float = 0.0
) -> ArterialTree:
    unit = np.array(direction) / np.linalg.norm(direction)
    start, end = (tuple(np.array(MIDDLE) + shift_mm + sign * unit * length_mm / 2) for sign in (-1.0, 1.0))
    return tube(start, end, radius_mm)


@pytest.mark.parametrize("radius_mm", [0.4, 0.7, 1.0, 1.6, 4.0])
@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.3, 0.5, -0.9), (1.0, 1.0, 0.0)])
def test_a_tube_holds_its_volume(radius_mm: float, direction: tuple[float, float, float]) -> None:
    """On the mean over its positions between voxels; the round ends are the same for two lengths."""
    added_mm3 = []
    for shift_mm in np.linspace(0.0, 1.5, 7, endpoint=False):
        short, long = (blood_share(LUNG, along(direction, mm, radius_mm, shift_mm), GRID, OPEN) for mm in (30.0, 40.0))
        added_mm3.append((long.sum(dtype=float) - short.sum(dtype=float)) * 1.5**3)
        assert 0.0 <= long.min() <= long.max() <= 1.0
    assert np.mean(added_mm3) == pytest.approx(np.pi * radius_mm**2 * 10.0, rel=0.05)
    np.testing.assert_allclose(added_mm3, np.mean(added_mm3), rtol=0.15)


def test_a_wide_tube_is_full_inside_and_empty_outside() -> None:
    share = blood_share(LUNG, along((1.0, 0.0, 0.0), 30.0, 4.0), GRID, OPEN)
    z, y, x = (part - 19.5 for part in np.ogrid[:40, :40, :40])
    away = np.sqrt(z**2 + y**2) * 1.5 + 0.0 * x
    middle = np.abs(x) < 8.0
    assert (share[(away < 3.0) & middle] == 1.0).all()
    assert (share[away > 5.0] == 0.0).all()


def test_vessels_of_a_lobe_do_not_cross_into_another() -> None:
    lobes = LUNG.copy()
    lobes[:, :, 20:] = Lobe.RML
    tree = along((1.0, 0.0, 0.0), 30.0, 2.0)
    tree.lobe[:2] = Lobe.RUL
    share = blood_share(lobes, tree, GRID, OPEN)
    assert share[:, :, :20].any()
    assert not share[:, :, 20:].any()


def test_the_artery_of_a_lobe_comes_to_it_through_others() -> None:
    lobes = LUNG.copy()
    lobes[:, :, 20:] = Lobe.RML
    tree = along((1.0, 0.0, 0.0), 30.0, 2.0)
    tree.lobe[:2] = 0
    assert blood_share(lobes, tree, GRID, OPEN)[:, :, 20:].any()


def test_a_vessel_that_leaves_the_grid_is_cut_off() -> None:
    tree = along((1.0, 0.4, 0.3), 70.0, 2.0)
    box = (slice(5, 25), slice(13, 30), slice(10, 30))
    whole = blood_share(LUNG, tree, GRID, OPEN)
    part = blood_share(LUNG[box], tree, GRID.cropped(box), OPEN)
    assert part.any()
    np.testing.assert_allclose(part, whole[box], atol=1e-4)


def test_narrow_arteries_are_drawn_narrow_and_closed_ones_not_at_all() -> None:
    tree = along((1.0, 0.0, 0.0), 30.0, 4.0)
    open_, half, closed = (
        float(blood_share(LUNG, tree, GRID, np.array([1.0, 1.0, lumen])).sum()) for lumen in (1.0, 0.5, 0.0)
    )
    assert half / open_ == pytest.approx(0.25, abs=0.03)
    assert closed == 0.0
    assert not blood_share(LUNG, tree, GRID, np.array([1.0, 1.0, 0.09])).any()


def test_vessels_below_the_thinnest_are_not_drawn() -> None:
    assert not blood_share(LUNG, along((1.0, 0.0, 0.0), 30.0, 0.35), GRID, OPEN).any()


@pytest.fixture(scope="module")
def painted() -> np.ndarray:
    body, tree = coarse_body(), grown()
    return paint_vessels(body.hu, body.lobes, tree, body.grid, np.ones(len(tree.parent)))


def test_painting_only_adds_blood(painted: np.ndarray) -> None:
    body = coarse_body()
    assert painted.dtype == np.float32
    changed = painted != body.hu
    assert (painted >= body.hu).all()
    assert (painted[changed] <= BLOOD_HU).all()
    assert changed[body.lobes > 0].mean() > 0.02


def test_airways_and_the_air_round_the_patient_stay_empty(painted: np.ndarray) -> None:
    body = coarse_body()
    air = (body.lobes == 0) & (body.hu < AIR_HU)
    np.testing.assert_array_equal(painted[air], body.hu[air])


def test_the_body_itself_is_not_changed() -> None:
    body, tree = coarse_body(), grown()
    before = body.hu.copy()
    paint_vessels(body.hu, body.lobes, tree, body.grid, np.ones(len(tree.parent)))
    np.testing.assert_array_equal(body.hu, before)


def test_what_is_denser_than_blood_stays() -> None:
    body, tree = coarse_body(), grown()
    dense = np.full_like(body.hu, BLOOD_HU + 20.0)
    np.testing.assert_array_equal(paint_vessels(dense, body.lobes, tree, body.grid, np.ones(len(tree.parent))), dense)


def test_trunk_and_main_arteries_are_left_to_the_body() -> None:
    tree = along((1.0, 0.0, 0.0), 30.0, 0.1)
    tree.end_mm[:2] += 10.0
    tree.radius_mm[:2] = 5.0
    air = np.full(GRID.shape, -800.0, dtype=np.float32)
    np.testing.assert_array_equal(paint_vessels(air, LUNG, tree, GRID, OPEN), air)
    tree.radius_mm[2] = 2.0
    assert (paint_vessels(air, LUNG, tree, GRID, OPEN) > air).any()


def test_a_body_with_a_single_lobe_has_vessels() -> None:
    body = coarse_body()
    only = with_lobes(np.where(body.lobes == Lobe.LLL, body.lobes, 0))
    tree = grow_arteries(only, Draws("one lobe"), territories=50)
    painted = paint_vessels(body.hu, only.lobes, tree, body.grid, np.ones(len(tree.parent)))
    assert (painted > body.hu)[only.lobes > 0].any()
    veins = grow_veins(tree, only.lobes, body.grid)
    assert np.linalg.norm(veins.end_mm[1] - body.hilum_mm[1]) < 40.0


def test_contrast_medium_makes_vessels_bright(painted: np.ndarray) -> None:
    body, tree = coarse_body(), grown()
    bright = paint_vessels(body.hu, body.lobes, tree, body.grid, np.ones(len(tree.parent)), blood_hu=250.0)
    assert bright.max() >= 250.0
    assert bright[body.lobes > 0].mean() > painted[body.lobes > 0].mean()


def test_without_arteries_of_a_lobe_its_veins_are_left(painted: np.ndarray) -> None:
    body, tree = coarse_body(), grown()
    lumen = np.where(downstream(tree, lobar_artery(tree, Lobe.LLL)), 0.0, 1.0)
    pruned = paint_vessels(body.hu, body.lobes, tree, body.grid, lumen)
    own = body.lobes == Lobe.LLL
    assert body.hu[own].mean() < pruned[own].mean() < painted[own].mean()
    elsewhere = np.isin(body.lobes, (Lobe.RUL, Lobe.RML, Lobe.RLL))
    np.testing.assert_array_equal(pruned[elsewhere], painted[elsewhere])
    veins = paint_vessels(body.hu, body.lobes, tree, body.grid, np.zeros(len(tree.parent)))
    for lobe in Lobe:
        own = body.lobes == lobe
        assert body.hu[own].mean() + 5.0 < veins[own].mean() < painted[own].mean()


def test_veins_end_in_their_lobes_and_drain_below_the_arteries() -> None:
    body, tree = coarse_body(), grown()
    veins = grow_veins(tree, body.lobes, body.grid)
    ends = veins.end >= 0
    index = np.rint(body.grid.to_index(veins.end_mm[ends])).astype(int)
    np.testing.assert_array_equal(body.lobes[tuple(index.T)], veins.lobe[ends])
    assert set(veins.lobe[ends]) == set(Lobe)
    stems = np.flatnonzero(veins.parent == 0)
    assert len(stems) == 4
    assert veins.end_mm[stems, 2].max() < body.hilum_mm[:, 2].max()
    assert veins.end_mm[0, 2] < tree.end_mm[0, 2]


def test_veins_of_a_lobe_without_flow_are_gone(painted: np.ndarray) -> None:
    body, tree = coarse_body(), grown()
    ends = tree.end >= 0
    flow = np.ones(int(tree.end.max()) + 1)
    flow[tree.end[ends & (tree.lobe == Lobe.LLL)]] = 0.0
    lumen = np.where(downstream(tree, lobar_artery(tree, Lobe.LLL)), 0.0, 1.0)
    found = paint_vessels(body.hu, body.lobes, tree, body.grid, lumen, flow=flow)
    deep = ndimage.binary_erosion(body.lobes == Lobe.LLL)  # veins near the border drain the lobe beside it
    added, with_veins = found[deep] - body.hu[deep], painted[deep] - body.hu[deep]
    assert added.mean() < 0.1 * with_veins.mean()
    right = np.isin(body.lobes, (Lobe.RUL, Lobe.RML, Lobe.RLL))
    assert found[right].mean() >= painted[right].mean()
