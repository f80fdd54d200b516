"""Each condition of a digital patient draws what it says, and the truth says the same."""

from collections.abc import Callable

import numpy as np
import pytest

from inference.anatomy import Lobe, Side
from inference.geometry import Grid
from inference.phantom.bodies import Child, SitusInversus, StomachGas
from inference.phantom.build import ThoraxBuild, varied
from inference.phantom.cases import UNUSUAL
from inference.phantom.conditions import Condition, changed
from inference.phantom.lesions import Collapse, Consolidation, Emphysema, Mass, Nodules, Wall
from inference.phantom.pleura import Effusion, Pneumothorax
from inference.phantom.scans import Contrast, Implant, Metal, MirroredCt, Prone
from inference.phantom.surgery import Lobectomy, Pneumonectomy
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, DigitalThorax, draw_thorax

GRID = Grid.axial(
    (44, 60, 80), (6.5, 4.6, 4.8), (-190.0, -136.0, -152.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)
Draw = Callable[..., DigitalThorax]


@pytest.fixture(scope="module")
def draw() -> Draw:
    """Draws the standard patient with conditions, once each."""
    drawn: dict[tuple[Condition, ...], DigitalThorax] = {}

    def once(*conditions: Condition) -> DigitalThorax:
        if conditions not in drawn:
            drawn[conditions] = draw_thorax(GRID, conditions=conditions)
        return drawn[conditions]

    return once


def x_mm(mask: np.ndarray) -> float:
    """Patient x of the middle of a mask."""
    return float(GRID.to_patient_mm(np.argwhere(mask).mean(axis=0))[0])


def volumes_ml(thorax: DigitalThorax) -> np.ndarray:
    return np.array([thorax.lobes.volume_ml(lobe) for lobe in Lobe])


def perfusion_per_aerated(thorax: DigitalThorax, healthy: DigitalThorax, mask: np.ndarray) -> float:
    """Perfusion of a region against that of the same region without the disease, before both are scaled to mean 1."""
    elsewhere = thorax.lobes.lungs & healthy.lobes.lungs & ~mask
    scale = healthy.perfusion.values[elsewhere].mean() / thorax.perfusion.values[elsewhere].mean()
    both = mask & healthy.lobes.lungs
    return float(scale * thorax.perfusion.values[both].mean() / healthy.perfusion.values[both].mean())


@pytest.mark.parametrize("name", UNUSUAL)
def test_every_case_keeps_the_promises_of_a_digital_thorax(name: str, draw: Draw) -> None:
    thorax = draw(*UNUSUAL[name])
    lungs = thorax.lobes.lungs
    assert thorax.perfusion.values[lungs].mean() == pytest.approx(1.0, abs=1e-4)
    assert thorax.perfusion.values[lungs].min() > 0
    assert not thorax.perfusion.values[~lungs].any()
    assert np.array_equal(thorax.perfusion.lungs, lungs)
    assert np.array_equal(thorax.ct.hu, np.round(thorax.ct.hu))
    assert set(thorax.lesions) == set(UNUSUAL[name])
    assert draw().ct.source.series_instance_uid != thorax.ct.source.series_instance_uid


def test_nodules_lie_in_the_lungs_and_are_solid_or_ground_glass(draw: Draw) -> None:
    thorax = draw(Nodules())
    drawn = thorax.lesions[Nodules()]
    assert np.array_equal(thorax.lobes.labels, draw().lobes.labels)
    assert thorax.lobes.lungs[drawn].all()
    hu = thorax.ct.hu[drawn]
    assert np.count_nonzero(np.abs(hu - 35) < 30) > 50
    assert np.count_nonzero(np.abs(hu + 550) < 30) > 20
    assert np.mean((np.abs(hu - 35) < 40) | (np.abs(hu + 550) < 40)) > 0.99


@pytest.mark.parametrize("wall", Wall)
def test_a_mass_lies_in_the_lung_on_its_wall(wall: Wall, draw: Draw) -> None:
    thorax = draw(Mass(wall))
    drawn = thorax.lesions[Mass(wall)]
    assert 25 < np.count_nonzero(drawn) * GRID.voxel_volume_ml < 120
    assert set(np.unique(thorax.lobes.labels[drawn])) <= {Lobe.RUL, Lobe.RML, Lobe.RLL}
    assert np.median(thorax.ct.hu[drawn]) == pytest.approx(35, abs=5)
    outwards = -1 if wall is Wall.CHEST else 1
    tissue = ~thorax.lobes.lungs & (thorax.ct.hu > -150)
    at_the_wall = drawn & np.roll(tissue, -outwards, axis=2)
    assert np.count_nonzero(at_the_wall) > 30
    assert perfusion_per_aerated(thorax, draw(), drawn) < 0.1


@pytest.mark.parametrize("lobe", [Lobe.RUL, Lobe.RLL])
def test_a_consolidated_lobe_keeps_its_place_and_its_bronchi_hold_air(lobe: Lobe, draw: Draw) -> None:
    thorax = draw(Consolidation(lobe))
    assert np.array_equal(thorax.lobes.labels, draw().lobes.labels)
    hu = thorax.ct.hu[thorax.lobes.mask(lobe)]
    assert np.median(hu) == pytest.approx(30, abs=5)
    assert 0.001 < np.mean(hu < -400) < 0.05
    assert perfusion_per_aerated(thorax, draw(), thorax.lobes.mask(lobe)) == pytest.approx(0.35, abs=0.02)


@pytest.mark.parametrize("lobe", Lobe)
def test_a_collapsed_lobe_is_small_and_dense_and_the_others_grow(lobe: Lobe, draw: Draw) -> None:
    thorax, healthy = draw(Collapse(lobe)), draw()
    assert thorax.lobes.volume_ml(lobe) < 0.4 * healthy.lobes.volume_ml(lobe)
    assert thorax.lobes.volume_ml(lobe) > 0.1 * healthy.lobes.volume_ml(lobe)
    assert np.median(thorax.ct.hu[thorax.lobes.mask(lobe)]) == pytest.approx(48, abs=5)
    neighbours = [other for other in Lobe if other.side is lobe.side and other is not lobe]
    assert any(thorax.lobes.volume_ml(n) > 1.1 * healthy.lobes.volume_ml(n) for n in neighbours)
    towards = -1 if lobe.side is Side.RIGHT else 1
    assert towards * (x_mm(thorax.airway) - x_mm(healthy.airway)) > 2


@pytest.mark.parametrize(("prone", "behind"), [(False, True), (True, False)])
def test_an_effusion_lies_where_gravity_takes_it(prone: bool, behind: bool, draw: Draw) -> None:
    before = (Prone(),) if prone else ()
    thorax = draw(*before, Effusion())
    fluid = thorax.lesions[Effusion()]
    assert 300 < np.count_nonzero(fluid) * GRID.voxel_volume_ml < 900
    assert not thorax.lobes.labels[fluid].any()
    assert draw(*before).lobes.lung(Side.RIGHT)[fluid].all()
    assert np.median(thorax.ct.hu[fluid]) == pytest.approx(12, abs=5)
    y = np.broadcast_to(GRID.coordinates_mm()[1], GRID.shape)
    assert (y[fluid].min() > 20) if behind else (y[fluid].max() < -20)


def test_a_pneumothorax_is_air_on_top_and_no_lung(draw: Draw) -> None:
    thorax = draw(Pneumothorax())
    air = thorax.lesions[Pneumothorax()]
    assert np.mean(thorax.ct.hu[air]) == pytest.approx(-1000, abs=5)
    assert not thorax.lobes.labels[air].any()
    assert x_mm(air) > 20
    assert np.broadcast_to(GRID.coordinates_mm()[1], GRID.shape)[air].max() < -35


@pytest.mark.parametrize("side", Side)
def test_a_lung_that_was_taken_out_has_no_voxel_and_the_other_crosses_the_middle(side: Side, draw: Draw) -> None:
    thorax, healthy = draw(Pneumonectomy(side)), draw()
    other = Side.LEFT if side is Side.RIGHT else Side.RIGHT
    assert thorax.existing == tuple(lobe for lobe in Lobe if lobe.side is other)
    assert np.count_nonzero(thorax.lobes.lung(other)) > 1.1 * np.count_nonzero(healthy.lobes.lung(other))
    assert np.median(thorax.ct.hu[healthy.lobes.lung(side) & ~thorax.lobes.lungs]) > 0
    across = np.broadcast_to(GRID.coordinates_mm()[0], GRID.shape)[thorax.lobes.lung(other)]
    assert np.mean(across < 0 if other is Side.LEFT else across > 0) > 0.01


@pytest.mark.parametrize("lobe", Lobe)
def test_after_a_lobectomy_the_rest_fills_the_place(lobe: Lobe, draw: Draw) -> None:
    thorax, healthy = draw(Lobectomy(lobe)), draw()
    assert thorax.existing == tuple(other for other in Lobe if other is not lobe)
    kept, whole = (np.count_nonzero(t.lobes.lung(lobe.side)) for t in (thorax, healthy))
    assert 0.75 < kept / whole < 0.99


def test_a_child_is_small_all_over() -> None:
    grid = changed(ThoraxBuild(), [Child()]).field_of_view((4.0, 3.0, 3.0))
    child = draw_thorax(grid, conditions=[Child()])
    assert volumes_ml(child).sum() == pytest.approx(1040, rel=0.1)
    assert child.existing == tuple(Lobe)
    assert -790 < np.median(child.ct.hu[child.lobes.lungs]) < -700


def test_emphysema_is_thin_lung_with_bullae_that_carry_nothing(draw: Draw) -> None:
    thorax = draw(Emphysema())
    bullae = thorax.lesions[Emphysema()]
    assert np.median(thorax.ct.hu[thorax.lobes.lungs]) < -870
    assert volumes_ml(thorax).sum() > 1.05 * volumes_ml(draw()).sum()
    assert np.mean(thorax.ct.hu[bullae]) == pytest.approx(-990, abs=5)
    assert thorax.lobes.lungs[bullae].all()
    assert thorax.perfusion.values[bullae].max() < 0.1


def test_contrast_and_metal_leave_the_truth_as_it_is(draw: Draw) -> None:
    healthy = draw()
    for condition in (Contrast(), Metal(Implant.PACEMAKER), Metal(Implant.SCREWS)):
        thorax = draw(condition)
        assert np.array_equal(thorax.lobes.labels, healthy.lobes.labels)
        assert np.array_equal(thorax.perfusion.values, healthy.perfusion.values)
    heart = ~healthy.lobes.lungs & (np.abs(draw(Contrast()).ct.hu - 260) < 40)
    assert np.count_nonzero(heart) * GRID.voxel_volume_ml > 300
    for implant in Implant:
        metal = draw(Metal(implant))
        assert metal.ct.hu[metal.lesions[Metal(implant)]].min() > 3000
        elsewhere = np.abs(metal.ct.hu - healthy.ct.hu) > 60
        assert 500 < np.count_nonzero(elsewhere) < 0.3 * elsewhere.size


def test_stomach_gas_is_left_below_the_lung(draw: Draw) -> None:
    thorax = draw(StomachGas())
    gas = thorax.lesions[StomachGas()]
    assert 40 < np.count_nonzero(gas) * GRID.voxel_volume_ml < 160
    assert x_mm(gas) > 30
    assert np.array_equal(thorax.lobes.labels, draw().lobes.labels)
    assert not thorax.lobes.lungs[gas].any()


def test_situs_inversus_names_lobes_by_the_side_they_lie_on_and_a_mirrored_picture_does_not(draw: Draw) -> None:
    inverse, flipped = draw(SitusInversus()), draw(MirroredCt())
    assert np.array_equal(inverse.ct.hu, flipped.ct.hu)
    assert inverse.existing == (Lobe.RUL, Lobe.RLL, Lobe.LUL, Lobe.LLL)
    assert flipped.existing == tuple(Lobe)
    for side, towards in ((Side.RIGHT, -1), (Side.LEFT, 1)):
        assert towards * x_mm(inverse.lobes.lung(side)) > 40
        assert towards * x_mm(flipped.lobes.lung(side)) < -40
    assert np.array_equal(inverse.lobes.mask(Lobe.RLL), flipped.lobes.mask(Lobe.LLL))
    assert x_mm(inverse.lobes.lung(Side.LEFT)) < -x_mm(draw().lobes.lung(Side.RIGHT)) + 4
    heart = (np.abs(draw(Contrast(), SitusInversus()).ct.hu - 260) < 40) & ~inverse.lobes.lungs
    assert x_mm(heart) < -10


def test_a_prone_patient_lies_on_the_belly_and_is_denser_in_front(draw: Draw) -> None:
    prone, supine = draw(Prone()), draw()
    y = np.broadcast_to(GRID.coordinates_mm()[1], GRID.shape)
    for thorax, of_the_couch in ((prone, -1), (supine, 1)):
        for end in (-1, 1):
            assert np.any((np.abs(thorax.ct.hu + 620) < 40) & (end * (y - 2) > 120)) == (end == of_the_couch)
    slopes = []
    for thorax in (prone, supine):
        normal = thorax.lobes.lungs & ~thorax.low_region & ~thorax.tumour
        slopes.append(np.polyfit(y[normal], thorax.perfusion.values[normal], 1)[0])
    assert slopes[0] < 0 < slopes[1]
    assert abs(slopes[0]) < abs(slopes[1])


def test_conditions_come_together_in_any_patient() -> None:
    build, conditions = varied(4), (Contrast(), Lobectomy(Lobe.LLL), Effusion(Side.LEFT), Nodules(4))
    grid = changed(build, conditions).field_of_view((6.0, 5.0, 5.0))
    first, second = (draw_thorax(grid, build=build, conditions=conditions) for _ in range(2))
    assert first.ct.hu.tobytes() == second.ct.hu.tobytes()
    assert first.existing == (Lobe.RUL, Lobe.RML, Lobe.RLL, Lobe.LUL)
    assert all(first.lesions[condition].any() for condition in conditions[2:])
